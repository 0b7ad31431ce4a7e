"""Packages that ask for much: memory of all processes together, measured from outside, and time to
stop."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import hostile_packages as hostile
import psutil
import pytest

from stdo.core.types import UserError
from stdo.package.container import Package
from stdo.package.manifest import from_json, to_json
from stdo.package.source import Times
from stdo.player.memory import limit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="measures by /proc"),
]

LITTLE = 450 << 20
"""Bytes that are enough where nothing is played, on any of these packages."""


@dataclass
class Ended:
    """How a command ended. peak: bytes that its processes held together; what several share counts
    once."""

    code: int
    said: str
    peak: int
    seconds: float


def command(package: Path, threads: int = 4) -> list[str]:
    return [
        sys.executable,
        "-m",
        "stdo.play",
        str(package),
        str(package.with_name("out.mp4")),
        f"--threads={threads}",
    ]


def held(process: psutil.Process) -> int:
    total = 0
    for each in (process, *process.children(recursive=True)):
        try:
            lines = Path(f"/proc/{each.pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total


def played(package: Path, threads: int = 4, wait: float = 900) -> Ended:
    """Play a package by the command, watched."""
    began, peak = time.monotonic(), 0
    with psutil.Popen(
        command(package, threads), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        timer = threading.Timer(wait, process.kill)
        timer.start()
        while process.poll() is None:
            try:
                peak = max(peak, held(process))
            except psutil.Error:
                break
            time.sleep(0.02)
        said = process.stdout.read()
        timer.cancel()
    return Ended(process.wait(), said, peak, time.monotonic() - began)


LARGE = [
    ((4720, 4720), 10, 4, "x264"), ((3840, 2160), 40, 4, "x264"), ((1920, 1080), 60, 4, "x264"),
    ((3840, 2160), 12, 1, "x264"), ((3840, 2160), 24, 8, "x264"), ((5792, 5600), 2, 4, "x264"),
    ((4096, 2160), 12, 4, "x265"), ((4096, 2160), 12, 4, "svtav1"),
    ((4096, 2160), 12, 4, "lossless"),
]  # fmt: skip


@pytest.mark.parametrize(("size", "frames", "threads", "codec"), LARGE)
def test_large_frames_play_within_the_limit(
    size: tuple[int, int], frames: int, threads: int, codec: str, tmp_path: Path
) -> None:
    patch = (size[1] // 8, size[0] // 8)
    ended = played(hostile.package(tmp_path, size, frames, patch, codec=codec), threads)
    assert ended.code == 0, ended.said
    assert ended.peak < limit(size[0] * size[1], threads), f"{ended.peak >> 20} MiB"


@pytest.mark.parametrize(
    ("patch", "widths"), [((540, 960), (4, 64, 160)), ((270, 480), (16, 320, 640))]
)
def test_whatever_a_window_may_hold_plays_on_any_number_of_threads(
    patch: tuple[int, int], widths: tuple[int, ...], tmp_path: Path
) -> None:
    """The largest network that is not refused in one line for its size needs no more memory than
    there is."""
    outcomes = []
    for width in widths:
        folder = tmp_path / str(width)
        folder.mkdir()
        package = hostile.package(folder, (4096, 2160), 3, patch, features=width, halo=0)
        outcomes.append({threads: played(package, threads) for threads in (1, 4)})
    codes = [{each.code for each in outcome.values()} for outcome in outcomes]
    assert codes[0] == {0} and codes[-1] == {2} and all(len(each) == 1 for each in codes), codes
    for outcome in outcomes:
        for ended in outcome.values():
            assert ended.peak < 1 << 30
            assert ended.code == 0 or "hold" in ended.said, ended.said


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "frames that grow": (
        lambda folder: hostile.package(
            folder,
            (1280, 720),
            frames=3,
            lr=hostile.grows(folder / "x.mp4", (640, 360), (16384, 8192)),
        ),
        "lr.mp4: ",
    ),
    "four more videos": (
        lambda folder: hostile.package(
            folder, (1280, 720), lr=hostile.crowded(folder / "x.mp4", (640, 360), (7680, 4320), 4)
        ),
        "lr.mp4: it holds 5 videos",
    ),
    "counts in chunks.bin": (
        lambda folder: hostile.package(folder, chunks=hostile.counts(24 << 20)),
        "chunks.bin: damaged (25165824 parts, where 1 belong)",
    ),
    "counts in weights.bin": (
        lambda folder: hostile.package(folder, weights=hostile.counts(24 << 20)),
        "weights.bin: damaged (25165824 parts, where 3 belong)",
    ),
    "thousands of networks of thousands of numbers": (
        lambda folder: hostile.scalars(folder / "hostile.stdo", 4096, 4096),
        "graph.onnx: ",
    ),
    "thousands of empty deltas": (
        lambda folder: hostile.empty_deltas(folder / "hostile.stdo", 4096, 8000),
        "graph.onnx: ",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_takes_little(kind: str, tmp_path: Path) -> None:
    make, words = REFUSED[kind]
    ended = played(make(tmp_path))
    assert ended.code == 2 and ended.said.startswith("stdo: ") and ended.said.count("\n") == 1, (
        ended.said
    )
    assert words in ended.said
    assert ended.peak < LITTLE, f"{ended.peak >> 20} MiB"
    assert not (tmp_path / "out.mp4").exists() and not [
        *tmp_path.glob("*partial*"),
        *tmp_path.glob(".stdo-*"),
    ]


@pytest.mark.parametrize("rate", [Fraction(1, 2**31 - 1), Fraction(2**31 - 1, 1)])
@pytest.mark.parametrize("tick", [10**3, 10**8 * 90_000, 2**62])
def test_late_ticks_are_one_line(tick: int, rate: Fraction, tmp_path: Path) -> None:
    from msgspec.structs import replace

    manifest = Package.open(hostile.package(tmp_path, frames=3)).manifest
    source = replace(manifest.source, rate=rate, times=Times(Fraction(1, 90_000), (0, 1, tick)))
    if tick == 10**3 and rate > 1:
        assert from_json(to_json(replace(manifest, source=source))).source.times.ticks == (
            0,
            1,
            tick,
        )
        return
    with pytest.raises(UserError, match="at most 100000000 seconds"):
        to_json(replace(manifest, source=source))


@pytest.mark.parametrize("signals", [1, 2, 2000])
def test_it_ends_at_once_also_in_the_middle_of_a_frame(signals: int, tmp_path: Path) -> None:
    """Also where somebody leans on Ctrl-C: its exit code and last words stay what they are."""
    package = hostile.package(tmp_path, (4720, 4720), 10)
    process = subprocess.Popen(command(package), stderr=subprocess.PIPE, text=True)
    watched = psutil.Process(process.pid)
    while not [each for each in watched.children() if each.cpu_times().user > 3]:
        time.sleep(0.1)
    (child,) = watched.children()
    began = time.monotonic()
    for _ in range(signals):
        if process.poll() is None:
            os.kill(process.pid, signal.SIGINT)
            time.sleep(0.05 if signals < 3 else 0.002)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.split("\n") in ([""], ["", "stdo: stopped by SIGINT; nothing was kept", ""]), said
    assert time.monotonic() - began < 15, "a frame takes longer on a machine that is busy"
    child.wait(30)
    assert not (tmp_path / "out.mp4").exists()
