"""Cuts are found where they are, and long videos are split at them."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from stdo.core.types import Frame
from stdo.video.reader import VideoFile
from stdo.video.scenes import HEIGHT, cuts, lengths, scan, split
from stdo.video.writer import VideoWriter

RATE = Fraction(25)


def textured(seed: int, height: int = 72, width: int = 400) -> np.ndarray:
    """A wide picture with coarse and fine structure, in a colour of its own."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (height // 24, -(-width // 24), 3)).repeat(24, 0).repeat(24, 1)
    tint = rng.integers(-40, 40, 3)
    return np.clip(coarse[:, :width] + tint + rng.normal(0, 6, (height, width, 3)), 0, 255)


def pan(seed: int, frames: int, step: int) -> list[np.ndarray]:
    """A camera that moves over such a picture by so many pixels a frame."""
    wide = textured(seed)
    return [wide[:, t * step % 272 :][:, :128].astype(np.uint8) for t in range(frames)]


def filmed(path: Path, frames: list[np.ndarray]) -> VideoFile:
    with VideoWriter(path, 128, 72, RATE, "x264", crf=30) as writer:
        for t, rgb_HWC in enumerate(frames):
            writer.write(Frame(t / RATE, rgb_HWC))
    return VideoFile(path, height=HEIGHT)


def test_cuts_are_where_scenes_begin(tmp_path: Path) -> None:
    frames = [*pan(0, 30, 1), *pan(1, 9, 2), *pan(2, 40, 1)]
    found = scan(filmed(tmp_path / "a.mp4", frames))
    assert sorted(found.cuts()) == [30, 39]
    assert found.pts == [t / RATE for t in range(79)] and found.last == 1 / RATE


@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_smooth_pan_has_no_cut(step: int, tmp_path: Path) -> None:
    frames = pan(3, min(60, 270 // step), step)
    assert scan(filmed(tmp_path / "a.mp4", frames)).cuts() == {}


def test_a_fade_and_a_still_have_no_cut(tmp_path: Path) -> None:
    still = pan(4, 1, 0)[0]
    fade = [(still * (1 - t / 40)).astype(np.uint8) for t in range(41)]
    assert scan(filmed(tmp_path / "a.mp4", [*[still] * 20, *fade])).cuts() == {}


def test_the_first_frame_and_single_frames_are_no_cut() -> None:
    assert cuts(np.array([0.0])) == {} and cuts(np.array([90.0, 1])) == {}
    assert list(cuts(np.array([0.0, 90]))) == [1]


def at(seconds: float) -> int:
    return round(seconds * 25)


PTS = [t / RATE for t in range(at(100))]
END = Fraction(100)


@pytest.mark.parametrize(
    ("found", "seconds", "expected"),
    [
        ({}, 100, [0]),
        ({50: 9.0}, 1000, [0]),
        ({}, 60, [0, 50]),
        ({}, 40, [0, 33.32, 66.64]),
        ({at(45): 5.0, at(55): 4.0}, 60, [0, 45]),
        ({at(45): 5.0, at(20): 90.0}, 60, [0, 45]),  # too early
        ({at(58): 5.0, at(95): 90.0}, 60, [0, 58]),  # what is left is short enough
        ({at(86): 90.0}, 90, [0, 50]),  # the end would be too short a part
        ({at(30): 3.0, at(55): 3.0}, 40, [0, 30, 55, 77.48]),
    ],
)
def test_where_a_video_is_split(
    found: dict[int, float], seconds: int, expected: list[float]
) -> None:
    firsts = split(PTS, END, found, Fraction(seconds))
    assert [float(PTS[first]) for first in firsts] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(200))
def test_every_frame_is_in_one_part_and_no_part_is_too_long(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = rng.integers(1, 10, rng.integers(1, 300)).tolist()
    ends, seconds = np.cumsum(steps).tolist(), int(rng.integers(1, 400))
    pts = [Fraction(end - step) for end, step in zip(ends, steps, strict=True)]
    known = {int(t): float(t % 7) for t in rng.integers(0, len(pts), 20) if t}
    firsts = split(pts, Fraction(ends[-1]), known, Fraction(seconds))
    assert firsts[0] == 0 and all(a < b for a, b in pairwise(firsts)) and firsts[-1] < len(pts)
    assert sum(lengths(firsts, len(pts))) == len(pts)
    for first, end in pairwise([*firsts, len(pts)]):
        assert ends[end - 1] - pts[first] <= seconds or end - first == 1, (firsts, seconds)
