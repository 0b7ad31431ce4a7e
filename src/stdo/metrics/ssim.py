"""Structural similarity of luma."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stdo.core.types import F32
from stdo.metrics.base import MeanOfFrames, Pair

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 11
"""Side of the Gaussian window (sigma 1.5) in pixels."""

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""Keep the two factors of SSIM finite where an image is black, or flat."""

_STRIP = 64


class Ssim(MeanOfFrames):
    """Mean over the frames of SSIM of luma."""

    label = "SSIM"
    help = "SSIM, mean of the frames"
    rank = 10
    limits = (-2, 2)
    digits = 4
    needed = True
    row = "ssim"

    def of(self, pair: Pair) -> float | None:
        """SSIM of a frame; None where a side has 5 pixels or fewer."""
        return ssim(*pair.luma)


def ssim(x_HW: F32, y_HW: F32) -> float | None:
    """Mean structural similarity of two luma images (Wang et al. 2004), 11×11 Gaussian window of
    sigma 1.5.

    ``(2 μx μy + C1)(2 σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2))`` with ``C1 = (0.01·255)²``
    and ``C2 = (0.03·255)²``, averaged over a window around every pixel, the image being mirrored at
    its edges. Gives torchmetrics' figure (a test holds it to that) about fifteen times as fast: the
    window is applied as two passes of shifted additions.

    Shapes: two float32 (H, W) -> a float up to 1; None where a side is too short to be mirrored (5
        pixels or fewer).

    >>> ssim(np.full((16, 16), 90, np.float32), np.full((16, 16), 90, np.float32))
    1.0
    >>> ssim(np.zeros((16, 5), np.float32), np.zeros((16, 5), np.float32)) is None
    True
    """
    import torch

    assert x_HW.shape == y_HW.shape, (x_HW.shape, y_HW.shape)
    reach = WINDOW // 2
    if min(x_HW.shape) <= reach:
        return None
    rows = np.pad(np.arange(len(x_HW)), reach, mode="reflect")
    # Strips of rows stay in the processor's cache, which makes it several times as fast as the
    # whole frame at once.
    total = 0.0
    for top in range(0, len(x_HW), _STRIP):
        strip, sides = rows[top : top + _STRIP + 2 * reach], ((0, 0), (reach, reach))
        x, y = (
            torch.from_numpy(np.pad(image_HW[strip], sides, mode="reflect"))
            for image_HW in (x_HW, y_HW)
        )
        total += float(similarity(x, y).sum(dtype=torch.float64))
    return total / x_HW.size


def similarity(x_HW: Tensor, y_HW: Tensor) -> Tensor:
    """SSIM of every window inside two images: float32 (H, W) -> (H − 10, W − 10)."""
    square, cross, variance, covariance = moments(x_HW, y_HW)
    found: Tensor = (2 * cross + C1) * (2 * covariance + C2) / ((square + C1) * (variance + C2))
    return found


def moments(x_HW: Tensor, y_HW: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of every window inside two images, ``μx² + μy²``, ``μx μy``, ``σx² + σy²`` and ``σxy``:
    float32 (H, W) -> four of (H − 10, W − 10)."""
    import torch

    x, y = x_HW, y_HW
    mean_x, mean_y, xx, yy, xy = _window(torch.stack([x, y, x * x, y * y, x * y]))
    square, cross = mean_x * mean_x + mean_y * mean_y, mean_x * mean_y
    return square, cross, xx + yy - square, xy - cross


def _window(planes_NHW: Tensor) -> Tensor:
    """Gaussian means over the windows inside the planes, (N, H − 10, W − 10)."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * 1.5**2))
    weights = (weights / weights.sum()).tolist()
    for axis in (1, 2):
        length = planes_NHW.shape[axis] - WINDOW + 1
        total = planes_NHW.narrow(axis, 0, length) * weights[0]
        for offset in range(1, WINDOW):
            total.add_(planes_NHW.narrow(axis, offset, length), alpha=weights[offset])
        planes_NHW = total
    return planes_NHW
