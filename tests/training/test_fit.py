"""A fit: what k networks in one fit learn, and what a resumed one does."""

import csv
import os
import shutil
import signal
from collections import Counter
from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from tiny_job import learnt

from stdo.chunks.split import by_score, by_time, whole
from stdo.core.signals import Stopped
from stdo.core.types import UserError
from stdo.models.backbones.espcn import ESPCN
from stdo.models.sharing import Independent, Single
from stdo.pipeline.steps import evaluate, train
from stdo.runs.directory import CHECKPOINT, RESULT, WEIGHTS
from stdo.training.data import PatchBatches


def joined_by(callback: pl.Callback, trainer):
    """A trainer with one more callback, the first."""
    return lambda callbacks, **own: trainer(callbacks=[callback, *callbacks], **own)


def test_independent_networks_in_one_fit_equal_separate_fits(make_job) -> None:
    """Adam works element by element and the losses add, so one fit must be k fits: against a bare
    loop each."""
    job = make_job()
    train(job)
    together = learnt(job)
    data, labels = job.data, job.data.labels
    sharing = job.sharing(3)
    label_N = labels.ravel().astype(np.int64)
    sampler = job.sampler(label_N, sharing.learner_of(label_N))
    batches = PatchBatches(data.video, data.grid, labels, sampler, 0, 1)
    for chunk in range(3):
        network = sharing.backbones[chunk]
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, sampler.steps)
        for step in range(sampler.steps):
            mine = {key: value[chunk * 4 : chunk * 4 + 4] for key, value in batches[step].items()}
            assert (mine["chunk"] == chunk).all()
            sr = network(mine["lr"].permute(0, 3, 1, 2) / 255)
            loss = (sr - mine["hr"].permute(0, 3, 1, 2) / 255).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        for name, value in network.state_dict().items():
            assert torch.allclose(together[f"{chunk}.{name}"], value, rtol=1e-3, atol=2e-5), (
                chunk,
                name,
            )


