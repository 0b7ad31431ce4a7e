"""The protocol of STDO's published code."""

from dataclasses import dataclass, field

from stdo.chunks.score import squared_error
from stdo.core.types import U8
from stdo.metrics.base import Metric, Pair, Pool


def shave(images: U8, border: int) -> U8:
    """The images without ``border`` pixels on each side, as a view; empty where nothing is left.

    Shapes: (…, H, W, 3) -> (…, max(H − 2·border, 0), max(W − 2·border, 0), 3).

    >>> import numpy as np
    >>> shave(np.zeros((9, 8, 3), np.uint8), 3).shape, shave(np.zeros((9, 5, 3), np.uint8), 3).shape
    ((3, 2, 3), (3, 0, 3))
    """
    assert border > 0, border
    return images[..., border:-border, border:-border, :]


@dataclass
class StdoPatch(Metric):
    """PSNR of the inside of all patches: ``scale + 4`` pixels are shaved off each side."""

    label = "STDO patch"
    help = "as the authors of STDO measure: the inside of all patches"
    rank = 2
    protocol = True
    grid = True

    _pool: Pool = field(default_factory=Pool, init=False)

    def add(self, pair: Pair) -> None:
        """Take in the next frame."""
        assert pair.patches is not None
        border = pair.patches.grid.scale + 4
        inside = (shave(patches, border) for patches in (pair.patches.hr, pair.patches.sr))
        self._pool.add(squared_error(*inside))

    def value(self) -> float | None:
        """PSNR in dB; None where nothing is left of the patches."""
        return self._pool.psnr()
