"""Scores of patches: the `Scorer` protocol, and PSNR of an upscaler's result (paper section 3.2).

f0 is an `Upscaler`: any callable from an LR frame to an SR frame. This module knows no network.
"""

import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stdo.chunks.grid import PatchGrid
from stdo.core.types import F32, F64, U8, Pairs, Upscaler, UserError

I32 = npt.NDArray[np.int32]

STRIP = 1 << 18
"""Samples of an image that are worked on at once as floats: as many as stay in a
processor's cache."""

PSNR_CAP = 100.0
"""Decibels: the PSNR of identical images, and of anything better than this. Keeps means and JSON
finite."""


def psnr(mse: npt.ArrayLike, peak: float = 255.0) -> F64:
    """Peak signal-to-noise ratio in dB: ``min(10·log10(peak² / mse), PSNR_CAP)``, element by
    element.

    Shapes: mse of any shape -> float64 of the same shape (a scalar for a scalar); never inf or NaN.

    Args:
        mse: mean squared error, 0 or more.
        peak: greatest value that a sample can have.

    >>> float(psnr(65025.0)), float(psnr(650.25)), float(psnr(0.0))
    (0.0, 20.0, 100.0)
    """
    floor = peak**2 / 10 ** (PSNR_CAP / 10)
    return np.asarray(10 * np.log10(peak**2 / np.maximum(np.asarray(mse, np.float64), floor)))


def squared_error(hr: U8, sr: U8) -> I32:
    """Squared difference of each pixel, summed over its three channels: ``Σ_c (hr_c − sr_c)²``.

    Exact: float32 holds every whole number up to 2²⁴, and adds three of them twice as fast as
        integers are added here.

    Shapes: two uint8 images or stacks of images (…, H, W, 3) -> int32 (…, H, W), 0..3·255².

    >>> squared_error(np.full((1, 2, 3), 255, np.uint8), np.zeros((1, 2, 3), np.uint8)).tolist()
    [[195075, 195075]]
    """
    assert hr.shape == sr.shape and hr.shape[-1] == 3, (hr.shape, sr.shape)
    error = np.empty(hr.shape[:-1], np.int32)
    for part in strips(hr):
        difference = np.subtract(hr[part], sr[part], dtype=np.float32)
        error[part] = np.square(difference, out=difference) @ np.ones(3, np.float32)
    return error


def strips(images: U8) -> Iterator[slice]:
    """Slices along the first axis that make strips of at most `STRIP` samples, or of one row where
    a row has more.

    >>> list(strips(np.zeros((5, STRIP // 6, 3), np.uint8)))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 6, None)]
    """
    rows = max(1, STRIP // max(1, math.prod(images.shape[1:])))
    for first in range(0, len(images), rows):
        yield slice(first, first + rows)


def patch_psnr(sr_HWC: U8, hr_HWC: U8, grid: PatchGrid) -> F32:
    """PSNR in dB of every patch of one frame, over the patch's whole rectangle (without halo).

    Args:
        sr_HWC: uint8 (scale·height, scale·width, 3).
        hr_HWC: uint8 (scale·height, scale·width, 3).

    Returns:
        float32 (rows, cols), capped at `PSNR_CAP`.

    Raises:
        UserError: Where an upscaler made something else: compiled loops would read beyond it.
    """
    from stdo.core import kernels  # not at the start: a run on prepared videos needs none

    scale = grid.scale
    assert hr_HWC.shape == (grid.height * scale, grid.width * scale, 3), (hr_HWC.shape, grid)
    made, needed = (f"{image.dtype} {image.shape}" for image in (np.asarray(sr_HWC), hr_HWC))
    if made != needed:
        raise UserError(f"scorer: its SR frame is {made}: must be {needed}")

    height, width = grid.patch_h * scale, grid.patch_w * scale
    sums = np.empty(grid.patches, np.int64)
    kernels.energies(
        np.ascontiguousarray(sr_HWC),
        np.ascontiguousarray(hr_HWC),
        grid.origins * scale,
        height,
        width,
        sums,
    )
    return psnr(sums.reshape(grid.rows, grid.cols) / (3 * height * width)).astype(np.float32)


class Scorer(Protocol):
    """Says how informative each patch of a video is: the lower its score, the more (chunk 0 has the
    lowest)."""

    def key(self) -> str | None:
        """Everything that its scores depend on but the video, the scale and the patches, for the
        cache's file name.

        None: nobody knows whether it is the one of last time, and its scores are not kept.
        """
        ...

    def scores(self, frames: Pairs, grid: PatchGrid) -> F32:
        """Scores of a whole video, float32 (T, rows, cols), finite; reads it once, in order.

        Args:
            frames: LR frames uint8 (height, width, 3) with their HR frames (scale·height,
                scale·width, 3).
        """
        ...


@dataclass(frozen=True)
class ByPsnr:
    """Scores are the PSNR in dB of what ``upscale`` makes of a patch, against HR.

    Attributes:
        upscale: Bicubic, general weights or any callable; where it has a ``key()``, its scores are
            kept in the cache.
    """

    upscale: Upscaler

    def key(self) -> str | None:
        """The upscaler's own."""
        own = getattr(self.upscale, "key", None)
        return None if own is None else str(own())

    def scores(self, frames: Pairs, grid: PatchGrid) -> F32:
        """Patch PSNR of a whole video, float32 (T, rows, cols), capped at `PSNR_CAP`."""
        found = (patch_psnr(self.upscale(lr_HWC), hr_HWC, grid) for lr_HWC, hr_HWC in frames)
        return np.fromiter(found, np.dtype((np.float32, (grid.rows, grid.cols))))


def named(function: str) -> Upscaler:
    """The callable called ``package.module:function``, as an upscaler to score with.

    It takes an LR frame, uint8 (h, w, 3), and returns the SR frame, uint8 (scale·h, scale·w, 3).
    """
    module, _, name = function.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"scorer.function={function}: must be package.module:function ({error})"
        ) from error
    if not callable(found):
        raise UserError(f"scorer.function={function}: is not callable")
    return found  # type: ignore[no-any-return]
