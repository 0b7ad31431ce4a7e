"""Exported networks: what a phone would compute is what the run computes, and nothing half made is
left."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_package import VARIANTS

from stdo.core.types import F32, SCALES, Json, UserError
from stdo.encoder import formats
from stdo.encoder.export import INDEX, Export, export
from stdo.encoder.formats import FORMATS
from stdo.evaluation.reconstruct import Reconstructor
from stdo.models.lowrank import LowRank
from stdo.models.modulated import Modulated
from stdo.models.registry import build
from stdo.models.sharing import Independent, Sharing
from stdo.models.weights import load_networks, save_networks
from stdo.pipeline.steps import Job, train
from stdo.runs.directory import read_chunks, start_directory, write_chunks
from stdo.video.clip import PatchSize

PATCHES = PatchSize(9, 11, halo=2)


def make_run(directory: Path, sharing: Sharing, spread: float = 0.02) -> Path:
    """A run directory as training leaves it, of 50x38 frames at the networks' scale, with weights
    moved about."""
    directory.mkdir()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in sharing.parameters():
            parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
    save_networks(directory / "weights.safetensors", sharing)
    labels = np.zeros((2, 2, 2), np.int16)
    network_of = sharing.network_of(np.arange(sharing.chunks)).tolist()
    write_chunks(directory, labels.astype(np.float32), labels, network_of)
    (directory / "metrics.json").write_text(
        json.dumps({"width": 50, "height": 38, "scale": sharing.network(0).scale, "frames": 2})
    )
    return directory


def independent(
    directory: Path,
    backbone: str = "espcn",
    scale: int = 2,
    residual: str | None = None,
    spread: float = 0.02,
) -> Path:
    return make_run(
        directory, Independent(partial(build, backbone, scale, residual=residual), 2), spread
    )


def ignore(line: str) -> None:
    pass


def index_of(folder: Path) -> Json:
    return json.loads((folder / INDEX).read_text())


def onnx_picture(folder: Path, number: int, lr_NCHW: F32) -> F32:
    """By ONNX Runtime alone."""
    runtime = pytest.importorskip("onnxruntime")
    (sr_NCHW,) = runtime.InferenceSession(folder / f"network-{number}.onnx").run(
        None, {"lr": lr_NCHW}
    )
    return sr_NCHW


def test_index_tells_what_is_in_the_files(tmp_path: Path) -> None:
    lines: list[str] = []
    folder = export(independent(tmp_path / "run", scale=3), PATCHES, Export("onnx"), lines.append)
    index = index_of(folder)
    assert folder == tmp_path / "run" / "export-onnx"
    assert sorted(path.name for path in folder.iterdir()) == [
        INDEX,
        "network-0.onnx",
        "network-1.onnx",
    ]
    assert (index["backbone"], index["scale"], index["network_of"]) == ("espcn", 3, [0, 1])
    assert index["input"]["shape"] == [1, 3, 9 + 4, 11 + 4]
    assert index["output"]["shape"] == [1, 3, 39, 45]
    assert index["patch"] == {"width": 11, "height": 9, "halo": 2}
    assert index["frame"] == {"width": 17, "height": 13}  # 50x38 padded to 51x39
    for number, network in enumerate(index["networks"]):
        (file,) = network["files"]
        content = (folder / file["name"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (
            len(content),
            hashlib.sha256(content).hexdigest(),
        )
        assert 0 <= network["max_difference"] < 1e-5
        assert lines[number].startswith(f"network-{number}: {len(content)} bytes, ")


def test_frame_from_exported_networks(make_job: Callable[..., Job]) -> None:
    """Patch by patch through ONNX Runtime, put together here: the frame that the run's own stitcher
    makes."""
    job = make_job(scale=3, halo=1, chunks=3, passes=0.3)
    train(job)
    folder = export(job.directory, PatchSize(10, 12, 1), Export("onnx"), ignore)
    index, grid = index_of(folder), job.data.grid
    assert index["frame"] == {"width": grid.width, "height": grid.height}
    assert index["patch"] == {"width": grid.patch_w, "height": grid.patch_h, "halo": grid.halo}
    networks, _ = load_networks(job.directory / "weights.safetensors")
    labels_TRC, network_of = read_chunks(job.directory)
    assert index["network_of"] == network_of
    lr_HWC = np.asarray(job.data.video.lr[2])
    border = index["patch"]["halo"] * index["scale"]
    patches = []
    for window_HWC, chunk in zip(grid.extract(lr_HWC), labels_TRC[2].ravel(), strict=True):
        lr_NCHW = (window_HWC.transpose(2, 0, 1)[None] / 255).astype(np.float32)
        sr_CHW = onnx_picture(folder, index["network_of"][chunk], lr_NCHW)[0]
        cut = sr_CHW[:, border:-border, border:-border].transpose(1, 2, 0)
        patches.append(np.rint(cut * 255).clip(0, 255).astype(np.uint8))
    frame_HWC = grid.assemble(np.stack(patches))
    reconstructor = Reconstructor(networks, network_of, grid, torch.device("cpu"))
    ((expected_HWC, _),) = reconstructor.frames(lr_HWC[None], labels_TRC[2:3])
    assert np.abs(frame_HWC.astype(int) - expected_HWC).max() <= 1
    assert (frame_HWC != expected_HWC).mean() < 1e-3
    whole = export(job.directory, PatchSize(10, 12, 1, whole=True), Export("onnx"), ignore)
    assert index_of(whole)["patch"]["halo"] == networks[0].receptive_radius == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scale"),
    [
        (name, scale) for name in FORMATS for scale in ((4,) if name == "executorch" else SCALES)
    ],  # it takes long
)
@pytest.mark.parametrize(("backbone", "residual"), VARIANTS)
def test_every_backbone(
    name: str, scale: int, backbone: str, residual: str, tmp_path: Path
) -> None:
    for package in FORMATS[name].packages:
        pytest.importorskip(package)
    run = independent(tmp_path / "run", backbone, scale, residual)
    folder = export(run, PATCHES, Export(name), ignore)
    networks, _ = load_networks(tmp_path / "run" / "weights.safetensors")
    # Not what export compared
    lr_NCHW = np.random.default_rng(5).random((1, 3, 13, 15), np.float32)
    for number, network in enumerate(networks):
        made = FORMATS[name].run(folder / f"network-{number}", lr_NCHW.copy())
        assert np.abs(made - network(torch.from_numpy(lr_NCHW)).numpy()).max() < 1e-4
    assert not np.array_equal(made, networks[0](torch.from_numpy(lr_NCHW)).numpy())


@pytest.mark.parametrize(
    "name",
    ["onnx", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ncnn", "executorch"))],
)
@pytest.mark.parametrize("sharing", [Modulated, LowRank])
def test_deltas_are_folded(name: str, sharing: type, tmp_path: Path) -> None:
    for package in FORMATS[name].packages:
        pytest.importorskip(package)
    sharing = sharing(partial(build, "espcn", 2), 3)
    folder = export(make_run(tmp_path / "run", sharing), PATCHES, Export(name, "8x6"), ignore)
    assert index_of(folder)["input"]["shape"][-2:] == [6, 8]
    lr_NCHW = torch.rand(1, 3, 6, 8)
    made = []
    for chunk in range(3):
        with torch.no_grad():
            expected = sharing(lr_NCHW, torch.tensor([chunk])).numpy()
        made.append(FORMATS[name].run(folder / f"network-{chunk}", lr_NCHW.numpy().copy()))
        assert np.abs(made[-1] - expected).max() < 1e-4
    assert np.abs(made[0] - made[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Export("tflite"), "format=tflite: must be one of onnx, executorch, ncnn"),
        (Export("onnx", "64"), "size=64: must be patch, frame, or WIDTHxHEIGHT"),
        (Export("onnx", "0x10"), "size=0x10: 0x10 must be from 1 to"),
        (Export("onnx", "8192x8192"), "size=8192x8192: "),
        (Export("onnx", "-3x10"), "size=-3x10: must be patch"),
    ],
)
def test_wrong_wishes(wanted: Export, words: str, tmp_path: Path) -> None:
    directory = independent(tmp_path / "run")
    before = sorted(directory.iterdir())
    with pytest.raises(UserError, match="^" + words):
        export(directory, PATCHES, wanted, ignore)
    assert sorted(directory.iterdir()) == before


def test_wrong_places(tmp_path: Path) -> None:
    directory = independent(tmp_path / "run")
    with pytest.raises(UserError, match="there is no folder"):
        export(directory, PATCHES, Export("onnx", out=tmp_path / "no" / "where"), ignore)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="exists and is not an export"):
        export(directory, PATCHES, Export("onnx", out=tmp_path / "mine"), ignore)
    with pytest.raises(UserError, match="exists and is not an export"):
        export(directory, PATCHES, Export("onnx", out=directory), ignore)
    (directory / "metrics.json").unlink()
    with pytest.raises(UserError, match="not a finished run"):
        export(directory, PATCHES, Export("onnx"), ignore)


def test_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(
        UserError,
        match=r"format=ncnn: needs the package pnnx; pip install 'stdo\[train,export-ncnn\]'",
    ):
        export(tmp_path, PATCHES, Export("ncnn"), ignore)


def test_nothing_is_left_of_a_network_that_differs(tmp_path: Path) -> None:
    """NaN equals nothing, and outputs of 1e11 cannot agree to 1e-3; the export that was there
    stays."""
    out = old_export(tmp_path / "out")
    for name, spread in (("nan", float("nan")), ("huge", 1e3)):
        bad = independent(tmp_path / name, spread=spread)
        with pytest.raises(
            UserError,
            match=r"network-0: its runtime differs from PyTorch by .*; at most 0.001 is good",
        ):
            export(bad, PATCHES, Export("onnx", out=out), ignore)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["huge", "nan", "out"]
    assert sorted(path.name for path in out.iterdir()) == [INDEX, "network-7.onnx"]


def test_an_export_is_replaced_as_a_whole_and_ends_with_its_run(tmp_path: Path) -> None:
    directory = independent(tmp_path / "run")
    folder = old_export(directory / "export-onnx")
    export(directory, PATCHES, Export("onnx", "frame"), ignore)
    assert sorted(path.name for path in folder.iterdir()) == [
        INDEX,
        "network-0.onnx",
        "network-1.onnx",
    ]
    assert index_of(folder)["input"]["shape"] == [1, 3, 19, 25]
    start_directory(directory, "", ["train"], force=True)
    assert not folder.exists()


def old_export(folder: Path) -> Path:
    folder.mkdir()
    for name in (INDEX, "network-7.onnx"):
        (folder / name).touch()
    return folder


def run_command(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HYDRA_FULL_ERROR": "0"}
    command = [sys.executable, "-m", "stdo.export", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=environment
    )


@pytest.mark.slow
def test_the_door(finished_runs: Path, tmp_path: Path) -> None:
    run = next(finished_runs.glob("*/stdo-*"))
    done = run_command(f"run={run}", f"out={tmp_path}/networks")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/networks\n"), done.stderr
    assert done.stderr.count("from PyTorch") == 2
    assert index_of(tmp_path / "networks")["input"]["shape"] == [1, 3, 12, 16]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("run=nowhere",), (), ("run={run}", "format=tflite"), ("run={run}", "size=big")]
)
def test_mistakes_at_the_door_are_one_line(words: tuple[str, ...], finished_runs: Path) -> None:
    run = next(finished_runs.glob("*/stdo-*"))
    done = run_command(*(word.format(run=run) for word in words))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("stdo: ")


def test_checking_an_export_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    """ONNX Runtime would keep an identifier and a database of events; in CI it does not, so CI is
    not told of."""
    (tmp_path / "home").mkdir()
    code = """
import torch
from pathlib import Path
from stdo.encoder.formats import FORMATS
from stdo.models.backbones.espcn import ESPCN
with torch.inference_mode():
    network = ESPCN(2)
    FORMATS["onnx"].writer(network, 8, 8)(network, Path("network"))
FORMATS["onnx"].run(Path("network"), torch.rand(1, 3, 8, 8).numpy())
"""
    paths = os.pathsep.join(str(Path(each).absolute()) for each in sys.path if each)
    env = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"], "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True, timeout=120)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "network.onnx"]
    assert not list((tmp_path / "home").rglob("*"))
