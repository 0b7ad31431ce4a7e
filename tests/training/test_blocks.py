"""Blocks of steps: every step once, in order, cut where the fit has to look up."""

import itertools

import numpy as np
import pytest

from stdo.chunks.sample import Uniform
from stdo.training.blocks import LONGEST, WATCH_EVERY, Blocks, is_watched


def sampler(steps: int, shown: int) -> Uniform:
    """Shows as many patches a step as there are."""
    zeros = np.zeros(shown, np.int64)
    made = Uniform(zeros, zeros, batch=shown, passes=steps, seed=0)
    assert (made.steps, made.shown) == (steps, shown)
    return made


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 57])
@pytest.mark.parametrize("shown", [1, 4, 12, 64, 65, 1000])
def test_blocks_are_all_steps_cut_where_the_fit_looks_up(steps: int, shown: int) -> None:
    blocks = list(Blocks(sampler(steps, shown), 0))
    assert list(itertools.chain(*blocks)) == list(range(steps))
    for block in blocks:
        assert len(block) == 1 or len(block) * shown <= LONGEST
        assert not any(is_watched(step, steps) for step in block[:-1])
    for one, other in itertools.pairwise(blocks):  # none could be longer
        reasons = (is_watched(one[-1], steps), (len(one) + 1) * shown > LONGEST)
        assert any(reasons), (one, other)


def test_a_resumed_fit_has_the_same_blocks_from_there() -> None:
    whole = Blocks(sampler(57, 12), 0)
    for done, block in enumerate(whole):
        rest = Blocks(sampler(57, 12), block[0], done=done)
        assert list(rest) == list(whole)[done:]
        assert len(rest) == len(whole) == len(list(whole))


def test_a_fit_that_resumes_with_other_blocks_has_those_done_and_those_left() -> None:
    rest = Blocks(sampler(57, 12), 40, done=40)  # one step each before, five at most from here
    assert len(rest) == 40 + len(list(rest)) < 57
    assert list(itertools.chain(*rest)) == list(range(40, 57))


def test_the_curve_has_the_first_the_last_and_every_tenth_step() -> None:
    assert [step for step in range(25) if is_watched(step, 25)] == [0, 9, 19, 24]
    assert WATCH_EVERY == 10
