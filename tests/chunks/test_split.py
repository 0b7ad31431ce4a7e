"""Labels: sizes, order, ties, and what is refused."""

import numpy as np
import pytest

from stdo.chunks.split import by_score, by_time, even_scores, whole
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


def test_thresholds_are_the_lower_ends_of_chunks() -> None:
    scores = np.array([[31.0, 23.9], [24.0, 26.99], [27.0, 99.0]])
    assert by_score(scores, 4, [24, 27, 31]).tolist() == [[3, 0], [1, 1], [2, 3]]
    assert by_score(scores, 2, [27]).tolist() == [[1, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("chunks", "thresholds", "said"),
    [
        (3, [24, 27, 31], r"thresholds=\[24, 27, 31\]: must be 2 numbers, one fewer than chunks=3"),
        (4, [24, 31, 27], r"thresholds=\[24, 31, 27\]: must rise"),
        (3, [24, 24], "must rise"),
        (3, [24, 40], "leave chunk 2 without patches; they score from 20.00 to 39.00 dB"),
        (3, [10, 30], "leave chunk 0 without patches"),
    ],
)
def test_thresholds_that_make_no_chunks_are_refused(
    chunks: int, thresholds: list[float], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        by_score(np.arange(20.0, 40.0), chunks, thresholds)


@pytest.mark.parametrize("count", [4, 7, 100])
@pytest.mark.parametrize("thresholds", [None, [24, 27, 31], [0.1, 0.2, 50]])
def test_made_up_scores_fill_every_chunk_alike(count: int, thresholds: list[float] | None) -> None:
    sizes = np.bincount(by_score(even_scores(count, thresholds), 4, thresholds), minlength=4)
    assert sizes.max() - sizes.min() <= 1


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
