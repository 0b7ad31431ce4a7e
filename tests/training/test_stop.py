"""A fit that ends early: what it measures, when it ends, how it ends, and killing it anywhere."""

import math
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from stdo.chunks.branch import Branching, Turns
from stdo.chunks.sample import Ratios
from stdo.evaluation.table import closing_table
from stdo.models.backbones.espcn import ESPCN
from stdo.models.sharing import Independent
from stdo.models.weights import load_networks
from stdo.pipeline import WEIGHTS, Job, train
from stdo.tracking.curves import read_curve
from stdo.training.callbacks import Curve
from stdo.training.data import PatchBatches
from stdo.training.stop import PASSES, TAIL, Gain

BUDGET = {"batch": 4, "passes": 20.0, "seed": 0}
ALWAYS = 1e9
"""dB per minute that no fit gains."""


@pytest.fixture
def warm_job(make_job):
    def make(directory: str = "run", **changes) -> Job:
        return replace(
            make_job(directory, **changes),
            sharing=partial(Independent, partial(ESPCN, 2, residual="bicubic"), seed=0),
            sampler=partial(Turns, **BUDGET),
            warm=partial(Branching, share=0.5, first=partial(Ratios, ratios=[1, 0.5, 0]), **BUDGET),
        )

    return make


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that takes 10 ms for each step: the machine's would end fits of the same test at different steps."""
    monkeypatch.setattr(Curve, "now", lambda self: self._steps * 0.01, raising=True)
    end = Curve.on_train_batch_end

    def counted(self, trainer, *rest) -> None:
        self._steps = trainer.global_step
        end(self, trainer, *rest)

    monkeypatch.setattr(Curve, "on_train_batch_end", counted)
    monkeypatch.setattr(Curve, "_steps", 0, raising=False)


def tensors(job: Job) -> list[torch.Tensor]:
    return [tensor for network in load_networks(job.directory / WEIGHTS)[0] for tensor in network.state_dict().values()]


class TestGain:
    @staticmethod
    def shown(often: list[int], law, steps: int, noise: float = 0.0) -> Gain:
        """Steps of one patch, drawn in proportion to ``often``; its PSNR at a step is its own level and the law."""
        rng = np.random.default_rng(0)
        gain = Gain(len(often), len(often))
        level, share = rng.uniform(20, 40, len(often)), np.array(often) / sum(often)
        for step in range(1, steps + 1):
            patch = rng.choice(len(often), 1, p=share)
            now = level[patch] + law(step) + noise * rng.standard_normal(1)
            gain.show(step, patch, 10 ** (-now / 10))
        return gain

    @pytest.mark.parametrize("often", [[1] * 40, [9] * 10 + [1] * 30])
    def test_is_the_slope_however_often_patches_are_shown(self, often: list[int]) -> None:
        assert self.shown(often, lambda step: 0.003 * step, 800).per_step() == pytest.approx(0.003, rel=1e-3)

    def test_is_that_of_the_last_quarter_of_the_steps(self) -> None:
        found = self.shown([1] * 20, lambda step: 2 * np.log(step), 4000).per_step()
        slopes = [2 / step for step in range(1, 4001)]
        assert np.mean(slopes[-1000:]) < found < 1.25 * np.mean(slopes[-2000:])

    def test_noise_of_a_decibel_hides_little(self) -> None:
        found = self.shown([3] * 50 + [1] * 50, lambda step: 0.002 * step, 4000, noise=1.0).per_step()
        assert found == pytest.approx(0.002, rel=0.1)

    def test_is_unknown_until_patches_were_compared_twice(self) -> None:
        gain = Gain(10, 10)
        for step in range(1, 10 * (PASSES + 1)):
            gain.show(step, np.array([step % 10]), np.array([0.1]))
            assert gain.per_step() is None
        gain.show(10 * (PASSES + 1), np.array([0]), np.array([0.1]))
        assert gain.per_step() == pytest.approx(0, abs=1e-9)

    def test_what_is_known_at_the_beginning_counts(self) -> None:
        gain = Gain(10, 10)
        gain.begin(100, np.full(10, 30, np.float32))
        for step in range(101, 101 + 10 * PASSES):
            gain.show(step, np.array([step % 10]), np.array([10 ** (-(30 + (step - 100) * 0.01) / 10)]))
        assert gain.per_step() == pytest.approx(0.01, rel=1e-4)


