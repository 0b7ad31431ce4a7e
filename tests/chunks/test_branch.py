"""Work divided as asked, one network at a time; and one network first, then chunks that are made anew."""

from functools import partial

import numpy as np
import pytest

from stdo.chunks.branch import Branching, Turns, apportion
from stdo.chunks.sample import Ratios, Sampler, Uniform
from stdo.core.types import UserError

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [30, 40, 20, 10]))
ANEW = np.random.default_rng(1).permutation(LABELS)
RATIOS = partial(Ratios, ratios=[1, 0.5, 0.25, 0])


def draws(sampler: Sampler) -> np.ndarray:
    return np.stack([sampler.batch(step) for step in range(sampler.steps)])


def turns(work: list[float] | None, passes: float = 5, labels: np.ndarray = LABELS) -> Turns:
    return Turns(labels, labels, batch=4, passes=passes, seed=3, work=work)


def branching(share: float = 0.5, passes: float = 5, first=RATIOS, then=Turns) -> Branching:
    return Branching(LABELS, LABELS, batch=4, passes=passes, seed=3, share=share, first=first, then=then)


@pytest.mark.parametrize("work", [[50, 25, 15, 10], [1, 1, 1, 1], [3, 0, 1, 0], None])
def test_each_network_has_its_share_of_the_steps_all_through_the_fit(work: list[float] | None) -> None:
    sampler = turns(work, passes=40)
    shown = draws(sampler)
    assert sampler.presentations == shown.size == 40 * len(LABELS)
    chunk_S = LABELS[shown[:, 0]]
    assert (LABELS[shown] == chunk_S[:, None]).all(), "a step is of one chunk"
    asked = np.array(work or [1, 1 / 2, 1 / 3, 1 / 4], float)
    for stretch in (chunk_S, chunk_S[: len(chunk_S) // 4], chunk_S[-len(chunk_S) // 4 :]):
        counts = np.bincount(stretch, minlength=4)
        np.testing.assert_allclose(counts, asked / asked.sum() * len(stretch), atol=1.5)
    assert sampler.facts["work"] == pytest.approx(asked / asked.sum(), abs=1e-3)


def test_each_network_sees_all_of_its_patches_equally_often() -> None:
    counts = np.bincount(draws(turns([4, 3, 2, 1], passes=40)).ravel(), minlength=len(LABELS))
    for chunk in range(4):
        mine = counts[chunk == LABELS]
        assert mine.max() - mine.min() <= 1


def test_work_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(UserError, match=r"^sampler.work=\[1.0, 2.0\]: must be 4 numbers, one for each chunk$"):
        turns([1, 2])


def test_chunks_that_no_network_learns_from_have_no_steps() -> None:
    learners = np.where(LABELS < 3, LABELS, -1)
    for work, shares in ((None, [1, 1 / 2, 1 / 3]), ([2, 1, 1, 50], [2, 1, 1])):
        sampler = Turns(LABELS, learners, batch=4, passes=40, seed=3, work=work)
        shown = LABELS[draws(sampler)]
        assert sampler.presentations == 40 * len(LABELS), "their steps are the others'"
        np.testing.assert_allclose(
            np.bincount(shown[:, 0], minlength=4)[:3] / len(shown), shares / np.sum(shares), atol=2e-3
        )
        assert shown.max() == 2
    with pytest.raises(UserError, match=r"^sampler.work=\[0.0, 0.0, 0.0, 1.0\]: leaves no work to any network$"):
        Turns(LABELS, learners, batch=4, passes=1, seed=3, work=[0, 0, 0, 1])


def test_work_of_chunks_that_share_a_network_adds_up() -> None:
    sampler = Turns(LABELS, np.minimum(LABELS, 1), batch=4, passes=40, seed=3, work=[1, 1, 1, 1])
    assert sampler.facts["work"] == pytest.approx([0.25, 0.75], abs=1e-3)


def test_steps_are_apportioned_exactly() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        total, shares = int(rng.integers(0, 500)), rng.random(int(rng.integers(1, 9))) + 1e-3
        counts = apportion(total, shares.tolist())
        assert sum(counts) == total
        assert np.abs(counts - total * shares / shares.sum()).max() < 1


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("passes", [0.5, 1, 5])
def test_the_work_of_both_parts_is_that_of_any_other_method(share: float, passes: float) -> None:
    sampler = branching(share, passes)
    sampler.branch(ANEW, ANEW)
    assert sampler.presentations == Uniform(LABELS, 0 * LABELS, batch=4, passes=passes, seed=0).presentations
    assert sampler.first.steps + sampler.then.steps == sampler.steps
    assert sampler.first.steps == pytest.approx(share * sampler.steps, abs=1)
    assert draws(sampler).size == sampler.presentations
    assert sum(sampler.chunk_presentations()) == sampler.presentations


def test_first_the_one_networks_patches_then_those_of_the_new_chunks() -> None:
    sampler = branching()
    alone = RATIOS(LABELS, 0 * LABELS, batch=4, passes=2.5, seed=3)
    early = np.stack([sampler.batch(step) for step in range(sampler.first.steps)])
    assert np.array_equal(early, draws(alone))
    with pytest.raises(AssertionError, match="not branched yet"):
        sampler.batch(sampler.first.steps)
    sampler.branch(ANEW, ANEW)
    late = draws(sampler)[sampler.first.steps :]
    assert np.array_equal(late, draws(turns(None, passes=4 * sampler.then.steps / len(LABELS), labels=ANEW)))
    assert sampler.facts == alone.facts | sampler.then.facts | {"branch_step": sampler.first.steps}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"then": Uniform}, "init=warm: needs a sampler that shows patches to one network at a time: sampler=turns"),
        ({"share": 0.99, "passes": 0.1}, r"budget.passes=0.1: must be at least 2.04 for this video with init=warm"),
        ({"then": partial(Turns, work=[1])}, r"sampler.work=\[1.0\]: must be 4 numbers"),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_step(changes: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        branching(**changes)
