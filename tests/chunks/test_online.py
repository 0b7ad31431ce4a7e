"""The online sampler: what it shows, against a simulation in lists, and where it resumes."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from stdo.chunks.online import Online
from stdo.core.types import UserError
from stdo.training.blocks import Blocks
from stdo.training.shortened import Shortened

ONE = np.zeros(20, np.int64)
TWO = np.random.default_rng(3).permutation(np.repeat([0, 1], [13, 7]))


class Learning:
    """Stands in for training: each time that a patch is shown, its error falls by a tenth."""

    def __init__(self, patches: int) -> None:
        self.error = np.random.default_rng(1).uniform(0.01, 0.1, patches)

    def show(self, patch_B: np.ndarray) -> np.ndarray:
        seen = self.error[patch_B].astype(np.float32)
        self.error[np.unique(patch_B)] *= 0.9
        return seen


def steps_of(sampler: Online, learning: Learning, first: int = 0) -> Iterator[list[int]]:
    for step in range(first, sampler.steps):
        patch_B = sampler.batch(step)
        assert np.array_equal(sampler.batch(step), patch_B), "drawn again"
        sampler.note(patch_B, learning.show(patch_B))
        yield patch_B.tolist()


def sampler_of(learner_N: np.ndarray, **settings: float) -> Online:
    given = {"batch": 3, "passes": 6.0, "seed": 2, **settings}
    return Online(learner_N, learner_N, **given)


@pytest.mark.parametrize(("share", "every"), [(0.5, 2), (0.25, 3), (0.01, 4), (0.5, 1), (1.0, 2)])
@pytest.mark.parametrize("learner_N", [ONE, TWO])
def test_passes_over_all_and_over_those_of_least_psnr(
    learner_N: np.ndarray, share: float, every: int
) -> None:
    sampler = sampler_of(learner_N, share=share, every=every, passes=8.0)
    learning, known = Learning(20), {}
    rows: dict[int, list[int]] = {learner: [] for learner in set(learner_N.tolist())}
    # What each pass has to show, made when its first patch is drawn
    due: dict[int, list[set[int]]] = {learner: [] for learner in rows}
    for shown in steps_of(sampler, learning):
        before = dict(known)
        known |= zip(shown, learning.error[shown] / 0.9, strict=True)
        for learner, row in rows.items():
            mine = [patch for patch in range(20) if learner_N[patch] == learner]
            row += [patch for patch in shown if learner_N[patch] == learner]
            while sum(map(len, due[learner])) < len(row):
                ranked = sorted(mine, key=lambda patch: -before.get(patch, 1))
                hard = max(1, round(share * len(mine)))
                whole = len(due[learner]) % every == 0
                due[learner].append(set(mine if whole else ranked[:hard]))
    for learner, row in rows.items():
        begin = 0
        for wanted in due[learner]:
            part = row[begin : begin + len(wanted)]
            begin += len(wanted)
            assert len(set(part)) == len(part), "each patch once"
            assert set(part) <= wanted and (set(part) == wanted or begin > len(row))
    assert sampler.presentations == sampler.steps * 3 * len(rows)


def test_counts_what_was_shown() -> None:
    sampler, chunk_N = sampler_of(ONE), np.arange(20) % 4
    shown = np.concatenate(list(steps_of(sampler, Learning(20))))
    assert sampler.chunk_presentations(chunk_N) == np.bincount(chunk_N[shown]).tolist()
    assert sum(sampler.chunk_presentations()) == sampler.presentations == 120
    assert sampler.learner_steps() == [40]
    short = Shortened(sampler, 40)
    assert short.online is sampler
    assert short.chunk_presentations(chunk_N) == sampler.chunk_presentations(chunk_N)


@pytest.mark.parametrize("learner_N", [ONE, TWO])
def test_a_step_that_does_not_wait_may_be_drawn_early(learner_N: np.ndarray) -> None:
    """So blocks, whose steps are drawn together, show what single steps show."""
    make = partial(sampler_of, learner_N, passes=9.0, share=0.4)
    one = make()
    straight = list(steps_of(one, Learning(20)))
    sampler, learning, shown = make(), Learning(20), []
    blocks = list(Blocks(sampler, 0))
    assert len(blocks) == len(Blocks(sampler, 0)) and max(map(len, blocks)) > 2
    assert any(sampler.waits(step) for step in range(sampler.steps)) and not sampler.waits(0)
    for block in blocks:
        assert not any(sampler.waits(step) for step in block[1:])
        drawn = [sampler.batch(step) for step in block]
        for patch_B in drawn:
            sampler.note(patch_B, learning.show(patch_B))
            shown.append(patch_B.tolist())
    assert shown == straight


@pytest.mark.parametrize("learner_N", [ONE, TWO])
@pytest.mark.parametrize("stop", [1, 6, 7, 13, 19])
def test_resumes_with_the_same_draws(learner_N: np.ndarray, stop: int) -> None:
    straight = list(steps_of(sampler_of(learner_N), Learning(20)))
    killed, learning = sampler_of(learner_N), Learning(20)
    running = steps_of(killed, learning)
    before = [next(running) for _ in range(stop)]
    resumed = sampler_of(learner_N)
    resumed.restore({name: values.copy() for name, values in killed.state().items()})
    assert before + list(steps_of(resumed, learning, stop)) == straight
    assert sum(resumed.chunk_presentations()) == resumed.presentations


def test_depends_on_the_seed() -> None:
    one, two = (list(steps_of(sampler_of(ONE, seed=seed), Learning(20))) for seed in (0, 1))
    assert one != two


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"share": 0.0}, "sampler.share=0.0: must be a number above 0, up to 1"),
        ({"share": 1.5}, "sampler.share=1.5: must be"),
        ({"every": 0}, "sampler.every=0: must be 1 or more"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        sampler_of(ONE, **settings)


def test_the_state_of_another_video_is_refused() -> None:
    with pytest.raises(UserError, match="knows 20 patches, the video has 5; force=true"):
        sampler_of(np.zeros(5, np.int64)).restore(sampler_of(ONE).state())
