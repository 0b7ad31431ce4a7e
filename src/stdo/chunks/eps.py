"""Patches chosen by histograms of their DCT features (EPS)."""

from dataclasses import dataclass

import numpy as np

from stdo.chunks.dct import Dct
from stdo.chunks.grid import PatchGrid
from stdo.chunks.split import Scores, check_chunks
from stdo.core.types import F32, F64, I16, I64, Pairs


@dataclass(frozen=True)
class Clusters(Dct):
    """How far a patch is from the clusters of the most spatial and the most temporal detail.

    Wei et al., "EPS: Efficient Patch Sampling for Video Overfitting in Deep Super-Resolution Model
    Training", https://arxiv.org/abs/2411.16312, the sampling of its method section.

        S ─► histogram of the frame's patches, N bins ─► cluster 0 … N-1 ─┐
                                                                          ├─ the less of both: score
        T ─► histogram of the frame's patches, N bins ─► cluster 0 … N-1 ─┘

    S and T are the spatial and the temporal feature, see `Dct`. The score counts the clusters above
    the less of both: 0 for a patch that is in the top cluster of S and of T, N - 1 for one that is
    in the lowest of either. `by_cluster` makes chunks of it, and `First` trains on chunk 0 alone.

    What the paper's text leaves open to us: bins are equally wide, from the least to the largest
    value of the frame, so that the number of patches follows the content; a patch must be in both
    top clusters. Where a feature is the same for all patches of a frame, all are in the top one.
    What differs: patches may overlap at the edge of a frame, as everywhere here, and T compares
    with the frame before of those that are trained on (`video.every`).

    Attributes:
        clusters: N, 1 or more.
    """

    clusters: int = 4

    def key(self) -> str:
        """The settings that matter here."""
        return f"eps-{self.frames}-b{self.block}-n{self.clusters}"

    def scores(self, frames: Pairs, grid: PatchGrid) -> F32:
        """Clusters above a patch's own, float32 (T, rows, cols), whole numbers from 0 to N - 1."""
        spatial, temporal = (clusters(each, self.clusters) for each in self.features(frames, grid))
        return (self.clusters - 1 - np.minimum(spatial, temporal)).astype(np.float32)


def clusters(feature_TRC: F64, count: int) -> I64:
    """The bin of each patch in its frame's histogram.

    Args:
        feature_TRC: A feature of every patch, finite.
        count: How many bins of equal width.

    Returns:
        int64 of the same shape, 0 to count - 1; a value between two bins is in the higher one.

    >>> clusters(np.array([[[0.0, 1.0, 5.0, 9.9, 10.0]]]), 2).tolist()
    [[[0, 0, 1, 1, 1]]]
    """
    low_T11, high_T11 = (
        limit(feature_TRC, axis=(1, 2), keepdims=True) for limit in (np.min, np.max)
    )
    width_T11 = high_T11 - low_T11
    even = width_T11 == 0
    place_TRC = (feature_TRC - low_T11) / np.where(even, 1, width_T11)
    bins_TRC = np.minimum((place_TRC * count).astype(np.int64), count - 1)
    return np.where(even, count - 1, bins_TRC)


def by_cluster(scores: Scores, chunks: int) -> I16:
    """Chunks of equal score, that of the least score first.

    Args:
        scores: Whole numbers from 0, as `Clusters` makes them.
        chunks: Largest number of chunks; greater scores join the last one.

    Returns:
        int16 labels of the same shape. A score that no patch has makes no chunk.

    Raises:
        UserError: ``chunks`` is no number from 1 on, or more than there are patches.
    """
    check_chunks(chunks, np.size(scores), "patches")
    _, labels = np.unique(np.minimum(scores, chunks - 1), return_inverse=True)
    return labels.reshape(np.shape(scores)).astype(np.int16)
