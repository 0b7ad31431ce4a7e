"""PSNR of each frame, averaged."""

import numpy as np

from stdo.chunks.score import psnr
from stdo.metrics.base import MeanOfFrames, Pair


class Frame(MeanOfFrames):
    """Mean over the frames of PSNR over RGB. The figure to quote."""

    label = "frame"
    help = "mean of the frames' PSNR over RGB"
    rank = 0
    protocol = True
    needed = True
    row = "psnr"

    def of(self, pair: Pair) -> float:
        """PSNR of a frame in dB."""
        return float(psnr(pair.error_HW.mean(dtype=np.float64) / 3))
