"""What a user adds to a fit: each against a fit or a loop without it."""

import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from tiny_job import learnt

from stdo.chunks.sample import Uniform
from stdo.chunks.split import whole
from stdo.core.types import UserError
from stdo.models.sharing import Independent, Single
from stdo.pipeline.steps import train
from stdo.reporting.results import over
from stdo.reporting.runs import Run
from stdo.runs.directory import WEIGHTS
from stdo.runs.tracking.curves import read_curve
from stdo.training.data import PatchBatches
from stdo.training.options import Limit, Options
from stdo.training.validation import frames_to_measure, steps_between


def same(one, other) -> bool:
    return all(torch.equal(value, learnt(other)[name]) for name, value in learnt(one).items())


@pytest.mark.parametrize("by", ["norm", "value"])
def test_gradients_are_clipped_as_torch_clips_them(make_job, by: str) -> None:
    largest = {"norm": 0.05, "value": 0.001}[by]
    job = make_job(
        split=whole, sharing=Single, chunks=1, passes=0.5,
        optimizer=partial(torch.optim.SGD, lr=0.5),
        options=Options(clip=largest, clip_by=by),
    )  # fmt: skip
    train(job)
    data, network = job.data, job.sharing(1).backbone
    label_N = data.labels.ravel().astype(np.int64)
    sampler = job.sampler(label_N, np.zeros_like(label_N))
    batches = PatchBatches(data.video, data.grid, data.labels, sampler, 0, 1)
    sgd = torch.optim.SGD(network.parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, sampler.steps)
    clipped = 0
    for step in range(sampler.steps):
        sr = network(batches[step]["lr"].permute(0, 3, 1, 2) / 255)
        sgd.zero_grad()
        (sr - batches[step]["hr"].permute(0, 3, 1, 2) / 255).abs().mean().backward()
        if by == "norm":
            clipped += torch.nn.utils.clip_grad_norm_(network.parameters(), largest) > largest
        else:
            torch.nn.utils.clip_grad_value_(network.parameters(), largest)
        sgd.step()
        schedule.step()
    assert clipped or by == "value"
    found = learnt(job)
    for name, value in network.state_dict().items():
        assert torch.allclose(found[f"0.{name}"], value, rtol=1e-3, atol=2e-5), name


def test_accumulated_batches_are_one_large_batch(make_job) -> None:
    parts, one = (
        make_job(
            name,
            sampler=partial(Uniform, batch=6, passes=1.0, seed=0),
            options=options,
            optimizer=partial(torch.optim.SGD, lr=0.5),
        )
        for name, options in (("parts", Options(accumulate=3)), ("one", Options()))
    )
    assert train(parts)["steps"] == train(one)["steps"]
    for name, value in learnt(one).items():
        assert torch.allclose(learnt(parts)[name], value, rtol=1e-3, atol=2e-5), name
    curves = [read_curve(job.directory / "curves.csv") for job in (parts, one)]
    assert len(curves[0]) > 1
    for row, other in zip(*curves, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-3)
        assert row["psnr"] == pytest.approx(other["psnr"], abs=1e-2)


