"""PSNR of luma."""

import numpy as np

from stdo.chunks.score import psnr
from stdo.metrics.base import MeanOfFrames, Pair

_BLOCK = 8192
"""Pixels that are worked on at once; no array of a frame's size is made."""


class Y(MeanOfFrames):
    """Mean over the frames of PSNR of luma, with a peak of 255."""

    label = "Y"
    help = "mean of the frames' PSNR of luma"
    rank = 4
    protocol = True
    row = "y"

    def of(self, pair: Pair) -> float:
        """Luma PSNR of a frame in dB."""
        hr_N, sr_N = (image_HW.reshape(-1) for image_HW in pair.luma)
        energy = 0.0
        for first in range(0, hr_N.size, _BLOCK):
            difference_N = hr_N[first : first + _BLOCK] - sr_N[first : first + _BLOCK]
            energy += float(np.square(difference_N).sum(dtype=np.float64))
        return float(psnr(energy / hr_N.size))
