"""The command line as a user types it: real runs on tiny clips, and one line for every mistake."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from stdo.chunks.grid import PatchGrid
from stdo.cli.train import main
from stdo.config.trust import conf_dir
from stdo.core.locks import exclusive
from stdo.evaluation.reconstruct import Reconstructor
from stdo.models.registry import BACKBONES
from stdo.models.weights import load_networks
from stdo.runs.sweeps import Sweep
from stdo.video.degrade import downscale
from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

PATCHES = ["patches.height=12", "patches.width=16"]
OFFERED = sorted(file.stem for file in (conf_dir() / "backbone").glob("*.yaml"))
METHODS = sorted(file.stem for file in (conf_dir() / "method").glob("*.yaml"))
TINY = ["backbone=espcn", "scale=2", "chunks=2", *PATCHES, "budget.passes=1", "trainer=cpu"]
FILES = (
    "config.yaml provenance.json chunks.npz maps.npz facts.json metrics.json frames.csv curves.csv "
    "crops weights.safetensors heatmap.png comparison.png"
)
FIGURES = (
    "video method backbone scale chunks seed frames patches psnr ssim bicubic chunk_psnr params "
    "macs_per_frame patch_presentations seconds device precision chunking sharing sampler scorer "
    "passes batch params_base params_per_chunk chunk_patches chunk_presentations network"
)
PROTOCOLS = {"frame", "pooled", "stdo_patch", "cafm_frame", "y"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of 96x72, lossless RGB, so that every decoder gives the same pixels."""
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    source = GeneratedClip(width=96, height=72, frames=6, rate=25, seed=0)
    with VideoWriter(path, 96, 72, source.info.rate, "ffv1") as writer:
        for frame in source:
            writer.write(frame)
    return path


def run_command(
    *arguments: str, cwd: Path, module: str = "train", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"stdo.{module}", *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_run_from_video_to_result_and_again(clip: Path, tmp_path: Path) -> None:
    command = [*TINY, f"video.path={clip}"]
    first = run_command(*command, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "bicubic" in first.stdout
    assert "train 2/2: 100%" in first.stderr, "progress is shown"
    (run,) = (tmp_path / "outputs" / "clip").iterdir()
    assert run.name.startswith("bstdo-espcn-x2-k2-")
    assert str(run.relative_to(tmp_path)) in first.stdout
    names = {path.name for path in run.iterdir()}
    assert names >= set(FILES.split())
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics.keys() >= set(FIGURES.split())
    assert set(metrics["psnr"]) == set(metrics["bicubic"]["psnr"]) == PROTOCOLS
    assert set(metrics["seconds"]) == {"prepare", "score", "train", "evaluate"}
    assert metrics["frames"] == 6
    assert len((run / "frames.csv").read_text().splitlines()) == 7

    again = run_command(*command, cwd=tmp_path)
    assert again.returncode == 0
    assert "is finished" in again.stderr
    assert "train:" not in again.stderr
    assert again.stdout == first.stdout

    measured = run_command(f"run={run}", "save=png", cwd=tmp_path, module="evaluate")
    assert measured.returncode == 0, measured.stderr
    after = json.loads((run / "metrics.json").read_text())
    assert {**after, "seconds": 0} == {**metrics, "seconds": 0}
    check_against_saved_pngs(run, clip, metrics)


def check_against_saved_pngs(run: Path, clip: Path, metrics: dict) -> None:
    """The headline figure, from the PNGs on disk and frames decoded here, with numpy alone."""
    with av.open(str(clip)) as container:
        hr = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    sr = [np.asarray(Image.open(path)) for path in sorted((run / "sr").glob("*.png"))]
    assert len(sr) == len(hr) == 6
    psnr = [
        10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))
        for a, b in zip(sr, hr, strict=True)
    ]
    assert np.mean(psnr) == pytest.approx(metrics["psnr"]["frame"], abs=0.01)