def test_validating_changes_no_weight_and_ends_with_the_figure_of_the_result(make_job) -> None:
    plain, validated = make_job("plain"), make_job(
        "validated", options=Options(validate_every=4, validate_frames=1), checkpoint_seconds=0.0
    )  # fmt: skip
    train(plain)
    metrics = train(validated)
    assert same(plain, validated)
    with (validated.directory / "validation.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted({*range(4, metrics["steps"], 4), metrics["steps"]})
    assert float(rows[-1]["psnr"]) == pytest.approx(metrics["psnr"]["frame"], abs=2e-3)
    assert not (plain.directory / "validation.csv").exists()


def killed_at(step: int, make_job, monkeypatch, **settings):
    """A job whose fit died before a step."""
    read = PatchBatches.__getitem__

    def dying(self, at):
        if at == step:
            raise KeyError("killed")
        return read(self, at)

    job = make_job("killed", checkpoint_seconds=0.0, **settings)
    with monkeypatch.context() as patch:
        patch.setattr(PatchBatches, "__getitem__", dying)
        with pytest.raises(KeyError):
            train(job)
    return job


@pytest.mark.parametrize("die_at", [5, 8])
def test_a_killed_fit_repeats_no_validation(make_job, monkeypatch, die_at: int) -> None:
    options = Options(validate_every=4, validate_frames=3)
    straight = make_job("straight", options=options)
    train(straight)
    killed = killed_at(die_at, make_job, monkeypatch, options=options)
    train(make_job("killed", checkpoint_seconds=0.0, options=options))
    assert same(straight, killed)
    rows = [
        [(row["step"], row["psnr"]) for row in csv.DictReader(path.open())]
        for path in (each.directory / "validation.csv" for each in (straight, killed))
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("before", "after", "die_at"),
    [
        (Options(validate_every=1, validate_frames=3), Options(), 5),
        pytest.param(
            Options(), Options(validate_every=1, validate_frames=3), 8, marks=pytest.mark.slow
        ),
        pytest.param(
            Options(validate_every=3, validate_frames=3),
            Options(validate_every=2, validate_frames=3),
            5,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            Options(callbacks=lambda _: [pl.Callback()]), Options(), 8, marks=pytest.mark.slow
        ),
    ],
)
def test_a_fit_that_resumes_with_other_blocks_does_every_step(
    make_job, monkeypatch, before: Options, after: Options, die_at: int
) -> None:
    """Lightning counts batches, and what asks for validation or shows steps one by one changes how
    many steps those have."""
    straight = make_job("straight", passes=2.0)
    steps = train(straight)["steps"]
    killed_at(die_at, make_job, monkeypatch, passes=2.0, options=before)
    resumed = make_job("killed", passes=2.0, checkpoint_seconds=0.0, options=after)
    metrics = train(resumed)
    assert metrics["steps"] == steps and "shortened" not in metrics
    assert same(straight, resumed)
    if after.validate_every is not None:
        rows = list(csv.DictReader((resumed.directory / "validation.csv").open()))
        assert int(rows[-1]["step"]) == steps


def test_a_fit_that_ends_early_by_itself_is_no_finished_run(make_job, trainer) -> None:
    job = make_job(trainer=partial(trainer, max_steps=4))
    with pytest.raises(UserError, match=r"ended after 6 of 14 steps, and nothing asked for it"):
        train(job)
    assert not (job.directory / WEIGHTS).exists()


def test_a_resumed_fit_knows_the_best_checkpoint_of_before(make_job, monkeypatch) -> None:
    """Killed after a validation: what ours has kept then must hold what ModelCheckpoint did."""

    def best(folder: Path) -> list[pl.Callback]:
        return [ModelCheckpoint(folder, "{step}", monitor="val/psnr", mode="max")]

    options = Options(callbacks=best, validate_every=4, validate_frames=3)
    straight = make_job("straight", options=options)
    train(straight)
    killed = killed_at(8, make_job, monkeypatch, options=options)
    train(make_job("killed", checkpoint_seconds=0.0, options=options))
    kept = [
        sorted(path.name for path in (job.directory / "kept").iterdir())
        for job in (straight, killed)
    ]
    assert kept[0] == kept[1] and len(kept[0]) == 1


class StopAt(pl.Callback):
    """Ends a fit as EarlyStopping does."""

    def __init__(self, step: int) -> None:
        self.step, self.seen = step, 0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.seen += 1
        assert trainer.global_step == self.seen, "one step at a time"
        trainer.should_stop = trainer.global_step >= self.step


def test_a_fit_that_a_callback_ends_counts_what_it_did(make_job) -> None:
    job = make_job(options=Options(callbacks=lambda _: [StopAt(5)]))
    metrics = train(job)
    assert (metrics["steps"], metrics["patch_presentations"]) == (5, 5 * 12)
    assert metrics["planned_steps"] > 5 and metrics["shortened"] == "a callback ended the fit"
    assert sum(metrics["chunk_presentations"]) == 60
    assert metrics["passes"] == pytest.approx(60 / metrics["patches"])

    facts = {"chunking": "score", "network": None, "scorer": "bicubic", "seed": 0}
    facts |= {"precision": "32-true"}
    other = Run(job.directory, metrics | facts | {"method": "awdnn"}, {}, "")
    run = Run(job.directory, metrics | facts, {}, "")
    assert over(run, "awdnn", [other]) is None, "equal in number, but shortened"
    assert over(run_of(run), "awdnn", [run_of(other)]) == 0
    assert run.name.endswith(f"5 of {metrics['planned_steps']} steps")


def run_of(run: Run) -> Run:
    """The same run, not shortened."""
    return Run(run.directory, run.metrics | {"shortened": None}, {}, "")


@pytest.mark.parametrize(
    ("settings", "steps", "repeats"),
    [
        ({"fast_dev_run": True}, [1, 1], None),
        ({"fast_dev_run": 3}, [3, 3], None),
        ({"limit_train_batches": 0.1}, [4, 6], None),
        ({"limit_train_batches": 7}, [7, 7], None),
        ({"max_steps": 10}, [4, 6], None),
        ({"max_steps": 2}, [1, 1], None),
        ({"max_steps": 1000}, [40, 60], None),
        ({"overfit_batches": 3}, [40, 60], 3),
        ({}, [40, 60], None),
        ({"limit_train_batches": 1.0, "max_steps": -1, "overfit_batches": 0.0}, [40, 60], None),
    ],
)
def test_a_limit_says_how_many_steps_each_phase_does(settings, steps, repeats) -> None:
    zeros = np.zeros(50, np.int64)
    phases = [Uniform(zeros, zeros, batch=5, passes=passes, seed=0) for passes in (4, 6)]
    limit = Limit.of(settings)
    limited = limit.apply(list(phases))
    assert [each.steps for each in limited] == steps
    assert bool(limit.why) == (limited != phases)
    for whole_phase, phase in zip(phases, limited, strict=True):
        for step in range(phase.steps):
            of = step % repeats if repeats else step
            assert np.array_equal(phase.batch(step), whole_phase.batch(of))
        assert sum(phase.chunk_presentations()) == phase.presentations
    with pytest.raises(UserError, match="trainer.max_steps=1: must be at least 2"):
        Limit.of({"max_steps": 1}).apply(list(phases))


def test_a_share_of_a_shortened_fit_counts_the_steps_that_it_does(make_job) -> None:
    limit = Limit.of({"max_steps": 6})
    job = make_job(options=Options(limit=limit, validate_every=0.5, validate_frames=6))
    train(job)
    rows = csv.DictReader((job.directory / "validation.csv").open())
    assert [row["step"] for row in rows] == ["3", "6"]


def test_a_limit_above_the_plan_shortens_nothing(make_job) -> None:
    longer = make_job(options=Options(limit=Limit.of({"max_steps": 1000})))
    assert "shortened" not in train(longer)
    again = Options(limit=Limit.of({"overfit_batches": 2}))
    assert "overfit_batches=2" in train(make_job("again", options=again))["shortened"]


def test_a_shortened_fit_says_so_and_keeps_its_learning_rates(make_job) -> None:
    job, long = make_job(options=Options(limit=Limit.of({"max_steps": 6}))), make_job("whole")
    metrics, whole_metrics = train(job), train(long)
    assert metrics["steps"] == 6 and metrics["planned_steps"] == whole_metrics["steps"]
    assert metrics["shortened"] == "trainer.max_steps=6"
    assert "shortened" not in whole_metrics
    rates = [
        next(csv.DictReader((each.directory / "curves.csv").open()))["lr"] for each in (job, long)
    ]
    assert rates[0] == rates[1]


def test_validation_takes_as_many_frames_as_are_cheap() -> None:
    assert frames_to_measure(30, 10, 5, 50, 1) == [0, 10, 20]
    assert frames_to_measure(30, None, 10, 50, 100) == [15]
    many = frames_to_measure(300, None, 10, 50, 300 * 50 * 10)
    assert many == sorted(set(many)) and 5 < len(many) < 30
    assert frames_to_measure(4, None, 1, 50, 10**9) == [0, 1, 2, 3]
    assert [steps_between(every, 200) for every in (None, 7, 0.1, 1.0)] == [None, 7, 20, 200]


def test_chunks_without_a_network_are_validated_too(make_job) -> None:
    job = make_job(
        shared=partial(Independent, seed=0, bicubic_chunks=1),
        options=Options(validate_every=1.0, validate_frames=1), halo=2,
    )  # fmt: skip
    metrics = train(job)
    row = list(csv.DictReader((job.directory / "validation.csv").open()))[-1]
    assert float(row["psnr"]) == pytest.approx(metrics["psnr"]["frame"], abs=2e-3)
