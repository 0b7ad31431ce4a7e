"""Bicubic resampling in one pass through the frame."""

from functools import lru_cache

import numpy as np

from stdo.core.cubic import cubic
from stdo.core.types import F32, I64, U8


def resize(frame_HWC: U8, height: int, width: int) -> U8:
    """Bicubic with a = −0.5, antialiased when shrinking, computed in float32 and rounded once.

    Kernel, pixel centres and support are those of MATLAB's ``imresize``; outside the frame the
    kernel is cut off and renormalised as Pillow does, where MATLAB mirrors the frame.

    The tests hold it to torch's ``interpolate(antialias=True)`` within one level, and to equality
    but for ties.

    Shapes: uint8 RGB (H, W, 3) -> (height, width, 3).
    """
    from stdo.core import kernels  # not at the start: a run on prepared videos needs none

    rows, cols, channels = frame_HWC.shape
    # Loops check no bounds
    assert frame_HWC.dtype == np.uint8 and channels == 3, (frame_HWC.dtype, frame_HWC.shape)
    resized = np.empty((height, width, channels), np.uint8)
    # The axis first that leaves less for the other
    along = kernels.shrink if height <= rows else kernels.enlarge
    along(np.ascontiguousarray(frame_HWC), *taps(rows, height), *taps(cols, width), resized)
    return resized


@lru_cache(maxsize=32)
def taps(length: int, out: int) -> tuple[I64, F32]:
    """One axis of ``length`` pixels resampled to ``out``: the first pixel of each, and the weights
    from there.

    Returns: first (out,), weights (out, K) that sum to 1; 0 beyond the last pixel.
    """
    ratio = length / out
    widen = max(ratio, 1.0)
    centres = (np.arange(out) + 0.5) * ratio
    first = np.maximum(np.floor(centres - 0.5 - 2 * widen).astype(np.int64) + 1, 0)
    pixels = first[:, None] + np.arange(int(np.ceil(4 * widen)))
    weights = np.where(pixels < length, cubic(np.abs(pixels + 0.5 - centres[:, None]) / widen), 0)
    return first, (weights / weights.sum(1, keepdims=True)).astype(np.float32)
