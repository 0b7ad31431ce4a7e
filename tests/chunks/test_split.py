"""Labels: sizes, order, ties, and what is refused."""

import numpy as np
import pytest

from stdo.chunks.split import by_score, by_time, whole
from stdo.core.types import UserError

SHAPES = [(7,), (5, 4), (6, 3, 4), (2, 3, 2, 2)]


@pytest.mark.parametrize("chunks", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["distinct", "ties", "equal", "infinite"])
def test_score_chunks_are_equal_sized_and_ascending(
    shape: tuple[int, ...], chunks: int, kind: str
) -> None:
    scores = np.random.default_rng(0).normal(35, 5, shape).astype(np.float32)
    if kind == "ties":
        scores = scores.round(-1)
    if kind == "equal":
        scores[:] = 40
    if kind == "infinite":
        scores.flat[::3] = np.inf
    before = scores.copy()
    labels = by_score(scores, chunks)
    assert labels.dtype == np.int16
    assert labels.shape == shape
    sizes = np.bincount(labels.ravel(), minlength=chunks)
    assert len(sizes) == chunks
    assert sizes.max() - sizes.min() <= 1
    for chunk in range(chunks - 1):
        assert scores[labels == chunk].max() <= scores[labels == chunk + 1].min()
    assert np.array_equal(scores, before)


def test_ties_keep_their_order() -> None:
    assert by_score(np.full((2, 3), 30.0), 3).tolist() == [[0, 0, 1], [1, 2, 2]]
    assert by_score(np.array([50.0, 30.0, 30.0, 20.0]), 4).tolist() == [3, 1, 2, 0]


@pytest.mark.parametrize("frames", [4, 5, 9])
def test_time_chunks_are_equal_segments(frames: int) -> None:
    labels = by_time(np.zeros((frames, 2, 3), np.float32), 4)
    assert labels.dtype == np.int16
    assert (labels == labels[:, :1, :1]).all()
    line = labels[:, 0, 0]
    assert (np.diff(line) >= 0).all()
    sizes = np.bincount(line, minlength=4)
    assert sizes.max() - sizes.min() <= 1
    assert sizes.min() > 0


def test_whole_is_one_chunk() -> None:
    assert not whole(np.zeros((2, 2)), 1).any()
    with pytest.raises(UserError, match="chunks=3"):
        whole(np.zeros((2, 2)), 3)


@pytest.mark.parametrize("split", [by_score, by_time])
@pytest.mark.parametrize("chunks", [0, -1, 1.5, True, 40000, "two"])
def test_impossible_counts_are_refused(split, chunks) -> None:
    with pytest.raises(UserError, match=f"chunks={chunks}"):
        split(np.zeros((3, 1, 1), np.float32), chunks)


def test_more_chunks_than_there_is_to_split() -> None:
    with pytest.raises(UserError, match="only 12 patches"):
        by_score(np.zeros((3, 2, 2)), 13)
    with pytest.raises(UserError, match="only 3 frames"):
        by_time(np.zeros((3, 2, 2)), 4)


def test_nan_scores_are_refused() -> None:
    with pytest.raises(UserError, match="1 NaN"):
        by_score(np.array([1.0, np.nan]), 2)
