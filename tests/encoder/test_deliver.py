"""From a run to its package and back: the viewer sees what the server promised, and every byte is
accounted for."""

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import asdict

from stdo.chunks.inorder import InOrder
from stdo.chunks.score import ByPsnr
from stdo.chunks.split import by_score, by_time, whole
from stdo.core.types import UserError
from stdo.encoder.pack import Delivered, Delivery, deliver, is_delivered
from stdo.evaluation.reconstruct import Reconstructor
from stdo.evaluation.table import closing_table
from stdo.models.chain import Chain
from stdo.models.lowrank import LowRank
from stdo.models.modulated import Modulated
from stdo.models.sharing import Independent, Single
from stdo.models.weights import load_networks
from stdo.package.container import Package
from stdo.pipeline.steps import Job, evaluate, train
from stdo.player.client import Player
from stdo.runs.directory import read_chunks, start_directory
from stdo.training.data import PatchData
from stdo.video.clip import Clip, PatchSize
from stdo.video.degrade import BicubicUpscaler, Degrade
from stdo.video.reader import VideoFile
from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

MakeJob = Callable[..., Job]
METHODS = {
    "awdnn": {"split": whole, "sharing": Single, "chunks": 1},
    "nas": {"split": by_time, "halo": 2},
    "cafm": {"split": by_time, "sharing": Modulated},
    "stdo": {"split": by_score, "scale": 3},
    "jstdo": {"split": by_score, "sharing": Single, "halo": 3},
    "stdo, modulated": {"split": by_score, "sharing": Modulated, "scale": 4},
    "lowrank": {"split": by_score, "sharing": LowRank, "halo": 2},
    "stdo, bicubic": {
        "split": by_score,
        "sharing": partial(Independent, bicubic_chunks=1),
        "halo": 2,
        "scale": 4,
    },
    "jstdo, bicubic": {"split": by_score, "sharing": partial(Single, bicubic_chunks=1)},
    "stdo, modulated, bicubic": {
        "split": by_score,
        "sharing": partial(Modulated, bicubic_chunks=1),
    },
    "srvc": {
        "split": by_time,
        "sharing": partial(Chain, fraction=0.05),
        "sampler": partial(InOrder, batch=4, passes=3.0, seed=0, trial=0.25),
    },
    "livenas": {
        "split": by_time,
        "sharing": partial(Chain, fraction=1),
        "sampler": partial(InOrder, batch=4, passes=3.0, seed=0, behind=1),
        "halo": 2,
    },
    "lowrank, bicubic": {"split": by_score, "sharing": partial(LowRank, bicubic_chunks=1)},
}


def delivered(job: Job, **settings) -> Delivered:
    return deliver(job.directory, job.data.clip, Delivery(**settings))


@pytest.fixture
def run(finished_job: Job, tmp_path: Path) -> Job:
    """A copy of a finished run: three networks at ×2, frames of 70x50."""
    shutil.copytree(finished_job.directory, tmp_path / "run")
    return replace(finished_job, directory=tmp_path / "run")