def test_a_fit_that_gains_too_little_ends_early_at_a_rate_of_zero(make_job) -> None:
    job = make_job(passes=20.0, min_gain=ALWAYS)
    metrics = train(job)
    whole = train(make_job("whole", passes=20.0))
    assert whole["stopped"] is None
    stopped, shown = metrics["stopped"]["step"], metrics["patch_presentations"] / metrics["steps"]
    assert stopped >= (PASSES + 1) * metrics["patches"] / shown - 1, "the first pass has nothing to compare with"
    assert metrics["steps"] == stopped + round(TAIL * stopped) < 0.5 * whole["steps"]
    assert sum(metrics["chunk_presentations"]) == metrics["patch_presentations"] == 12 * metrics["steps"]
    assert metrics["stopped"]["gain"] < ALWAYS
    assert metrics["stopped"]["saved"] == whole["patch_presentations"] - metrics["patch_presentations"]
    assert f"{metrics['stopped']['saved']} presentations saved" in closing_table(metrics)
    assert "saved" not in closing_table(whole)
    curve = read_curve(job.directory / "curves.csv")
    assert curve[-1]["step"] == metrics["steps"], "the last step is a point of the curve"
    stride = (whole["steps"] - stopped) / (metrics["steps"] - stopped)
    assert curve[-1]["lr"] == pytest.approx(0.5e-3 * (1 - math.cos(math.pi * stride / whole["steps"])), rel=1e-4)
    rates = [row["lr"] for row in curve]
    assert all(before >= after for before, after in pairwise(rates)), "it falls all the way"
    assert metrics["psnr"]["frame"] > metrics["bicubic"]["psnr"]["frame"]


def test_a_fit_that_gains_enough_is_the_fit_without_the_setting(make_job) -> None:
    jobs = [make_job("judged", passes=6.0, min_gain=1e-9), make_job("plain", passes=6.0)]
    metrics = [train(job) for job in jobs]
    assert [each["stopped"] for each in metrics] == [None, None]
    assert all(torch.equal(*pair) for pair in zip(*map(tensors, jobs), strict=True))


def test_only_what_comes_after_the_branch_is_judged(warm_job) -> None:
    job = warm_job(min_gain=ALWAYS)
    metrics = train(job)
    enough = PASSES * metrics["patches"] / 4
    stopped = metrics["stopped"]["step"]
    assert metrics["branch_step"] + enough <= stopped < metrics["branch_step"] + enough + 10
    assert metrics["steps"] == stopped + round(TAIL * stopped)
    assert metrics["work"] == pytest.approx([6 / 11, 3 / 11, 2 / 11], abs=0.02)
    assert sum(metrics["chunk_presentations"]) == metrics["patch_presentations"] == 4 * metrics["steps"]
    assert read_curve(job.directory / "curves.csv")[-1]["lr"] < 1e-5, "a thousandth of the rate"


def test_a_rest_that_is_no_longer_than_the_tail_is_run_as_it_is(make_job) -> None:
    metrics = train(make_job(passes=(PASSES + 1) * 1.15, min_gain=ALWAYS))
    assert metrics["stopped"] is None


@pytest.mark.parametrize("where", ["before", "ending", "last"])
def test_killed_anywhere_it_ends_with_the_same_weights(
    warm_job, monkeypatch: pytest.MonkeyPatch, steady: None, where: str
) -> None:
    straight = warm_job("straight", min_gain=ALWAYS)
    metrics = train(straight)
    stopped, steps = metrics["stopped"]["step"], metrics["steps"]
    die_at = {"before": stopped - 3, "ending": stopped + 4, "last": steps}[where]
    read = PatchBatches.__getitem__

    def dying(self, step):
        if step == die_at:
            raise KeyError("killed")
        return read(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(PatchBatches, "__getitem__", dying)
        if where == "last":
            patch.setattr("stdo.fitting._save", lambda *_: (_ for _ in ()).throw(KeyError("killed")))
        with pytest.raises(KeyError):
            train(warm_job("killed", min_gain=ALWAYS, checkpoint_seconds=0.0))
    shown: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(PatchBatches, "__getitem__", lambda self, step: shown.append(step) or read(self, step))
        again = train(warm_job("killed", min_gain=ALWAYS, checkpoint_seconds=0.0))
    begun = shown[0] if shown else steps
    assert die_at - 10 < begun <= die_at, "from the block that it was killed in"
    assert (begun >= stopped) == (where != "before")
    assert shown == list(range(begun, steps))
    assert again["stopped"] == metrics["stopped"]
    assert all(torch.equal(*pair) for pair in zip(tensors(straight), tensors(warm_job("killed")), strict=True))
    rates = [
        [row["lr"] for row in read_curve(warm_job(name).directory / "curves.csv")] for name in ("straight", "killed")
    ]
    assert rates[0] == rates[1]
