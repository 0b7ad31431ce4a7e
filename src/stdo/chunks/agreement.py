"""Agreement of two scorers on the patches of one video."""

from dataclasses import dataclass

import numpy as np

from stdo.chunks.split import Scores
from stdo.core.types import F64, I16, I64, UserError


@dataclass(frozen=True)
class Agreement:
    """What two chunkings of the same patches have in common.

    Attributes:
        same: Share of the patches that are in the same chunk.
        within_one: Share that are at most one chunk apart.
        confusion: Number of patches by chunk in the first (rows) and in the second (columns),
            (chunks, chunks).
    """

    same: float
    within_one: float
    confusion: I64


def agreement(labels_a: I16, labels_b: I16, chunks: int) -> Agreement:
    """Compare two labellings of the same patches. Equal-sized chunks drawn by lot agree on 1 /
    chunks of them.

    Args:
        labels_a: int16 of one shape, 0..chunks − 1.
        labels_b: int16 of one shape, 0..chunks − 1.

    Raises:
        UserError: For other shapes or labels.

    >>> agreement(np.int16([0, 0, 1, 2]), np.int16([0, 1, 1, 0]), 3).same
    0.5
    """
    _check(labels_a, labels_b)
    a, b = (np.asarray(labels).ravel().astype(np.int64) for labels in (labels_a, labels_b))
    for labels in (a, b):
        if labels.min() < 0 or labels.max() >= chunks:
            raise UserError(
                f"labels {labels.min()} to {labels.max()}: must be 0 to {chunks - 1}, as "
                f"chunks={chunks}"
            )
    confusion: I64 = np.bincount(a * chunks + b, minlength=chunks**2).reshape(chunks, chunks)
    distance = np.abs(a - b)
    return Agreement(float((distance == 0).mean()), float((distance <= 1).mean()), confusion)


def spearman(scores_a: Scores, scores_b: Scores) -> float:
    """Rank correlation of two scorings of the same patches, −1 to 1; tied scores share the mean of
    their ranks.

    Arrays of one shape. NaN where either is constant, since it ranks nothing. Raises UserError for
    different shapes.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0]))
    0.5
    """
    _check(scores_a, scores_b)
    a, b = (ranks - ranks.mean() for ranks in (_ranks(scores_a), _ranks(scores_b)))
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm else float("nan")


def _check(a: Scores | I16, b: Scores | I16) -> None:
    if np.shape(a) != np.shape(b) or not np.size(a):
        raise UserError(
            f"patches {np.shape(a)} and {np.shape(b)}: must be those of one video, cut alike"
        )


def _ranks(scores: Scores) -> F64:
    _, inverse, counts = np.unique(
        np.asarray(scores).ravel(), return_inverse=True, return_counts=True
    )
    ranks: F64 = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks
