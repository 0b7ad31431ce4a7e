"""Work divided as asked, one network at a time."""

import numpy as np
import pytest

from stdo.chunks.sample import Sampler
from stdo.chunks.turns import Turns, apportion
from stdo.core.types import UserError

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [30, 40, 20, 10]))


def draws(sampler: Sampler) -> np.ndarray:
    return np.stack([sampler.batch(step) for step in range(sampler.steps)])


def turns(work: list[float] | None, passes: float = 5, labels: np.ndarray = LABELS) -> Turns:
    return Turns(labels, labels, batch=4, passes=passes, seed=3, step_shares=work)


@pytest.mark.parametrize("work", [[50, 25, 15, 10], [1, 1, 1, 1], [3, 0, 1, 0], None])
def test_each_network_has_its_share_of_the_steps_all_through_the_fit(
    work: list[float] | None,
) -> None:
    sampler = turns(work, passes=40)
    shown = draws(sampler)
    assert sampler.presentations == shown.size == 40 * len(LABELS)
    chunk_S = LABELS[shown[:, 0]]
    assert (LABELS[shown] == chunk_S[:, None]).all(), "a step is of one chunk"
    asked = np.array(work or [1, 1 / 2, 1 / 3, 1 / 4], float)
    for stretch in (chunk_S, chunk_S[: len(chunk_S) // 4], chunk_S[-len(chunk_S) // 4 :]):
        counts = np.bincount(stretch, minlength=4)
        np.testing.assert_allclose(counts, asked / asked.sum() * len(stretch), atol=1.5)
    assert sampler.facts["step_shares"] == pytest.approx(asked / asked.sum(), abs=1e-3)


def test_each_network_sees_all_of_its_patches_equally_often() -> None:
    counts = np.bincount(draws(turns([4, 3, 2, 1], passes=40)).ravel(), minlength=len(LABELS))
    for chunk in range(4):
        mine = counts[chunk == LABELS]
        assert mine.max() - mine.min() <= 1


def test_work_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(
        UserError,
        match=r"^sampler.step_shares=\[1.0, 2.0\]: must be 4 numbers, one for each chunk$",
    ):
        turns([1, 2])


def test_chunks_that_no_network_learns_from_have_no_steps() -> None:
    learners = np.where(LABELS < 3, LABELS, -1)
    for work, shares in ((None, [1, 1 / 2, 1 / 3]), ([2, 1, 1, 50], [2, 1, 1])):
        sampler = Turns(LABELS, learners, batch=4, passes=40, seed=3, step_shares=work)
        shown = LABELS[draws(sampler)]
        assert sampler.presentations == 40 * len(LABELS), "their steps are the others'"
        np.testing.assert_allclose(
            np.bincount(shown[:, 0], minlength=4)[:3] / len(shown),
            shares / np.sum(shares),
            atol=2e-3,
        )
        assert shown.max() == 2
    with pytest.raises(
        UserError,
        match=r"^sampler.step_shares=\[0.0, 0.0, 0.0, 1.0\]: leaves no work to any network$",
    ):
        Turns(LABELS, learners, batch=4, passes=1, seed=3, step_shares=[0, 0, 0, 1])


def test_work_of_chunks_that_share_a_network_adds_up() -> None:
    sampler = Turns(
        LABELS, np.minimum(LABELS, 1), batch=4, passes=40, seed=3, step_shares=[1, 1, 1, 1]
    )
    assert sampler.facts["step_shares"] == pytest.approx([0.25, 0.75], abs=1e-3)


def test_steps_are_apportioned_exactly() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        total, shares = int(rng.integers(0, 500)), rng.random(int(rng.integers(1, 9))) + 1e-3
        counts = apportion(total, shares.tolist())
        assert sum(counts) == total
        assert np.abs(counts - total * shares / shares.sum()).max() < 1
