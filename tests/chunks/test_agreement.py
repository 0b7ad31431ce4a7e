"""Agreement of two scorers, on examples that can be counted by hand."""

import numpy as np
import pytest

from stdo.chunks.agreement import agreement, spearman
from stdo.chunks.split import by_score
from stdo.core.types import UserError

A = np.array([[[0, 0, 1, 1], [2, 2, 3, 3]]], np.int16)
B = np.array([[[0, 1, 1, 3], [2, 0, 2, 3]]], np.int16)


def test_two_labellings_by_hand() -> None:
    found = agreement(A, B, 4)
    assert found.same == 4 / 8
    assert found.within_one == 6 / 8
    assert found.confusion.tolist() == [[1, 1, 0, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 0, 1, 1]]
    assert agreement(B, A, 4).confusion.tolist() == found.confusion.T.tolist()


def test_the_same_labels_agree_wholly() -> None:
    found = agreement(A, A, 4)
    assert (found.same, found.within_one) == (1, 1)
    assert np.array_equal(found.confusion, np.diag([2, 2, 2, 2]))
    assert agreement(A, A, 6).confusion.shape == (6, 6), "chunks that nothing is in count as well"


def test_chance_agrees_on_one_in_k() -> None:
    rng = np.random.default_rng(0)
    labels = [by_score(rng.normal(size=(40, 20, 20)), 4) for _ in range(2)]
    assert agreement(*labels, 4).same == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    ("a", "b", "rank"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1),
        ([1, 2, 3, 4], [1, 8, 27, 1e9], 1),  # order is all that counts
        ([1, 2, 3, 4], [4, 3, 2, 1], -1),
        # The tie shares rank 3.5: 8 / sqrt(10 * 9.5)
        ([1, 2, 3, 4, 5], [5, 6, 7, 8, 7], 0.8207826816681233),
        (
            [86, 97, 99, 100, 101, 103, 106, 110, 112, 113],
            [2, 20, 28, 27, 50, 29, 7, 17, 6, 12],
            -29 / 165,
        ),
    ],
)
def test_spearman_by_hand(a: list, b: list, rank: float) -> None:
    assert spearman(np.array(a, float), np.array(b, float)) == pytest.approx(rank)
    assert spearman(np.reshape(b, (1, -1)), np.reshape(a, (1, -1))) == pytest.approx(rank)


def test_a_constant_ranks_nothing() -> None:
    assert np.isnan(spearman(np.ones(4), np.arange(4.0)))


def test_other_patches_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"patches \(1, 2, 4\) and \(8,\): must be those of one video"
    ):
        agreement(A, B.ravel(), 4)
    with pytest.raises(UserError, match="must be those of one video"):
        spearman(np.ones(3), np.ones(4))
    with pytest.raises(UserError, match="labels 0 to 3: must be 0 to 2, as chunks=3"):
        agreement(A, B, 3)
