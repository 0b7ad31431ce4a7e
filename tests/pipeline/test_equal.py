"""The two readings of equal work: what each network is shown, and in how many steps."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from stdo.chunks.sample import Ratios, Uniform
from stdo.chunks.turns import Turns
from stdo.core.types import UserError
from stdo.models.lowrank import LowRank
from stdo.models.modulated import Modulated
from stdo.models.sharing import Independent, Sharing, Single
from stdo.pipeline.equal import batch_of_each, divided, side_by_side
from stdo.pipeline.phases import Start, samplers

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), 24))
ONE = 0 * LABELS
BUDGET = {"batch": 8, "passes": 5, "seed": 3}
AWDNN = Uniform(ONE, ONE, **BUDGET)


def test_networks_side_by_side_share_a_batch_and_take_the_steps_of_one() -> None:
    shared = divided(partial(Uniform, **BUDGET), LABELS, LABELS)
    assert (shared.steps, shared.shown) == (AWDNN.steps, AWDNN.shown) == (60, 8)
    assert shared.learner_steps() == [60] * 4
    for step in range(shared.steps):  # two patches of each chunk
        assert LABELS[shared.batch(step)].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    alone = Uniform(LABELS, LABELS, **BUDGET)
    assert alone.learner_steps() == [15] * 4
    assert alone.presentations == shared.presentations == AWDNN.presentations
    assert shared.chunk_presentations() == alone.chunk_presentations() == [120] * 4


@pytest.mark.parametrize(
    ("make", "learner_N"), [(Uniform, ONE), (partial(Ratios, factor=0.5), ONE), (Turns, LABELS)]
)
def test_one_network_at_a_time_is_the_same_under_both(make: type, learner_N: np.ndarray) -> None:
    alone = make(LABELS, learner_N, **BUDGET)
    shared = divided(partial(make, **BUDGET), LABELS, learner_N)
    assert alone.steps == shared.steps == AWDNN.steps
    for step in range(alone.steps):
        np.testing.assert_array_equal(alone.batch(step), shared.batch(step))


def test_steps_of_networks_that_take_turns_are_counted() -> None:
    turns = Turns(LABELS, LABELS, step_shares=[3, 2, 1, 0], **BUDGET)
    assert turns.learner_steps() == turns.counts == [30, 20, 10, 0]


def test_after_a_first_phase_networks_side_by_side_share_a_batch() -> None:
    start = Start(0.5, Uniform, **BUDGET)
    first, main = samplers(start, partial(divided, partial(Uniform, **BUDGET)), LABELS, LABELS)
    assert (first.batch_size, main.batch_size) == (8, 2)
    assert first.steps + main.steps == AWDNN.steps


@pytest.mark.parametrize(
    ("batch", "networks", "said"),
    [
        (4, 3, "budget.batch=4: must be a multiple of the 3 networks .*: 3, 6, 9 .* 1, 2, 4 net"),
        (6, 4, "budget.batch=6: .* 4 networks .*: 4, 8, 12 .* there are 1, 2, 3, 6 networks"),
    ],
)
def test_a_batch_that_cannot_be_divided_is_refused(batch: int, networks: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        batch_of_each(batch, networks)
    label_N = np.arange(48) % networks
    with pytest.raises(UserError, match=said):
        divided(Uniform, label_N, label_N, batch=batch, passes=1, seed=0)


def test_a_batch_of_several_parts_is_divided_whole() -> None:
    assert batch_of_each(2, 4, accumulate=2) == 1
    said = "budget.batch=3 times trainer.accumulate_grad_batches=2: must be a multiple of the 4"
    with pytest.raises(UserError, match=said):
        batch_of_each(3, 4, accumulate=2)


class Pairs(Independent):
    """A sharing of somebody's own."""

    @property
    def learners(self) -> int:
        return 2


@pytest.mark.parametrize(
    ("sampler", "sharing", "count"),
    [
        (Uniform, Single, 1), (Uniform, Modulated, 1), (Uniform, LowRank, 1), (Turns, Pairs, 1),
        (Turns, Independent, 1), (Uniform, Independent, 4), (Ratios, Independent, 4),
        (Uniform, Pairs, None), (Uniform, print, None),
    ],
)  # fmt: skip
def test_how_many_train_side_by_side(sampler: type, sharing: Sharing, count: int | None) -> None:
    assert side_by_side(partial(sampler), partial(sharing), 4) == count


TINY = [
    "backbone=espcn", "scale=2", "chunks=2", "patches.height=12", "patches.width=12",
    "budget.passes=2", "video.max_frames=3", "video.height=96", "trainer=cpu",
]  # fmt: skip


def trained(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    places = [f"paths.outputs={folder}/outputs", f"paths.cache={folder}/cache"]
    command = [sys.executable, "-m", "stdo.train", *TINY, *places, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_both_readings_of_a_run_and_one_of_a_single_network(tmp_path: Path) -> None:
    from stdo.reporting.results import rows
    from stdo.reporting.runs import collect

    done = trained(tmp_path, "-m", "method=awdnn,stdo", "budget.equal=batch,steps")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("is finished") == 1, "awDNN is the same run under both"
    runs = collect([tmp_path / "outputs"])
    found = {(row["method"], row["equal"]): row for row in rows(runs)}
    assert list(found) == [("awdnn", None), ("stdo", "batch"), ("stdo", "steps")]
    awdnn, batch, steps = found.values()
    assert steps["network_steps"] == [awdnn["steps"]] * 2 and steps["batch"] == 2
    assert batch["network_steps"] == [awdnn["steps"] / 2] * 2 and batch["batch"] == 4
    assert steps["presentations"] == batch["presentations"] == awdnn["presentations"]
    assert steps["peak_lr"] == awdnn["peak_lr"] > batch["peak_lr"] > 0
    assert None not in (steps["over_awdnn"], batch["over_awdnn"]), "awDNN belongs to both"
    told = ("optimizer", "loss", "halo", "negative_slope", "first_weights")
    assert [awdnn[name] for name in told] == ["adam", "l1", 0, 0, "bicubic"]
    assert [row["run"] for row in (awdnn, batch, steps)] == [
        "awDNN", "STDO k=2, equal batch", "STDO k=2, equal steps",
    ]  # fmt: skip
    for row in (awdnn, batch, steps):
        assert row["peak_lr"] == pytest.approx(quick_peak(row["steps"]), rel=1e-6)


def quick_peak(steps: int) -> float:
    """The highest rate of a short fit with budget=quick, see docs/decisions/0005-budgets.md."""
    now = np.arange(steps)
    rise = np.minimum(1, (now + 1) / max(1, 0.1 * steps))
    return (
        1e-3 * np.sqrt(steps / 1000) * float((rise * (1 + np.cos(np.pi * now / steps)) / 2).max())
    )


def test_a_batch_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    done = trained(tmp_path, "method=stdo", "budget.equal=steps", "chunks=3")
    assert done.returncode == 2
    (line,) = [each for each in done.stderr.splitlines() if "budget.batch" in each]
    assert "budget.batch=4: must be a multiple of the 3 networks" in line
    assert not list(tmp_path.glob("cache/*"))
