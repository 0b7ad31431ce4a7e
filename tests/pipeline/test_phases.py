"""How a fit's presentations are divided between its phases."""

from functools import partial

import numpy as np
import pytest

from stdo.chunks.crops import Crops
from stdo.chunks.grid import PatchGrid
from stdo.chunks.sample import Ratios, Sampler, Uniform
from stdo.chunks.turns import Turns
from stdo.core.types import UserError
from stdo.pipeline.phases import Start, least_passes, samplers

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [30, 40, 20, 10]))
RATIOS = partial(Ratios, ratios=[1, 0.5, 0.25, 0])


def divided(share: float = 0.5, passes: float = 5, first=RATIOS, main=Turns) -> list[Sampler]:
    budget = {"batch": 4, "passes": passes, "seed": 3}
    return samplers(Start(share, first, **budget), partial(main, **budget), LABELS, LABELS)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("passes", [0.5, 1, 5])
def test_the_work_of_both_phases_is_that_of_any_other_method(share: float, passes: float) -> None:
    first, main = divided(share, passes)
    alone = Uniform(LABELS, 0 * LABELS, batch=4, passes=passes, seed=0)
    assert first.presentations + main.presentations == alone.presentations
    assert first.steps == pytest.approx(share * alone.steps, abs=1)
    assert sum(first.chunk_presentations()) + sum(main.chunk_presentations()) == alone.presentations


def test_the_first_phase_is_a_sampler_of_one_network_and_the_main_one_of_its_own() -> None:
    first, main = divided()
    alone = RATIOS(LABELS, 0 * LABELS, batch=4, passes=2.5, seed=3)
    late = Turns(LABELS, LABELS, batch=4, passes=4 * main.steps / len(LABELS), seed=3)
    for mine, expected in ((first, alone), (main, late)):
        assert mine.steps == expected.steps and mine.facts == expected.facts
        assert all(
            np.array_equal(mine.batch(step), expected.batch(step)) for step in range(mine.steps)
        )


def test_any_sampler_may_follow() -> None:
    first, main = divided(main=Uniform)
    assert main.at_once == 4
    assert first.presentations + main.presentations == pytest.approx(5 * len(LABELS), abs=16)


@pytest.mark.parametrize("crop", [7, 24])
@pytest.mark.parametrize("passes", [0.5, 5])
def test_crops_of_either_phase_are_counted_by_their_pixels(crop: int, passes: float) -> None:
    grid = PatchGrid(36, 48, 12, 12, scale=2)
    label_N, budget = np.repeat(np.arange(20) // 5, 12), {"batch": 4, "passes": passes, "seed": 3}
    crops = partial(Crops, grid=grid, crop=crop, **budget)
    first, main = samplers(Start(0.5, crops, **budget), crops, label_N, label_N)
    step = 4 * crop**2 / 144
    assert first.presentations == pytest.approx(0.5 * passes * 240, abs=step)
    assert first.presentations + main.presentations == pytest.approx(
        passes * 240, abs=3 + 4 * step / 2
    )
    short = budget | {"passes": 0.001}
    with pytest.raises(UserError, match="budget.passes=0.001: must be at least") as refused:
        samplers(Start(0.5, crops, **short), crops, label_N, label_N)
    least = {"passes": float(str(refused.value).split("at least ")[1].split()[0])}
    assert samplers(Start(0.5, crops, **budget | least), crops, label_N, label_N)


def test_without_a_start_there_is_one_phase() -> None:
    (only,) = samplers(None, partial(Turns, batch=4, passes=5, seed=3), LABELS, LABELS)
    assert only.presentations == 500


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"share": 0.99, "passes": 0.1},
            r"budget.passes=0.1: must be at least 2.04 for this video with init=warm",
        ),
        (
            {"main": partial(Turns, step_shares=[1])},
            r"sampler.step_shares=\[1.0\]: must be 4 numbers",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_step(changes: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        divided(**changes)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.75, 0.9, 0.99])
@pytest.mark.parametrize(("patches", "batch"), [(54, 4), (7200, 4), (100, 1), (33, 16)])
def test_the_least_passes_are_enough(share: float, patches: int, batch: int) -> None:
    label_N = np.arange(patches) % 2

    def phases(passes: float) -> list[Sampler]:
        budget = {"batch": batch, "passes": passes, "seed": 0}
        return samplers(Start(share, Uniform, **budget), partial(Turns, **budget), label_N, label_N)

    least = least_passes(patches, batch, share)
    assert len(phases(least)) == 2
    with pytest.raises(
        UserError, match=f"^budget.passes=.*: must be at least {least:g} for this video"
    ):
        phases(0.6 * batch / patches)
