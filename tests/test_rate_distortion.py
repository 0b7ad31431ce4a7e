"""The rate–distortion study: what it counts, what it computes, and that its command runs and goes
on."""

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from stdo.core.types import UserError
from stdo.evaluation.frames import compare
from stdo.evaluation.vmaf import has_vmaf
from stdo.metrics.base import luma
from stdo.player.client import Player
from stdo.video.reader import VideoFile
from stdo.video.sample import GeneratedClip

FOLDER = Path(__file__).parents[1] / "experiments" / "rate_distortion"
TINY = [
    "video.max_frames=6", "patches.height=12", "patches.width=12", "budget.passes=0.2", "scale=2",
    "trainer=cpu",
]  # fmt: skip


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    import study

    yield study
    for name in ("study", "points", "figure", "curves"):
        sys.modules.pop(name, None)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Eight frames of 97x72 (an odd side), with as much sound."""
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as out:
        video, sound = out.add_stream("ffv1", rate=25), out.add_stream("pcm_s16le", rate=48000)
        video.width, video.height, video.pix_fmt = 97, 72, "bgr0"
        for t, frame in enumerate(GeneratedClip(width=97, height=72, frames=8, rate=25, seed=0)):
            picture = av.VideoFrame.from_ndarray(frame.rgb_HWC, "rgb24")
            picture.pts, picture.time_base = t, Fraction(1, 25)
            out.mux(video.encode(picture))
        noise = np.random.default_rng(0).integers(-9000, 9000, (1, 2 * 15360), np.int16)
        samples = av.AudioFrame.from_ndarray(noise, "s16", "stereo")
        samples.sample_rate, samples.pts = 48000, 0
        for stream, last in ((sound, samples), (sound, None), (video, None)):
            out.mux(stream.encode(last))
    return path


def frames(count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (20, 24, 3), np.uint8) for _ in range(count)]


def test_frames_are_compared_as_others_do() -> None:
    hr = frames(3, 0)
    sr = [
        np.clip(frame.astype(int) + 3 * (t + 1), 0, 255).astype(np.uint8)
        for t, frame in enumerate(hr)
    ]
    errors = [np.mean((a.astype(float) - b) ** 2) for a, b in zip(hr, sr, strict=True)]
    found = compare("sr", hr, iter(sr))
    assert found["psnr"]["frame"] == pytest.approx(
        np.mean([10 * np.log10(255**2 / e) for e in errors])
    )
    assert found["psnr"]["pooled"] == pytest.approx(10 * np.log10(255**2 / np.mean(errors)))
    lumas = [
        [torch.from_numpy(luma(each))[None, None] for each in pair]
        for pair in zip(hr, sr, strict=True)
    ]
    mse = [float(torch.mean((a.double() - b) ** 2)) for a, b in lumas]
    assert found["psnr"]["y"] == pytest.approx(np.mean([10 * np.log10(255**2 / e) for e in mse]))
    expected = [
        float(structural_similarity_index_measure(a, b, data_range=255.0)) for a, b in lumas
    ]
    assert found["ssim"] == pytest.approx(np.mean(expected), abs=1e-4)


@pytest.mark.parametrize(
    ("sr", "message"),
    [
        (frames(2, 0), "fewer"),
        (frames(4, 0), "more than"),
        ([], "has 0"),
        ([frame[1:] for frame in frames(3, 0)], "shape"),
    ],
)
def test_frames_that_do_not_match_are_refused(sr: list[np.ndarray], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compare("sr.mp4", frames(3, 0), sr)


def row(kbps: float, psnr: float, **changes) -> dict:
    return {
        "method": "x264", "codec": "x264", "backbone": None, "scale": None, "chunks": None,
        "bits": None, "seconds": 8.0,
        "kbps": kbps, "bytes_total": kbps * 1000, "bytes_models": 0, "bytes_graph": 0,
        "bytes_manifest": 0, "psnr_frame": psnr, "psnr_y": psnr + 2, "ssim": None, "vmaf": None,
    } | changes  # fmt: skip


def test_bd_rate_of_curves_whose_answer_is_known(study: ModuleType) -> None:
    from curves import bd_rate, curve

    anchor = [(100.0 * 2**i, 30.0 + 2 * i) for i in range(4)]
    assert bd_rate(anchor, [(2 * rate, psnr) for rate, psnr in anchor]) == pytest.approx(100)
    assert bd_rate(anchor, [(rate / 2, psnr) for rate, psnr in anchor]) == pytest.approx(-50)
    assert bd_rate(anchor, [(rate, psnr - 20) for rate, psnr in anchor]) is None, (
        "no quality in common"
    )
    assert bd_rate(anchor, anchor[:1]) is None
    points = [row(100, 30), row(200, 29.0), row(300, 33), row(150, 31)]
    assert curve(points, "psnr_frame") == [(100, 30), (150, 31), (300, 33)], (
        "one that is beaten in both is left out"
    )


def test_networks_are_spread_over_a_longer_video(study: ModuleType) -> None:
    from curves import bd_table, kbps_at

    sent = {"method": "stdo", "chunks": 4, "bits": 8, "backbone": "espcn", "scale": 4}
    point = row(
        100,
        30,
        bytes_total=100_000,
        bytes_models=50_000,
        bytes_graph=6000,
        bytes_manifest=4000,
        **sent,
    )
    assert kbps_at(point, None) == 100
    assert kbps_at(point, 60) == pytest.approx(40_000 * 8 / 1000 / 8 + 60_000 * 8 / 1000 / 60)
    assert kbps_at(row(100, 30), 600) == pytest.approx(100), (
        "a codec's rate does not depend on the length"
    )
    better = {**point, "bytes_total": 140_000, "psnr_frame": 32}
    table = bd_table([row(50, 29), row(100, 31), row(200, 33), point, better])
    found = {
        e["seconds"]: e
        for e in table
        if e["curve"] == "STDO k=4, 8 bits" and e["metric"] == "psnr_frame"
    }
    assert [each["computed"] for each in found.values()] == [False, True, True, True]
    found = [
        e["bd_rate_percent"]
        for e in table
        if e["curve"] == "best of stdo" and e["metric"] == "psnr_frame"
    ]
    assert found[1:] == sorted(found[1:], reverse=True), "the longer, the cheaper"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--full", "h266=20"], "x264, x265, svtav1"),
        (["--full", "x264=20,60"], "crf=60: must be 0 to 51"),
        (["--lr", "x264"], "codec=crf,crf"),
        (["--bits", "8,5"], "weights.bits=5"),
        (["--bits", "eight"], "whole number"),
        (["degrade.crf=30"], "--lr"),
        (["method=h264"], "must be one of"),
        (["scale=5"], "scale"),
        (["video.height=72,96"], "must be one"),
        (["budget.passes=-1"], "above 0"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], message: str, study: ModuleType, clip: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(clip.parent)
    with pytest.raises(SystemExit) as stop:
        study.main([f"video.path={clip}", *words])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1 and message in said, said
    assert [path.name for path in clip.parent.iterdir()] == [clip.name], "nothing was begun"


@pytest.mark.slow
def test_the_study_runs_counts_every_byte_and_goes_on(
    study: ModuleType, clip: Path, tmp_path: Path, capsys
) -> None:
    paths = [f"paths.outputs={tmp_path}/outputs", f"paths.cache={tmp_path}/cache"]
    words = [f"video.path={clip}", *TINY, *paths, "method=awdnn,jstdo", "chunks=2"]
    words += [
        "--full",
        "x264=30,45",
        "--lr",
        "x264=20,35",
        "--bits",
        "32,8",
        "--out",
        str(tmp_path / "found"),
    ]
    study.main(words)
    with (tmp_path / "found" / "results.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [each["method"] for each in rows].count("bicubic") == 2, "once for each small video"
    assert len(rows) == 2 + 2 * (2 * 2 + 1)
    for each in rows:
        assert int(each["bytes_audio"]) == 0 and each["commit"] and each["processor"]
        assert str(tmp_path) not in each["command"]
        assert float(each["kbps"]) == pytest.approx(
            int(each["bytes_total"]) * 8 / 1000 / (6 / 25), abs=1e-3
        )
    hr = [frame.rgb_HWC for frame in VideoFile(clip, max_frames=6)]
    runs = next((tmp_path / "outputs").iterdir())
    files = [path for kind in ("stdo", "mp4") for path in sorted(runs.rglob(f"*.{kind}"))]
    assert len(files) == len([each for each in rows if each["method"] != "bicubic"])
    for path in files:
        kept = json.loads(path.with_name(f"{path.name}.json").read_text())
        assert [
            each["method"] for each in rows if each["psnr_y"] == f"{kept['psnr_y']:.4f}".rstrip("0")
        ] != []
        assert kept["bytes_total"] == path.stat().st_size
        played = (
            list(Player(path))
            if path.suffix == ".stdo"
            else [(f.pts, f.rgb_HWC) for f in VideoFile(path)]
        )
        assert [pts for pts, _ in played] == [Fraction(t, 25) for t in range(6)]
        figures = compare(path, hr, (rgb for _, rgb in played))
        assert figures["psnr"]["frame"] == pytest.approx(kept["psnr_frame"])
        assert figures["psnr"]["y"] == pytest.approx(kept["psnr_y"])
        assert figures["ssim"] == pytest.approx(kept["ssim"])
    for name in ("plot.png", "durations.png"):
        assert (tmp_path / "found" / name).stat().st_size > 5000
    made = {path: path.stat().st_mtime_ns for path in files}
    capsys.readouterr()
    study.main([*words, "--vmaf", "--ffmpeg", "no-such-program"])
    assert {path: path.stat().st_mtime_ns for path in made} == made, "nothing is made twice"
    assert "no-such-program has no libvmaf; VMAF is left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(each, marks=pytest.mark.slow) for each in (signal.SIGINT, signal.SIGUSR1)),
    ],
)
def test_a_signal_is_one_line(number: signal.Signals, clip: Path, tmp_path: Path) -> None:
    words = [
        f"video.path={clip}",
        *TINY,
        "method=awdnn",
        "--full",
        "x264=30",
        "--out",
        str(tmp_path / "found"),
    ]
    running = subprocess.Popen(
        [sys.executable, str(FOLDER / "study.py"), *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    said = ""
    while "[1/" not in said:
        said += running.stderr.readline()
        assert running.poll() is None, said
    running.send_signal(number)
    _, rest = running.communicate(timeout=120)
    assert running.returncode == 128 + number
    assert "Traceback" not in rest
    assert rest.splitlines()[-1] == f"stdo: stopped by {number.name}; the same command resumes"


def test_a_program_that_is_not_there_has_no_vmaf() -> None:
    assert not has_vmaf("no-such-program")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_being_asked_to_stop_is_one_line(
    number: signal.Signals, code: int, clip: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        str(FOLDER / "study.py"),
        f"video.path={clip}",
        *TINY,
        "--out",
        str(tmp_path / "out"),
    ]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        begun = next(line for line in running.stderr if line.startswith("[1/"))
        running.send_signal(number)
        rest = running.stderr.read()
    assert running.returncode == code, (begun, rest)
    assert f"stdo: stopped by {number.name}; the same command resumes" in rest
    assert "Traceback" not in rest