@pytest.mark.parametrize("die_at", [1, 7, 13])
def test_a_killed_fit_goes_on_to_the_same_weights(
    make_job, monkeypatch: pytest.MonkeyPatch, die_at: int
) -> None:
    straight = make_job("straight")
    train(straight)

    killed = make_job("killed", checkpoint_seconds=0.0)
    with monkeypatch.context() as patch:
        read = PatchBatches.__getitem__

        def dying(self, step):
            if step == die_at:
                raise KeyError("killed")
            return read(self, step)

        patch.setattr(PatchBatches, "__getitem__", dying)
        with pytest.raises(KeyError):
            train(killed)
    assert (killed.directory / CHECKPOINT).exists()
    assert not (killed.directory / RESULT).exists()
    steps: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(
            PatchBatches, "__getitem__", lambda self, step: steps.append(step) or read(self, step)
        )
        train(make_job("killed", checkpoint_seconds=0.0))
    assert die_at - 5 < steps[0] <= die_at  # from the block that it was killed in
    assert steps == list(range(steps[0], train(straight)["steps"]))
    expected, got = learnt(straight), learnt(killed)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_a_fit_killed_after_its_last_step_only_saves(
    make_job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(checkpoint_seconds=0.0)
    with monkeypatch.context() as patch:
        patch.setattr(
            "stdo.pipeline.fit.save", lambda *_: (_ for _ in ()).throw(KeyError("killed"))
        )
        with pytest.raises(KeyError):
            train(job)
    monkeypatch.setattr(PatchBatches, "__getitem__", lambda *_: pytest.fail("a step was repeated"))
    train(make_job(checkpoint_seconds=0.0))
    straight = make_job("straight")
    monkeypatch.undo()
    train(straight)
    assert all(torch.equal(value, learnt(job)[name]) for name, value in learnt(straight).items())


@pytest.mark.parametrize(("loss", "power"), [("l1", 1), ("l2", 2)])
def test_the_curve_shows_the_loss_that_was_asked_for(make_job, loss: str, power: int) -> None:
    job = make_job(loss=loss, split=whole, sharing=Single, chunks=1, passes=0.1)
    train(job)
    data, sharing = job.data, job.sharing(1)
    label_N = data.labels.ravel().astype(np.int64)
    sampler = job.sampler(label_N, sharing.learner_of(label_N))
    batch = PatchBatches(data.video, data.grid, data.labels, sampler, 0, 1)[0]
    with torch.no_grad():
        sr = sharing(batch["lr"].permute(0, 3, 1, 2) / 255, batch["chunk"])
    expected = (sr - batch["hr"].permute(0, 3, 1, 2) / 255).abs().pow(power).mean().item()
    with (job.directory / "curves.csv").open() as file:
        first = next(csv.DictReader(file))
    assert float(first["loss"]) == pytest.approx(expected, rel=1e-3)


def test_odd_sizes_are_padded_and_cropped(make_job) -> None:
    metrics = train(make_job(scale=3))
    assert (metrics["height"], metrics["width"]) == (50, 70)
    assert metrics["psnr"]["frame"] > 0


def test_a_finished_run_is_read_not_repeated(make_job, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = train(make_job())
    monkeypatch.setattr("stdo.pipeline.steps.fit", lambda *_: pytest.fail("trained twice"))
    assert train(make_job()) == metrics


def test_force_trains_again(make_job) -> None:
    job = make_job()
    train(job)
    before = (job.directory / WEIGHTS).stat().st_mtime_ns
    train(make_job(), force=True)
    assert (job.directory / WEIGHTS).stat().st_mtime_ns > before


def test_a_run_killed_while_evaluating_does_not_train_again(
    make_job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()
    metrics = train(job)
    (job.directory / RESULT).unlink()
    monkeypatch.setattr("stdo.pipeline.steps.fit", lambda *_: pytest.fail("trained twice"))
    again = train(make_job())
    assert {**again, "seconds": 0} == {**metrics, "seconds": 0}


@pytest.mark.parametrize(
    ("split", "sharing", "chunks", "networks"),
    [
        (whole, Single, 1, 1),
        (by_time, Independent, 3, 3),
        (by_score, Independent, 3, 3),
        (by_score, Single, 3, 1),
    ],
)
@pytest.mark.parametrize("halo", [0, 2])
def test_every_method_learns_and_shows_equally_many_patches(
    make_job, split, sharing, chunks, networks, halo
) -> None:
    metrics = train(make_job(split=split, sharing=sharing, chunks=chunks, halo=halo, passes=24))
    assert metrics["psnr"]["frame"] > metrics["bicubic"]["psnr"]["frame"] + 0.1
    assert len(metrics["chunk_psnr"]) == chunks
    one = sum(p.numel() for p in ESPCN(2).parameters())
    assert metrics["params"] == networks * one
    patches = metrics["patches"]
    assert metrics["patch_presentations"] == pytest.approx(24 * patches, abs=4 * networks)


def test_a_loss_that_explodes_stops_with_advice(make_job) -> None:
    job = make_job(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e30))
    with pytest.raises(
        UserError,
        match=r"diverged: a loss of nan at step \d+, at a learning rate of .*; lower optim.lr",
    ):
        train(job)
    assert not (job.directory / WEIGHTS).exists()


@pytest.mark.parametrize("rate", [1e-9, 1e30])
def test_a_loss_of_a_plugin_may_be_in_any_unit(
    make_job, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    """An error in levels of 255, squared, is in the hundreds: whether the fit explodes is told from
    its pictures."""

    def in_levels(sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
        return (255 * (sr - hr)).square().mean()

    monkeypatch.setattr("stdo.training.loss._function", lambda _: in_levels)
    job = make_job(
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=rate), loss="mypkg:in_levels"
    )
    if rate < 1:
        train(job)
        rows = list(csv.DictReader((job.directory / "curves.csv").open()))
        assert float(rows[0]["loss"]) > 10
    else:
        with pytest.raises(UserError, match="diverged: a loss of"):
            train(job)


def test_non_finite_weights_do_not_replace_a_good_checkpoint(make_job, trainer) -> None:
    class Break(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
            if trainer.global_step == 1:
                next(module.parameters()).data[0] = float("nan")

    job = make_job(
        checkpoint_seconds=0.0,
        trainer=lambda callbacks, **own: trainer(callbacks=[Break(), *callbacks], **own),
    )
    with pytest.raises(
        UserError, match=r"diverged: non-finite weights at step 6, .* last good checkpoint"
    ):
        train(job)
    kept = torch.load(job.directory / CHECKPOINT, weights_only=True)
    assert kept["global_step"] == 1
    assert all(value.isfinite().all() for value in kept["state_dict"].values())
    train(make_job())
    straight = make_job("straight")
    train(straight)
    assert all(torch.equal(value, learnt(job)[name]) for name, value in learnt(straight).items())


class Full(pl.Callback):
    """Runs out of memory at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
        if trainer.global_step == self.step:
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 20.00 MiB.\nMore lines."
            )


def test_a_gpu_without_memory_says_what_to_lower_and_keeps_the_checkpoint(
    make_job, trainer
) -> None:
    with pytest.raises(
        UserError, match=r"^out of GPU memory: lower budget.batch \(4\) or use trainer=cpu$"
    ):
        train(make_job(checkpoint_seconds=0.0, trainer=joined_by(Full(6), trainer)))
    assert torch.load(make_job().directory / CHECKPOINT, weights_only=True)["global_step"] == 6
    job, straight = make_job(), make_job("straight")
    train(job)
    train(straight)
    assert all(torch.equal(value, learnt(job)[name]) for name, value in learnt(straight).items())


def stopped_by(number: int, ask: pl.Callback, make_job, trainer, monkeypatch, seconds: float):
    """A job whose fit was stopped by a signal that ``ask`` sends. Handlers are as before then: the
    program would be about to end, and this one is not."""
    before = signal.getsignal(number)
    monkeypatch.setattr("stdo.core.signals._ENDING", 0.0)
    monkeypatch.setattr("stdo.core.signals.atexit.register", lambda call: call)
    with pytest.raises(Stopped) as stopped:
        train(make_job(checkpoint_seconds=seconds, trainer=joined_by(ask, trainer)))
    assert stopped.value.exit_code == 128 + number
    signal.signal(number, before)
    return make_job()


@pytest.mark.parametrize("step", [0, 6, "last"])
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(each, marks=pytest.mark.slow) for each in (signal.SIGINT, signal.SIGUSR1)),
    ],
)
def test_a_fit_that_is_asked_to_stop_saves_first(
    make_job, trainer, number, step, monkeypatch
) -> None:
    """The checkpoint is of the very block, whatever checkpoint_seconds says, and the fit goes on
    from there."""
    straight = make_job("straight")
    steps = train(straight)["steps"]
    at = steps - 1 if step == "last" else step
    ends: list[int] = []

    class Ask(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
            if trainer.global_step <= at < trainer.global_step + len(batch):
                ends.append(trainer.global_step + len(batch))
                os.kill(os.getpid(), number)

    job = stopped_by(number, Ask(), make_job, trainer, monkeypatch, seconds=3600)
    assert torch.load(job.directory / CHECKPOINT, weights_only=True)["global_step"] == ends[0]
    train(job)
    assert all(torch.equal(value, learnt(job)[name]) for name, value in learnt(straight).items())


@pytest.mark.parametrize("hook", ["on_save_checkpoint", "on_train_epoch_end"])
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_fit_that_is_asked_to_stop_while_it_saves_or_ends_stops(
    make_job, trainer, number, hook: str, monkeypatch
) -> None:
    """Lightning ends a fit that has had SIGTERM with SystemExit, which says that all went well."""
    straight = make_job("straight")
    train(straight)
    asked: list[int] = []

    class Ask(pl.Callback):
        pass

    def ask(self, trainer, *_) -> None:
        if not asked:
            asked.append(trainer.global_step)
            os.kill(os.getpid(), number)

    setattr(Ask, hook, ask)
    job = stopped_by(number, Ask(), make_job, trainer, monkeypatch, seconds=0)
    assert torch.load(job.directory / CHECKPOINT, weights_only=True)["global_step"] >= asked[0]
    train(job)
    assert all(torch.equal(value, learnt(job)[name]) for name, value in learnt(straight).items())


def test_a_fit_lets_others_have_the_cores_after_each_step_and_frame(make_job, monkeypatch) -> None:
    seen = Counter()
    for place in ("stdo.training.module", "stdo.evaluation.reconstruct"):
        monkeypatch.setattr(f"{place}.yield_cores", partial(seen.update, [place]))
    job = make_job()
    metrics = train(job)
    assert seen["stdo.training.module"] == metrics["steps"]
    assert seen["stdo.evaluation.reconstruct"] >= metrics["frames"]


def test_a_checkpoint_of_other_weights_is_said_in_one_line(make_job, trainer) -> None:
    """Such as one of an older version, whose sharing had another form."""
    asking = make_job(checkpoint_seconds=0.0, trainer=joined_by(Full(6), trainer))
    with pytest.raises(UserError, match="out of GPU memory"):
        train(asking)
    path = asking.directory / CHECKPOINT
    checkpoint = torch.load(path, weights_only=True)
    name = next(iter(checkpoint["state_dict"]))
    checkpoint["state_dict"][name] = torch.zeros(1, 2)
    torch.save(checkpoint, path)
    with pytest.raises(
        UserError, match=r"^\S+: its checkpoint holds other weights than .* force=true"
    ):
        train(make_job())


@pytest.mark.parametrize("damage", ["gone", "empty", "half", "other"])
def test_damaged_chunks_are_said_in_one_line(make_job, damage: str) -> None:
    job = make_job(passes=0.5)
    train(job)
    path = job.directory / "chunks.npz"
    whole_file = path.read_bytes()
    path.unlink()
    if damage == "other":
        np.savez(path, labels=np.zeros(3))
    elif damage != "gone":
        path.write_bytes(whole_file[: len(whole_file) // 2 if damage == "half" else 0])
    with pytest.raises(UserError, match="chunks.npz: missing or damaged"):
        evaluate(make_job().directory, make_job().data.clip)


def test_scores_and_labels_are_kept(make_job) -> None:
    job = make_job()
    train(job)
    kept = np.load(job.directory / "chunks.npz")
    assert np.array_equal(kept["labels"], job.data.labels)
    assert np.array_equal(kept["scores"], job.data.scores)
    shutil.rmtree(job.directory)
