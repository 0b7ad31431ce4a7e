"""A scorer that looks at the small video alone."""

from dataclasses import dataclass

import numpy as np

from stdo.chunks.grid import PatchGrid
from stdo.core.types import F32, U8, Pairs


@dataclass(frozen=True)
class Detail:
    """The more the brightness of a patch varies, the lower its score, the harder its chunk.

    Attributes:
        power: Of the differences between neighbouring LR pixels, 1 or more.
    """

    power: float = 1.0

    def key(self) -> str:
        """What the scores depend on beside the video and the patches."""
        return f"detail-{float(self.power)}"

    def scores(self, frames: Pairs, grid: PatchGrid) -> F32:
        """Minus the mean difference of neighbouring LR pixels, float32 (T, rows, cols)."""
        found = [self._of_frame(lr_HWC, grid) for lr_HWC, _ in frames]
        return np.asarray(found, np.float32).reshape(-1, grid.rows, grid.cols)

    def _of_frame(self, lr_HWC: U8, grid: PatchGrid) -> list[float]:
        grey_HW = lr_HWC.mean(axis=2)
        return [
            -self._detail(grey_HW[top : top + grid.patch_h, left : left + grid.patch_w])
            for top, left in grid.origins
        ]

    def _detail(self, grey_HW: np.ndarray) -> float:
        down, across = np.diff(grey_HW, axis=0), np.diff(grey_HW, axis=1)
        return float((np.abs(down) ** self.power).mean() + (np.abs(across) ** self.power).mean())
