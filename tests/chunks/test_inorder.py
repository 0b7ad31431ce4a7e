"""The sampler that goes through chunks in order: each chunk's patches in its own steps, nothing of
a later chunk earlier, equal work."""

from itertools import pairwise

import numpy as np
import pytest

from stdo.chunks.inorder import InOrder
from stdo.chunks.sample import Uniform
from stdo.core.types import UserError

LABELS = np.repeat(np.arange(4), (12, 9, 15, 12))
BUDGET = {"batch": 4, "passes": 5.0, "seed": 3}


def in_order(**settings) -> InOrder:
    return InOrder(LABELS, 0 * LABELS, **(BUDGET | settings))


def test_each_chunk_has_its_own_steps_and_as_many_as_it_has_patches() -> None:
    sampler, plain = in_order(), Uniform(LABELS, 0 * LABELS, **BUDGET)
    assert sampler.presentations == plain.presentations == 240
    shown = [set(LABELS[sampler.batch(step)]) for step in range(sampler.steps)]
    assert all(len(chunks) == 1 for chunks in shown)
    order = [chunks.pop() for chunks in shown]
    assert order == sorted(order) and [order.count(c) for c in range(4)] == sampler.network_steps
    assert sampler.network_steps == pytest.approx(60 * np.array([12, 9, 15, 12]) / 48, abs=1)
    assert sampler.chunk_presentations() == [4 * steps for steps in sampler.network_steps]


def test_every_patch_is_shown_equally_often_and_in_a_new_order() -> None:
    sampler = in_order()
    patches = np.concatenate([sampler.batch(step) for step in range(sampler.steps)])
    counts = np.bincount(patches, minlength=48)
    assert counts.min() >= 4 and counts.max() <= 6
    first = patches[LABELS[patches] == 0]
    assert sorted(first[:12]) == sorted(first[12:24]) == list(range(12))
    assert list(first[:12]) != list(first[12:24])
    other = np.concatenate([in_order(seed=4).batch(step) for step in range(3)])
    assert list(other) != list(first[:12])


def test_a_live_network_sees_only_what_was_before_its_chunk_and_mostly_the_newest() -> None:
    sampler = in_order(behind=1, passes=40.0)
    assert sampler.network_steps[0] == 0 and sum(sampler.network_steps) == sampler.steps
    starts = np.cumsum([0, *sampler.network_steps])
    for chunk, (first, end) in enumerate(pairwise(starts)):
        seen = [LABELS[sampler.batch(step)] for step in range(first, end)]
        if chunk:
            labels = np.concatenate(seen)
            assert labels.max() == chunk - 1, "nothing of its own chunk or a later one"
            share = (labels == chunk - 1).mean()
            assert share == pytest.approx(1.0 if chunk == 1 else 0.5, abs=0.12)


def test_phases_are_all_steps_in_order_and_trials_are_the_first_of_each() -> None:
    sampler = in_order(trial=0.25)
    stretches = sampler.stretches()
    assert [(chunk, trial) for chunk, trial, _ in stretches] == [
        (0, False), (1, True), (1, False), (2, True), (2, False), (3, True), (3, False),
    ]  # fmt: skip
    batches = [each.batch(step) for _, _, each in stretches for step in range(each.steps)]
    for step, batch in enumerate(batches):
        assert np.array_equal(batch, sampler.batch(step))
    assert len(batches) == sampler.steps
    for chunk, trial, each in stretches[1:]:
        share = 0.25 if trial else 0.75
        assert each.steps == pytest.approx(share * sampler.network_steps[chunk], abs=1)


def test_chosen_patches_alone_are_shown_of_their_chunk() -> None:
    sampler = in_order()
    before = [sampler.batch(step) for step in range(sampler.steps)]
    sampler.choose(1, np.array([13, 17, 20]))
    for step, batch in enumerate(before):
        now = sampler.batch(step)
        if LABELS[batch[0]] == 1:
            assert set(now) <= {13, 17, 20}
        else:
            assert np.array_equal(now, batch)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"step_shares": [1, 1]}, r"sampler.step_shares=\[1, 1\]: must be 4 numbers"),
        ({"step_shares": [1, 0, 1, 1]}, "must be more than 0 for each chunk"),
        ({"behind": 2}, "sampler.behind=2: must be 0, or 1"),
        ({"passes": 0.2}, "budget.passes=0.2: must be about .* or more for this video"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, said) -> None:
    with pytest.raises(UserError, match=said):
        in_order(**settings)


def test_the_number_of_passes_that_is_named_is_enough() -> None:
    with pytest.raises(UserError) as error:
        in_order(passes=0.1, trial=0.2)
    named = float(str(error.value).split("about ")[1].split(" ")[0])
    assert min(in_order(passes=named, trial=0.2).network_steps) >= 2
