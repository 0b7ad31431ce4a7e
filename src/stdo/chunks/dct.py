"""Scores of patches by their DCT features: no super-resolution pass is needed.

The features are those by which EPS chooses patches (Wei et al., "EPS: Efficient Patch Sampling for
Video Overfitting in Deep Super-Resolution Model Training", arXiv 2411.16312, the DCT-based spatial
and temporal feature of its method section). They stem from the Video Complexity Analyzer (Menon et
al., "VCA", MMSys 2022: texture energy E and its gradient h).
"""

from dataclasses import dataclass, replace

import numpy as np

from stdo.chunks.grid import PatchGrid
from stdo.chunks.score import psnr
from stdo.core.types import F32, F64, U8, Pairs, UserError

FRAMES = ("hr", "lr")
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""BT.601, full range."""


def dct_matrix(size: int) -> F32:
    """The orthonormal DCT-II of ``size`` samples, float32 (size, size), one frequency a row: ``D @
    x @ D.T`` in 2D.

    >>> dct_matrix(2).round(3).tolist()
    [[0.7070000171661377, 0.7070000171661377], [0.7070000171661377, -0.7070000171661377]]
    """
    frequency, sample = np.ogrid[:size, :size]
    matrix = np.sqrt(2 / size) * np.cos(np.pi * frequency * (2 * sample + 1) / (2 * size))
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix, np.float32)


def frequency_weights(size: int) -> F32:
    """Weight of each coefficient, float32 (size, size): ``exp((i·j / size²)² − 1)``, i and j from
    1; 0 for the mean.

    They grow from 1/e to 1 towards the high frequencies, as in VCA's software. In print the
    exponent stands between bars, ``|(i·j / size²)² − 1|``, and would fall instead, from e to 1; on
    real clips both rank patches almost alike.
    """
    number = np.arange(1, size + 1)
    weights = np.exp((np.outer(number, number) / size**2) ** 2 - 1)
    weights[0, 0] = 0
    return weights.astype(np.float32)


class BlockDct:
    """The transform of every patch of a frame, in square blocks.

    Args:
        grid: Patches of the frame.
        block: Side of a block in pixels, at most the patch's shorter side. Blocks begin in the
            patch's corner; the last ones are shifted inwards, as the grid does with patches, so
            that every pixel counts.
    """

    def __init__(self, grid: PatchGrid, block: int) -> None:
        block = min(block, grid.patch_h, grid.patch_w)
        within = PatchGrid(grid.patch_h, grid.patch_w, block, block)
        pixel = np.arange(block)
        self._rows = (grid.tops[:, None, None] + within.tops[:, None] + pixel).ravel()
        self._cols = (grid.lefts[:, None, None] + within.lefts[:, None] + pixel).ravel()
        self._matrix = dct_matrix(block)
        self._weights = frequency_weights(block) / np.float32(block**2)
        self._shape = grid.rows, within.rows, grid.cols, within.cols

    def coefficients(self, luma_HW: F32) -> F32:
        """Coefficients of all blocks side by side, float32 (block rows · block, block columns ·
        block)."""
        size = len(self._matrix)
        blocks: F32 = luma_HW[self._rows].take(self._cols, axis=1)
        down = self._matrix @ blocks.reshape(-1, size, blocks.shape[1])
        across: F32 = np.matmul(down.reshape(-1, size), self._matrix.T)
        return across.reshape(blocks.shape)

    def energy(self, coefficients: F32) -> F32:
        """Weighted sum of the absolute coefficients over the block's area, mean over a patch's
        blocks: (rows, cols)."""
        size = len(self._matrix)
        rows, block_rows, cols, block_cols = self._shape
        split = np.abs(coefficients).reshape(rows * block_rows, size, cols * block_cols, size)
        energy = np.einsum("rick,ik->rc", split, self._weights)
        return np.asarray(energy.reshape(self._shape).mean(axis=(1, 3)), np.float32)


@dataclass(frozen=True)
class Dct:
    """Scores from a spatial feature S and a temporal feature T of each patch; a busy or changing
    patch comes first.

        S = mean over the patch's blocks of  Σ w(i,j)·|C_t(i,j)| / block²
        T = the same of                      Σ w(i,j)·|C_t(i,j) − C_{t−1}(i,j)| / block²
        score = 20·log10(255 / (S + temporal·T)), capped at `stdo.chunks.score.PSNR_CAP`

    with the block's orthonormal DCT C of the luma and the `frequency_weights` w. The score is on
    PSNR's scale, but it is **dB of feature energy, not PSNR**: it compares with other scores by its
    order alone.

    Attributes:
        frames: Where features are taken, ``hr`` or ``lr``.
        block: Side of a block in pixels of those frames, 32 in VCA.
        temporal: Weight of T, 0 or more.

    Where this differs from the published: EPS clusters the histograms of S and T apart, frame by
    frame, and trains on the top clusters; a scorer has to answer one number, so the two are added,
    with equal standing by default, and compared over the whole video. T compares coefficients as
    EPS does, where VCA compares the energies of blocks. The first frame has no frame before it and
    takes the T of the second.
    """

    frames: str = "hr"
    block: int = 32
    temporal: float = 1.0

    def __post_init__(self) -> None:
        if self.frames not in FRAMES:
            raise UserError(f"scorer.frames={self.frames}: must be one of {', '.join(FRAMES)}")
        if isinstance(self.block, bool) or not isinstance(self.block, int) or self.block < 2:
            raise UserError(f"scorer.block={self.block}: must be a whole number, 2 or more")
        number = isinstance(self.temporal, int | float) and not isinstance(self.temporal, bool)
        if not number or not 0 <= self.temporal < float("inf"):
            raise UserError(f"scorer.temporal={self.temporal}: must be a number, 0 or more")

    def key(self) -> str:
        """All three settings."""
        return f"dct-{self.frames}-b{self.block}-t{float(self.temporal)}"

    def scores(self, frames: Pairs, grid: PatchGrid) -> F32:
        """Scores of a whole video in dB, float32 (T, rows, cols); holds the coefficients of two
        frames."""
        spatial, temporal = self.features(frames, grid)
        return psnr(np.square(spatial + self.temporal * temporal)).astype(np.float32)

    def features(self, frames: Pairs, grid: PatchGrid) -> tuple[F64, F64]:
        """S and T of every patch, float64 (T, rows, cols) each, in 8-bit levels of amplitude."""
        hr = self.frames == "hr"
        blocks = BlockDct(grid.hr if hr else replace(grid, halo=0), self.block)
        spatial, temporal, before = [], [np.zeros((grid.rows, grid.cols), np.float32)], None
        for pair in frames:
            now = blocks.coefficients(_luma(pair[hr]))
            spatial.append(blocks.energy(now))
            if before is not None:
                temporal.append(blocks.energy(np.subtract(now, before, out=before)))
            before = now
        temporal[0] = temporal[min(1, len(temporal) - 1)]
        return np.stack(spatial).astype(np.float64), np.stack(temporal).astype(np.float64)


def _luma(rgb_HWC: U8) -> F32:
    luma: F32 = rgb_HWC.astype(np.float32) @ LUMA
    return luma