@pytest.mark.slow
def test_a_chunk_without_a_network_is_bicubics_in_every_command(clip: Path, tmp_path: Path) -> None:
    sizes = []
    for bicubic in (0, 1):
        done = run_command(
            *TINY,
            f"video.path={clip}",
            f"sharing.bicubic_chunks={bicubic}",
            f"name=easy{bicubic}",
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        (run,) = (tmp_path / "outputs" / clip.stem).glob(f"easy{bicubic}-*")
        metrics = json.loads((run / "metrics.json").read_text())
        assert metrics["bicubic_chunks"] == bicubic
        sizes.append((run / "weights.safetensors").stat().st_size)
    assert sizes[1] < 0.6 * sizes[0], "one network instead of two"
    again = run_command(f"run={run}", cwd=tmp_path, module="evaluate")
    assert again.returncode == 0, again.stderr
    assert json.loads((run / "metrics.json").read_text())["psnr"] == metrics["psnr"]


@pytest.mark.parametrize(
    "settings",
    [
        ["chunks=3", "sharing.bicubic_chunks=2"],
        pytest.param(["chunks=1", "sharing=lowrank", "method=bstdo"], marks=pytest.mark.slow),
    ],
)
def test_a_run_of_one_network_is_packed(settings: list[str], clip: Path, tmp_path: Path) -> None:
    done = run_command(*TINY, *settings, f"video.path={clip}", "deliver=true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (package,) = (tmp_path / "outputs" / clip.stem).glob("*/*.stdo")
    played = run_command(str(package), "sr.mkv", cwd=tmp_path, module="play")
    assert played.returncode == 0, played.stderr


@pytest.mark.parametrize(
    "method",
    [
        "awdnn",
        "nas",
        "cafm",
        "repcam",
        "eps",
        "stdo",
        "jstdo",
        "stdo sharing=modulated",
        "bstdo",
        "srvc",
        "livenas",
    ],
)
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.slow
def test_every_method_with_every_backbone(
    clip: Path, tmp_path: Path, method: str, backbone: str
) -> None:
    done = run_command(
        *TINY,
        f"video.path={clip}",
        *f"method={method}".split(),
        f"backbone={backbone}",
        "video.max_frames=3",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "difference" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("method", ["stdo", "bstdo", "srvc"])
def test_two_processes_learn_what_one_does(clip: Path, tmp_path: Path, method: str) -> None:
    figures = []
    for trainer in (
        ["trainer=cpu"],
        ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"],
    ):
        command = [
            *TINY,
            f"video.path={clip}",
            f"method={method}",
            "budget.passes=8",
            "trainer.precision=32-true",
            *trainer,
            "force=true",
        ]
        done = run_command(*command, cwd=tmp_path, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("PSNR in dB") == 1, "one process prints"
        (result,) = (tmp_path / "outputs" / "clip").glob("*/metrics.json")
        figures.append(json.loads(result.read_text()))
    one, two = figures
    assert two["psnr"]["frame"] == pytest.approx(one["psnr"]["frame"], abs=0.01)
    assert two["patch_presentations"] == one["patch_presentations"]


def test_a_sweep_runs_its_jobs_and_decodes_once(clip: Path, tmp_path: Path) -> None:
    done = run_command(
        "-m", *TINY, f"video.path={clip}", "method=awdnn,nas", "video.max_frames=3", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    runs = sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "outputs" / "clip").iterdir())
    assert runs == ["awdnn-espcn-x2-k1", "nas-espcn-x2-k2"]
    assert done.stderr.count("decode: 100%") == 1


@pytest.mark.slow
def test_a_failed_job_loses_nothing_and_is_listed_with_its_command(
    clip: Path, tmp_path: Path
) -> None:
    sweep = [
        "-m",
        *TINY,
        f"video.path={clip}",
        "method=nas",
        "chunks=2,7,3",
        "++study=mine",
        "video.max_frames=6",
    ]
    first = run_command(*sweep, cwd=tmp_path)
    assert first.returncode == 1, first.stderr
    listed = Sweep(tmp_path / "outputs", "mine").jobs()
    assert [job.status for job in listed] == ["finished", "failed", "finished"]
    failed = listed[1]
    assert failed.error == "chunks=7: the video has only 6 frames"
    tail = first.stderr.splitlines()[-3:]
    assert tail[0].startswith("of 3 jobs 1 failed")
    assert [line.strip() for line in tail[1:]] == [failed.error, failed.command]
    assert "NAS k=2" in first.stdout and "NAS k=3" in first.stdout, "what finished is compared"
    alone = run_command(*shlex.split(failed.command)[3:], cwd=tmp_path)
    assert alone.returncode == 2
    assert "chunks=7: the video has only 6 frames" in alone.stderr

    again = run_command(*sweep, cwd=tmp_path)
    assert again.stderr.count("is finished; this is its result") == 2
    assert "train:" not in again.stderr
    assert len(Sweep(tmp_path / "outputs", "mine").jobs()) == 3


@pytest.mark.slow
def test_a_sweep_started_twice_shares_the_work(clip: Path, tmp_path: Path) -> None:
    """A job that another process is at is not done twice: it is said, and the sweep goes on."""
    sweep = [
        "-m",
        *TINY,
        f"video.path={clip}",
        "method=awdnn,nas",
        "++study=mine",
        "video.max_frames=3",
    ]
    assert run_command(*sweep, cwd=tmp_path).returncode == 0
    (busy,) = (tmp_path / "outputs" / "clip").glob("nas-*")
    kept = (busy / "metrics.json").read_bytes()
    (busy / "metrics.json").unlink()
    with exclusive(busy / ".lock", "this run is being worked on", wait=0):
        done = run_command(*sweep, cwd=tmp_path)
    assert done.returncode == 1
    assert "of 2 jobs 1 busy; the same command tries them again:" in done.stderr
    assert (
        f"this run is being worked on by process {os.getpid()} on " in done.stderr.splitlines()[-2]
    )
    listed = Sweep(tmp_path / "outputs", "mine").jobs()
    assert [job.status for job in listed] == ["finished", "finished"], "whoever is at it records it"
    done = run_command(*sweep, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again, before = json.loads((busy / "metrics.json").read_bytes()), json.loads(kept)
    assert {**again, "seconds": 0} == {**before, "seconds": 0}


def test_what_cannot_be_swept_is_said(clip: Path, tmp_path: Path) -> None:
    done = run_command(
        "-m",
        *TINY,
        f"video.path={clip}",
        "trainer=ddp",
        "trainer.accelerator=cpu",
        "seed=0,1",
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "stdo: trainer.devices=auto: must be 1 in a sweep"
    )
    done = run_command("-m", "run=a,b", cwd=tmp_path, module="evaluate")
    assert done.returncode == 2
    assert (
        done.stderr.splitlines()[-1]
        == "stdo: -m: only stdo.train sweeps; call this once for each run"
    )
    assert not (tmp_path / "outputs" / "clip").exists()


@pytest.mark.slow
def test_one_network_for_every_patch(clip: Path, tmp_path: Path) -> None:
    """Table 1: what the command measures is what a reconstruction with that network alone gives."""
    assert run_command(*TINY, f"video.path={clip}", cwd=tmp_path).returncode == 0
    (run,) = (tmp_path / "outputs" / "clip").iterdir()
    before = (run / "metrics.json").read_bytes()
    done = run_command(f"run={run}", "network=1", "save=png", cwd=tmp_path, module="evaluate")
    assert done.returncode == 0, done.stderr
    assert (run / "metrics.json").read_bytes() == before, "the run keeps its own result"
    metrics = json.loads((run / "network-1" / "metrics.json").read_text())
    assert metrics["network"] == 1
    networks, _ = load_networks(run / "weights.safetensors")
    with np.load(run / "chunks.npz") as stored:
        labels = stored["labels"]
    lr = downscale(
        list(GeneratedClip(width=96, height=72, frames=6, rate=25, seed=0))[2].rgb_HWC, 2
    )
    grid = PatchGrid(36, 48, 12, 16, halo=2, scale=2)
    alone = Reconstructor([networks[1]], [0, 0], grid, torch.device("cpu"))
    expected = grid.assemble(alone.patches(lr, labels[2]))
    saved = np.asarray(Image.open(sorted((run / "network-1" / "sr").glob("*.png"))[2]))
    np.testing.assert_array_equal(saved, expected)
    wrong = run_command(f"run={run}", "network=2", cwd=tmp_path, module="evaluate")
    assert wrong.returncode == 2
    assert (
        wrong.stderr.strip().splitlines()[-1]
        == "stdo: network=2: must be from 0 to 1, the networks of this run"
    )


def test_help_is_quick_and_lists_choices(tmp_path: Path) -> None:
    done = run_command("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"method: {', '.join(METHODS)}" in done.stdout
    assert "\nbeyond, fig1_3_heatmaps, " in done.stdout
    assert f"backbone: {', '.join(OFFERED)}" in done.stdout
    assert {*BACKBONES, "ecbsr_small"} == set(OFFERED)


def bad_files(folder: Path, clip: Path) -> dict[str, Path]:
    whole = clip.read_bytes()
    files = {
        "empty": b"",
        "garbage": b"not a video at all" * 99,
        "truncated": whole[: len(whole) // 2],
    }
    paths = {name: folder / f"{name}.mp4" for name in files}
    for name, content in files.items():
        paths[name].write_bytes(content)
    sound = folder / "sound.m4a"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((2, 1024), np.float32), format="fltp", layout="stereo"
        )
        frame.rate = 44100
        for _ in range(20):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    other = folder / "other.mkv"
    with VideoWriter(other, 64, 48, 25, "ffv1") as writer:
        for picture in GeneratedClip(width=64, height=48, frames=2, rate=25):
            writer.write(picture)
    return paths | {
        "sound": sound,
        "other": other,
        "missing": folder / "missing.mp4",
        "folder": folder,
    }


MISTAKES = {
    "missing": (["video.path={missing}"], "missing.mp4"),
    "folder": (["video.path={folder}"], "video=folder"),
    "empty": (["video.path={empty}"], "empty.mp4"),
    "garbage": (["video.path={garbage}"], "garbage.mp4"),
    "truncated": (["video.path={truncated}"], "truncated.mp4"),
    "audio only": (["video.path={sound}"], "sound.m4a"),
    "past the end": (["video.path={clip}", "video.start=99"], "video.start=99"),
    "small frame": (["video.path={clip}", "patches.height=null"], "smaller than a patch"),
    "scale 5": (["scale=5"], "scale=5: must be one of 2, 3, 4"),
    "scale text": (["scale=big"], "scale=big: must be one of 2, 3, 4"),
    "no chunks": (["chunks=0"], "chunks=0: must be a whole number"),
    "half a chunk": (["chunks=1.5"], "chunks=1.5: must be a whole number"),
    "many chunks": (["video.path={clip}", "chunks=999"], "chunks=999: the video has only"),
    "chunks beyond frames": (
        ["video.path={clip}", "method=nas", "chunks=7"],
        "chunks=7: the video has only 6 frames",
    ),
    "backbone": (
        ["backbone=resnet"],
        f"backbone=resnet: must be one of {', '.join(OFFERED)}",
    ),
    "method": (
        ["method=magic"],
        f"method=magic: must be one of {', '.join(METHODS)}",
    ),
    "few ratios": (
        ["method=jstdo", "sampler.ratios=[1,0.5,0]"],
        "sampler.ratios=[1, 0.5, 0]: must be 2 numbers",
    ),
    "no ratios": (
        ["method=jstdo", "sampler.ratios=[0,0]"],
        "sampler.ratios=[0, 0]: must be a list, each a number from 0 to 1",
    ),
    "bad ratio": (
        ["method=jstdo", "sampler.ratios=[1,-1]"],
        "sampler.ratios=[1, -1]: must be a list, each a number from 0 to 1",
    ),
    "big mu": (
        ["video.path={clip}", "method=jstdo", "sampler.size=9999"],
        "must be from 1 to the video's",
    ),
    "idle network": (
        ["video.path={clip}", "sampler=decay"],
        "network 1 would see no patch; use sharing=single",
    ),
    "joined sizes": (
        ["video=joined", "video.paths=[{clip},{other}]"],
        "is 64x48, the first is 96x72",
    ),
    "setting": (["chunkz=3"], "chunkz: no such setting"),
    "grammar": (["chunks=[1,"], "no viable alternative at input '[1,'"),
    "type": (["force=maybe"], "force=maybe: must be true or false"),
    "passes": (["budget.passes=0"], "budget.passes=0: must be a number above 0"),
    "height": (["video.path={clip}", "video.height=4000"], "video.height=4000"),
    "weights": (["video.path={clip}", "scorer=pretrained"], "scorer.weights: must be given"),
    "features": (
        ["video.path={clip}", "scorer=dct", "scorer.frames=sr"],
        "scorer.frames=sr: must be one of hr, lr",
    ),
    "scorer": (
        ["video.path={clip}", "scorer=network", "scorer.function=no:thing"],
        "scorer.function=no:thing",
    ),
    "codec": (["degrade.codec=vp8"], "degrade.codec=vp8: must be null or one of"),
    "outputs": (["video.path={clip}", "paths.outputs={garbage}/x"], "set paths.outputs"),
    "cache": (["video.path={clip}", "paths.cache={garbage}/x"], "paths.cache="),
    "target": (
        ["optim.optimizer._target_=os.system"],
        "_target_=os.system: must be defined in one of stdo.",
    ),
}


def is_progress(line: str) -> bool:
    return not line.strip() or line.startswith(
        ("decode", "degrade", "score", "train:", "note: ", "method: ", "clip: ", "truncated: ")
    )


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line_and_leaves_nothing(
    mistake: str,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments, said = MISTAKES[mistake]
    (tmp_path / "bad").mkdir()
    paths = bad_files(tmp_path / "bad", clip) | {"clip": clip}
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(
        sys, "argv", ["stdo-train", *TINY, *[argument.format(**paths) for argument in arguments]]
    )
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if not is_progress(each)]
    assert line.startswith("stdo: ")
    assert said in line
    left = [
        path for path in (tmp_path / "work").rglob("*") if path.is_file() and path.name != ".lock"
    ]
    assert [path for path in left if "partial" in path.name or path.name == "metrics.json"] == []


def test_the_traceback_is_there_for_those_who_ask(tmp_path: Path) -> None:
    done = run_command("scale=5", cwd=tmp_path, HYDRA_FULL_ERROR="1")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("content", ["nothing", pytest.param("no result", marks=pytest.mark.slow)])
def test_evaluate_wants_a_finished_run(tmp_path: Path, content: str, finished_runs: Path) -> None:
    if content == "no result":
        config = sorted(finished_runs.glob("*/stdo-*/config.yaml"))[0]
        (tmp_path / "config.yaml").write_text(config.read_text(encoding="utf-8"), encoding="utf-8")
    done = run_command(f"run={tmp_path}", cwd=tmp_path, module="evaluate")
    assert done.returncode == 2
    assert done.stderr.startswith(f"stdo: run={tmp_path}: not a")
    assert len(done.stderr.splitlines()) == 1