def result(job: Job) -> dict:
    return json.loads((job.directory / "metrics.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_viewer_sees_what_the_server_measured(method: str, make_job: MakeJob) -> None:
    """Every method on frames of odd size, sent without loss and with weights as they are."""
    job = make_job(**METHODS[method])
    before = train(job)
    done = delivered(job, bits=32)
    assert done.path == job.directory / "generated.stdo" and done.notes == ()
    after = json.loads((job.directory / "metrics.json").read_text())
    assert after == done.metrics
    assert {key: after[key] for key in before} == before
    seen = after["delivered"]
    for protocol in ("frame", "pooled", "y"):
        assert seen["psnr"][protocol] == pytest.approx(before["psnr"][protocol], abs=0.005)
    assert seen["ssim"] == pytest.approx(before["ssim"], abs=1e-4)
    manifest = Package.open(done.path).manifest
    assert asdict(manifest.quality.psnr) == seen["psnr"]
    assert manifest.bicubic.psnr.frame == before["bicubic"]["psnr"]["frame"]
    left = before["chunks"] - ("bicubic" in method)
    assert manifest.network.networks == (1 if method in ("jstdo", "jstdo, bicubic") else left)
    assert sorted(set(manifest.network.network_of)) == [
        *[-1][: "bicubic" in method],
        *range(manifest.network.networks),
    ]


@pytest.mark.parametrize("sharing", [pytest.param(Single, marks=pytest.mark.slow), Independent])
def test_the_viewer_sees_the_whole_frames_of_the_server(make_job: MakeJob, sharing: type) -> None:
    """Pixel by pixel: the package's halo holds all that its networks see."""
    job = make_job(split=by_time, sharing=sharing, whole=True, passes=1.0)
    metrics = train(job)
    assert metrics["whole"] and metrics["halo"] == 0
    done = delivered(job, bits=32)
    manifest = Package.open(done.path).manifest
    assert manifest.grid.halo == manifest.network.receptive_radius == 4
    networks, _ = load_networks(job.directory / "weights.safetensors")
    labels_TRC, network_of = read_chunks(job.directory)
    server = Reconstructor.of(networks, network_of, job.data.clip, torch.device("cpu"))
    assert server.tiles is not None
    frames = server.frames(job.data.video.lr, labels_TRC)
    for (sr_HWC, _), (_, rgb_HWC) in zip(frames, Player(done.path), strict=True):
        assert np.abs(sr_HWC[:50, :70].astype(int) - rgb_HWC).max() <= 1


def test_every_byte_is_accounted_for(run: Job) -> None:
    done = delivered(run)
    sizes = done.metrics["bytes"]
    with zipfile.ZipFile(done.path) as archive:
        members = {info.filename: info.file_size for info in archive.infolist()}
    assert sizes["total"] == done.path.stat().st_size == sum(sizes.values()) - sizes["total"]
    assert sizes["lr"] == members["lr.mp4"] and sizes["audio"] == 0
    assert (sizes["models"], sizes["chunks"]) == (members["weights.bin"], members["chunks.bin"])
    assert sizes["graph"] == members["graph.onnx"]
    parts = done.metrics["network_bytes"]
    assert len(parts) == 3 and sum(parts) + 4 * (1 + 4) + 1 == sizes["models"]
    assert done.metrics["bitrate_kbps"] == pytest.approx(sizes["total"] * 8 / (6 / 25) / 1000)
    table = closing_table(done.metrics)
    assert "bytes     lr " in table and "kbit/s" in table and "dB at 8 bits" in table


def test_it_tells_the_ranges_that_players_in_8_bits_need(run: Job) -> None:
    done = delivered(run)
    network = Package.open(done.path).manifest.network
    assert [len(each) for each in network.ranges] == [len(network.convolutions)] * network.networks
    assert all(low <= high for each in network.ranges for low, high in each)
    both = [
        [rgb.astype(float) for _, rgb in Player(done.path, precision=each)]
        for each in ("float32", "int8")
    ]
    errors = [np.square(a - b).mean() for a, b in zip(*both, strict=True)]
    assert len(errors) == len(run.data.video.lr) and 0 < max(errors) < 4, "42 dB"


@pytest.mark.slow
def test_fewer_bits_weigh_less(run: Job) -> None:
    done = {bits: delivered(run, bits=bits).metrics for bits in (32, 8)}
    assert done[8]["bytes"]["models"] < 0.3 * done[32]["bytes"]["models"]
    psnr = result(run)["psnr"]["frame"]
    assert done[32]["delivered"]["psnr"]["frame"] == pytest.approx(psnr, abs=0.005)
    assert done[8]["delivered"]["psnr"]["frame"] >= psnr - 0.05


@pytest.mark.slow
def test_a_variable_rate_arrives_exactly(make_job: MakeJob, tmp_path: Path) -> None:
    times = [Fraction(t, 1000) for t in (0, 33, 100, 120, 400)]
    with VideoWriter(tmp_path / "clip.mp4", 70, 50, Fraction(25), "lossless") as writer:
        for time, frame in zip(times, GeneratedClip(width=70, height=50, frames=5), strict=True):
            writer.write((time, frame.rgb_HWC))
    source = VideoFile(tmp_path / "clip.mp4")
    scorer = ByPsnr(BicubicUpscaler(2))
    clip = Clip(source, Degrade(2, "x264", 18), PatchSize(10, 12), tmp_path / "cache")
    data = PatchData(clip, scorer, by_score, 2)
    job = make_job(data=data, chunks=2)
    before = train(job)
    done = delivered(job, bits=32)
    assert [pts for pts, _ in Player(done.path)] == times
    assert done.metrics["delivered"]["psnr"]["frame"] == pytest.approx(
        before["psnr"]["frame"], abs=0.005
    )
    manifest = Package.open(done.path).manifest
    assert (manifest.lr.codec, manifest.lr.crf) == ("x264", 18)
    assert (manifest.source.width, manifest.source.height) == (70, 50)


@pytest.mark.slow
def test_measuring_again_keeps_what_delivering_found(run: Job) -> None:
    done = delivered(run, unpacked=True)
    again = evaluate(run.directory, run.data.clip)
    assert {**again, "seconds": 0} == {**done.metrics, "seconds": 0}
    assert is_delivered(again, Delivery(), done.path) and not is_delivered(
        again, Delivery(bits=6), done.path
    )
    start_directory(run.directory, "", ["train.py"], force=True)
    assert not done.path.exists(), "a package of other networks"


def test_an_lr_video_of_other_pixels_is_refused(make_job: MakeJob, tmp_path: Path) -> None:
    clip, scorer = GeneratedClip(width=70, height=50, frames=3), ByPsnr(BicubicUpscaler(2))
    made = Clip(clip, Degrade(2, "x264", 18), PatchSize(10, 12), tmp_path / "cache")
    data = PatchData(made, scorer, by_score, 2)
    job = make_job(data=data, chunks=2)
    train(job)
    video = job.data.video
    with VideoWriter(video.lr_video, 35, 25, Fraction(25), "x264", crf=40) as writer:
        for t in range(3):
            writer.write((video.pts[t], np.asarray(video.lr[t])))
    with pytest.raises(
        UserError, match="its frame 0 is not the one that the networks were trained on"
    ):
        delivered(job)
    names = [path.name for path in job.directory.iterdir()]
    assert not [
        name
        for name in names
        if name.startswith(".deliver") or name.endswith(".stdo") or "partial" in name
    ]
    assert "bytes" not in json.loads((job.directory / "metrics.json").read_text())


def test_what_cannot_be_delivered(run: Job, make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a finished run"):
        delivered(make_job("other"))
    with pytest.raises(UserError, match="there is no folder"):
        delivered(run, out=tmp_path / "nowhere" / "x.stdo")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(UserError, match="taken: exists and is not an unpacked package"):
        delivered(run, out=tmp_path / "taken", unpacked=True)
    with pytest.raises(UserError, match="weights.bits=5: must be one of 32"):
        Delivery(bits=5)
    for name in ("weights.safetensors", "chunks.npz"):
        (run.directory / name).write_bytes(b"damaged")
        with pytest.raises(UserError, match=f"^{run.directory / name}: "):
            delivered(run)
    assert not [path.name for path in tmp_path.rglob("*") if path.name.startswith(".deliver")]
