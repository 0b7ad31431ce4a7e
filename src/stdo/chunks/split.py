"""Chunks of patches: labels from scores.

A label is the number of a chunk, int16, from 0 to ``chunks - 1``. `by_score` and `by_time` are
public and stable.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stdo.core.types import I16, UserError

MAX_CHUNKS = np.iinfo(np.int16).max

Scores = npt.NDArray[np.floating]
Split = Callable[[Scores, int], I16]


def whole(scores: Scores, chunks: int = 1) -> I16:
    """Everything is one chunk (awDNN). ``chunks`` must be 1."""
    if chunks != 1:
        raise UserError(f"chunks={chunks}: chunking=whole makes one chunk")
    return np.zeros(np.shape(scores), np.int16)


def by_time(scores: Scores, chunks: int) -> I16:
    """Equal segments of the time line (NAS, CaFM).

    Args:
        scores: Float array whose first axis is time; only its shape is used.

    Returns:
        int16 labels of the same shape, ascending in time; segments differ by at most one frame.

    Raises:
        UserError: When there are more chunks than frames.
    """
    frames = np.shape(scores)[0] if np.ndim(scores) else 0
    check_chunks(chunks, frames, "frames")
    labels = (np.arange(frames) * chunks // frames).astype(np.int16)
    return np.broadcast_to(
        labels.reshape(-1, *[1] * (np.ndim(scores) - 1)), np.shape(scores)
    ).copy()


class EmptyChunkError(UserError):
    """Thresholds leave a chunk without patches."""


def by_score(scores: Scores, chunks: int, thresholds: Sequence[float] | None = None) -> I16:
    """Groups of similar PSNR, hardest first (STDO, the paper's Eq. 1).

    Args:
        scores: Float array of any shape, PSNR in dB.
        chunks: How many groups.
        thresholds: λ, rising, one fewer than chunks, in dB: chunk i has the patches from threshold
            i - 1 on and below threshold i. None: so that the groups are equally large.

    Returns:
        int16 labels of the same shape: 0 = lowest PSNR = most informative. Without thresholds sizes
        are equal to within one whatever the ties; tied patches keep their order in the array.

    Raises:
        UserError: For NaN, for more chunks than patches, for thresholds that do not rise or are of
            another number.
        EmptyChunkError: They leave a chunk without patches.
    """
    flat = np.asarray(scores).ravel()
    check_chunks(chunks, flat.size, "patches")
    if np.isnan(flat).any():
        raise UserError(
            f"scores hold {int(np.isnan(flat).sum())} NaN: every patch needs a finite or "
            "infinite score"
        )
    if thresholds is not None:
        return _between(flat, chunks, thresholds).reshape(np.shape(scores))
    labels = np.empty(flat.size, np.int16)
    labels[np.argsort(flat, kind="stable")] = np.arange(flat.size) * chunks // flat.size
    return labels.reshape(np.shape(scores))


def by_sizes(scores: Scores, sizes: Sequence[int]) -> I16:
    """Groups of similar PSNR of these sizes, hardest first.

    Args:
        scores: Float array of any shape, PSNR in dB.
        sizes: Patches of each group; together all.

    Returns:
        int16 labels of the same shape; tied patches keep their order in the array.

    >>> by_sizes(np.array([24.0, 31.0, 20.0, 22.0]), [1, 3]).tolist()
    [1, 1, 0, 1]
    """
    flat = np.asarray(scores).ravel()
    labels = np.empty(flat.size, np.int16)
    labels[np.argsort(flat, kind="stable")] = np.repeat(np.arange(len(sizes)), sizes)
    return labels.reshape(np.shape(scores))


def check_thresholds(thresholds: Sequence[float], chunks: int) -> None:
    """Raise UserError unless thresholds rise and are one fewer than chunks."""
    asked = f"chunking.thresholds={list(thresholds)}"
    if len(thresholds) != chunks - 1:
        raise UserError(f"{asked}: must be {chunks - 1} numbers, one fewer than chunks={chunks}")
    if any(low >= high for low, high in pairwise(thresholds)):
        raise UserError(f"{asked}: must rise, from the hardest chunk to the easiest")


def even_scores(count: int, thresholds: Sequence[float] | None) -> Scores:
    """Made-up rising scores of so many patches, (count,), which thresholds split evenly."""
    if not thresholds:
        return np.arange(count, dtype=np.float32)
    ends = [thresholds[0] - 1, *thresholds, thresholds[-1] + 1]
    at = np.ceil(np.linspace(0, count, len(ends)))
    return np.asarray(np.interp(np.arange(count), at, ends))


def _between(flat: Scores, chunks: int, thresholds: Sequence[float]) -> I16:
    check_thresholds(thresholds, chunks)
    labels = np.searchsorted(np.asarray(thresholds, float), flat, side="right").astype(np.int16)
    empty = np.flatnonzero(np.bincount(labels, minlength=chunks) == 0)
    if empty.size:
        raise EmptyChunkError(
            f"chunking.thresholds={list(thresholds)}: leave chunk {empty[0]} without patches; they "
            f"score from {flat.min():.2f} to {flat.max():.2f} dB"
        )
    return labels


def check_chunks(chunks: int, available: int, unit: str) -> None:
    """Raise UserError for a number of chunks that none, or not so many frames or patches, make."""
    if (
        isinstance(chunks, bool)
        or not isinstance(chunks, int | np.integer)
        or not 1 <= chunks <= MAX_CHUNKS
    ):
        raise UserError(f"chunks={chunks}: must be a whole number from 1 to {MAX_CHUNKS}")
    if chunks > available:
        raise UserError(f"chunks={chunks}: the video has only {available} {unit}")
