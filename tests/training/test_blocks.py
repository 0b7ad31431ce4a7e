"""Blocks of steps: every step once, in order, cut where the fit has to look up."""

import itertools

import pytest

from stdo.training.blocks import LONGEST, WATCH_EVERY, Blocks, is_watched


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 57])
@pytest.mark.parametrize("shown", [1, 4, 12, 64, 65, 1000])
@pytest.mark.parametrize("pause", [None, 1, 7, 10, 30])
def test_blocks_are_all_steps_cut_where_the_fit_looks_up(steps: int, shown: int, pause: int | None) -> None:
    blocks = list(Blocks(steps, 0, shown, pause))
    assert list(itertools.chain(*blocks)) == list(range(steps))
    for block in blocks:
        assert len(block) == 1 or len(block) * shown <= LONGEST
        assert not any(is_watched(step, steps) for step in block[:-1])
        assert pause not in block[1:]
    for one, other in itertools.pairwise(blocks):  # none could be longer
        reasons = (is_watched(one[-1], steps), other[0] == pause, (len(one) + 1) * shown > LONGEST)
        assert any(reasons), (one, other)


def test_a_resumed_fit_has_the_same_blocks_from_there() -> None:
    whole = Blocks(57, 0, 12, 30)
    for done, block in enumerate(whole):
        rest = Blocks(57, block[0], 12, 30)
        assert list(rest) == list(whole)[done:]
        assert len(rest) == len(whole) == len(list(whole))


def test_the_curve_has_the_first_the_last_and_every_tenth_step() -> None:
    assert [step for step in range(25) if is_watched(step, 25)] == [0, 9, 19, 24]
    assert WATCH_EVERY == 10
