"""Bicubic enlargement in numpy, for patches without a network."""

import numpy as np

from stdo.core.types import F32, U8
from stdo.video.resize import taps

REACH = 2
"""LR pixels away from which a pixel still changes the result."""


def enlarge(lr_HWC: U8, scale: int) -> U8:
    """The pixels of `stdo.video.degrade.BicubicUpscaler`, to one level: (h, w, 3) -> (scale·h,
    scale·w, 3) uint8."""
    rows = _along_rows(lr_HWC.astype(np.float32), scale)
    frame_WHC = _along_rows(np.ascontiguousarray(rows.swapaxes(0, 1)), scale)
    np.rint(frame_WHC, out=frame_WHC)
    np.clip(frame_WHC, 0, 255, out=frame_WHC)
    return np.ascontiguousarray(frame_WHC.astype(np.uint8).swapaxes(0, 1))


def enlarge_part(lr_HWC: U8, scale: int, top: int, left: int, height: int, width: int) -> U8:
    """What `enlarge` makes of a part of a frame, the pixels around it being seen: (scale·height,
    scale·width, 3).

    Args:
        top: First row of the part, in LR pixels.
        left: First column of the part, in LR pixels.
        height: Rows of the part. One patch at a time stays in the processor's cache.
        width: Columns of the part.
    """
    above, before = max(top - REACH, 0), max(left - REACH, 0)
    seen_HWC = lr_HWC[above : top + height + REACH, before : left + width + REACH]
    rows, cols = (scale * (start - first) for start, first in ((top, above), (left, before)))
    return enlarge(seen_HWC, scale)[rows : rows + scale * height, cols : cols + scale * width]


def _along_rows(frame_HWC: F32, scale: int) -> F32:
    """Enlarge the first axis."""
    length = len(frame_HWC)
    first_N, weight_NK = taps(length, length * scale)
    out: F32 = np.zeros((len(first_N), *frame_HWC.shape[1:]), np.float32)
    for tap, weight_N in enumerate(weight_NK.T):
        out += weight_N[:, None, None] * frame_HWC[np.minimum(first_N + tap, length - 1)]
    return out
