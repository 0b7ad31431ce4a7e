"""Bicubic enlargement in numpy, for patches that have no network, or none yet."""

from functools import lru_cache

import numpy as np

from stdo.core.types import F32, I64, U8

REACH = 2
"""LR pixels away from which a pixel still changes the result."""


def enlarge(lr_HWC: U8, scale: int) -> U8:
    """The pixels of `stdo.video.degrade.BicubicUpscaler`, to one level: (h, w, 3) -> (scale·h, scale·w, 3) uint8."""
    rows = _along_rows(lr_HWC.astype(np.float32), scale)
    frame_WHC = _along_rows(np.ascontiguousarray(rows.swapaxes(0, 1)), scale)
    np.rint(frame_WHC, out=frame_WHC)
    np.clip(frame_WHC, 0, 255, out=frame_WHC)
    return np.ascontiguousarray(frame_WHC.astype(np.uint8).swapaxes(0, 1))


def enlarge_part(lr_HWC: U8, scale: int, top: int, left: int, height: int, width: int) -> U8:
    """What `enlarge` makes of a part of a frame, the pixels around it being seen: (scale·height, scale·width, 3).

    top, left, height, width: of the part in LR pixels. One patch at a time stays in the processor's cache.
    """
    above, before = max(top - REACH, 0), max(left - REACH, 0)
    seen_HWC = lr_HWC[above : top + height + REACH, before : left + width + REACH]
    rows, cols = (scale * (start - first) for start, first in ((top, above), (left, before)))
    return enlarge(seen_HWC, scale)[rows : rows + scale * height, cols : cols + scale * width]


def _along_rows(frame_HWC: F32, scale: int) -> F32:
    """Enlarge the first axis."""
    index_NK, weight_NK = _taps(len(frame_HWC), scale)
    out: F32 = np.zeros((len(index_NK), *frame_HWC.shape[1:]), np.float32)
    for index_N, weight_N in zip(index_NK.T, weight_NK.T, strict=True):
        out += weight_N[:, None, None] * frame_HWC[index_N]
    return out


@lru_cache(maxsize=32)
def _taps(length: int, scale: int) -> tuple[I64, F32]:
    """For each of ``scale · length`` outputs its four input pixels and their weights, both (N, 4).

    Keys 1981 with a = -0.5; what falls outside the frame is cut off and the rest weighs more (decision 0004).
    """
    centre = (np.arange(length * scale) + 0.5) / scale - 0.5
    index = np.floor(centre).astype(np.int64)[:, None] + np.arange(-1, 3)
    x = np.abs(index - centre[:, None])
    weight = np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * (x**3 - 5 * x**2 + 8 * x - 4))
    weight *= (index >= 0) & (index < length)
    weight /= weight.sum(1, keepdims=True)
    return np.clip(index, 0, length - 1), weight.astype(np.float32)
