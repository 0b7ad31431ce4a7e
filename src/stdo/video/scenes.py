"""Find scene cuts, and where to split a long video into parts.

A cut is a frame that differs much from the one before, and much more than its neighbours do: in a
pan or in fast motion all frames differ alike. Frames are compared as small pictures of
`HEIGHT` rows.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from stdo.core.types import F64, FrameSource, Progress, silent

HEIGHT = 36
"""Rows of the pictures that are compared. Noise and small things are averaged away."""

LEAST = 8.0
"""Mean difference between the pictures on both sides of a cut, of 255, at least."""

RATIO = 4.0
"""How many times as much that must be as the mean difference of the frames around."""

AROUND = 3
"""Frames on each side of a cut that it is compared with."""


@dataclass(frozen=True)
class Scan:
    """What one pass through a video tells.

    Attributes:
        pts: Seconds of each frame, the first at 0.
        last: Seconds that the last frame is shown; None: not known.
        difference_T: Mean absolute difference of each frame from the one before, 0–255; 0 for the
            first.
    """

    pts: list[Fraction]
    last: Fraction | None
    difference_T: F64

    def cuts(self) -> dict[int, float]:
        """The first frames of scenes, each with how many times as much it differs as its
        neighbours. The first frame of the video is none of them."""
        return cuts(self.difference_T)


def scan(source: FrameSource, progress: Progress = silent) -> Scan:
    """Decode a video and compare each frame with the one before.

    Args:
        source: The video; small frames are enough, see `HEIGHT`.
        progress: Shows how far decoding is.

    Returns:
        Times and differences of all frames.

    Raises:
        UserError: The video is damaged.
    """
    pts: list[Fraction] = []
    differences: list[float] = []
    before = None
    last: Fraction | None = None
    for frame in progress(source, source.info.frames, "scan"):
        now = frame.rgb_HWC.astype(np.int16)
        differences.append(0.0 if before is None else float(np.abs(now - before).mean()))
        pts.append(frame.pts)
        before, last = now, frame.length
    return Scan(pts, last, np.array(differences))


def cuts(difference_T: F64) -> dict[int, float]:
    """Frames at which a scene begins, by how much frames differ from the one before.

    >>> cuts(np.array([0.0, 2, 2, 40, 2, 2, 2]))
    {3: 20.0}
    >>> cuts(np.array([0.0, 40, 40, 40, 40]))  # fast motion
    {}
    """
    found = {}
    for t in np.flatnonzero(difference_T >= LEAST).tolist():
        before = difference_T[max(1, t - AROUND) : t]
        after = difference_T[t + 1 : t + 1 + AROUND]
        around = np.concatenate([before, after])
        usual = max(1.0, float(around.mean()) if len(around) else 0.0)
        if t > 0 and difference_T[t] >= RATIO * usual:
            found[t] = float(difference_T[t]) / usual
    return found


def split(
    pts: Sequence[Fraction], end: Fraction, cuts: dict[int, float], seconds: Fraction
) -> list[int]:
    """Where to split a video into parts of at most so many seconds.

    A part ends at the clearest cut in the second half of what it may have; where there is none, it
    ends at a frame, such that what is left is divided evenly. No part is shorter than a quarter of
    ``seconds``.

    Args:
        pts: Seconds of each frame.
        end: When the last frame ends.
        cuts: Frames at which scenes begin, with how clear that is.
        seconds: Longest part. A frame that is shown for longer is a part of its own.

    Returns:
        The first frame of each part.
    """
    firsts = [0]
    while True:
        begin = pts[firsts[-1]]
        left = end - begin
        if left <= seconds:
            return firsts
        good = {
            t: clear
            for t, clear in cuts.items()
            if seconds / 2 <= pts[t] - begin <= seconds and end - pts[t] >= seconds / 4
        }
        if good:
            firsts.append(max(good, key=lambda t: (good[t], -t)))
            continue
        limit = begin + left / math.ceil(left / seconds)
        later = max(bisect_right(pts, limit) - 1, firsts[-1] + 1)
        if later >= len(pts):
            return firsts
        firsts.append(later)


def lengths(firsts: Sequence[int], frames: int) -> list[int]:
    """How many frames each part has.

    >>> lengths([0, 4, 9], 10)
    [4, 5, 1]
    """
    return [after - before for before, after in pairwise([*firsts, frames])]
