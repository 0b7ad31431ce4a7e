"""Structural similarity at five sizes, as work on learned codecs reports it."""

from __future__ import annotations

from stdo.core.types import F32
from stdo.metrics.base import MeanOfFrames, Pair
from stdo.metrics.ssim import C1, C2, WINDOW, moments

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the sizes, from the full one to a sixteenth (Wang et al. 2003)."""


class MsSsim(MeanOfFrames):
    """Mean over the frames of MS-SSIM of luma."""

    label = "MS-SSIM"
    help = "MS-SSIM, mean of the frames"
    rank = 11
    limits = (0, 2)
    digits = 4
    default = False
    row = "ms_ssim"

    def of(self, pair: Pair) -> float | None:
        """MS-SSIM of a frame; None where a side has fewer than 176 pixels."""
        return ms_ssim(*pair.luma)


def ms_ssim(x_HW: F32, y_HW: F32) -> float | None:
    """Multi-scale structural similarity of two luma images (Wang et al. 2003).

    The product, over five sizes that each halve the one before by means of 2×2 pixels, of the mean
    over all windows inside the image of ``(2 σxy + C2) / (σx² + σy² + C2)``, and at the last size
    of that times ``(2 μx μy + C1) / (μx² + μy² + C1)``, each to the power of its weight. Windows
    and constants are those of SSIM. A negative mean counts as 0.

    Shapes: two float32 (H, W) -> a float up to 1; None where no window fits into the last size.

    >>> import numpy as np
    >>> ms_ssim(np.full((176, 176), 90, np.float32), np.full((176, 176), 90, np.float32))
    1.0
    >>> ms_ssim(np.zeros((176, 175), np.float32), np.zeros((176, 175), np.float32)) is None
    True
    """
    import torch
    from torch.nn.functional import avg_pool2d

    assert x_HW.shape == y_HW.shape, (x_HW.shape, y_HW.shape)
    if min(x_HW.shape) >> (len(WEIGHTS) - 1) < WINDOW:
        return None
    x, y = torch.from_numpy(x_HW), torch.from_numpy(y_HW)
    product = 1.0
    for size, weight in enumerate(WEIGHTS):
        if size:
            x, y = (avg_pool2d(image_HW[None], 2)[0] for image_HW in (x, y))
        square, cross, variance, covariance = moments(x, y)
        similar = (2 * covariance + C2) / (variance + C2)
        if size == len(WEIGHTS) - 1:
            similar *= (2 * cross + C1) / (square + C1)
        product *= max(0.0, float(similar.mean(dtype=torch.float64))) ** weight
    return product
