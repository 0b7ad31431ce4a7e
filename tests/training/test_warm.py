"""A fit of two phases: what the second starts from, what is scored, equal work, and killing it
anywhere."""

import json
import re
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint

from stdo.chunks.sample import Ratios, Uniform
from stdo.chunks.score import psnr
from stdo.chunks.split import by_score
from stdo.chunks.turns import Turns
from stdo.config.callbacks import tracker_of
from stdo.core.types import UserError
from stdo.evaluation.reconstruct import Reconstructor
from stdo.models.backbones.espcn import ESPCN
from stdo.models.lowrank import LowRank
from stdo.models.modulated import Modulated
from stdo.models.sharing import Independent, Single
from stdo.models.weights import load_networks, read_safetensors, write_safetensors
from stdo.pipeline.phases import Start
from stdo.pipeline.steps import WEIGHTS, Job, train
from stdo.runs.directory import (
    CHECKPOINT,
    START_CHECKPOINT,
    START_SCORES,
    START_WEIGHTS,
    read_chunks,
)
from stdo.training.data import PatchBatches
from stdo.training.options import Options

BUDGET = {"batch": 4, "passes": 3.0, "seed": 0}
RATIOS = partial(Ratios, ratios=[1, 0.5, 0])


@pytest.fixture
def warm_job(make_job):
    def make(directory: str = "run", sharing=Independent, **changes) -> Job:
        work = [3, 2, 0] if sharing is Independent else None
        return replace(
            make_job(directory, **changes),
            backbone=partial(ESPCN, 2, residual="bicubic"),
            shared=partial(sharing, seed=0),
            sampler=partial(Turns, step_shares=work, **BUDGET),
            start=Start(0.5, RATIOS, **BUDGET),
        )

    return make


def tensors(job: Job) -> list[dict[str, torch.Tensor]]:
    return [network.state_dict() for network in load_networks(job.directory / WEIGHTS)[0]]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_chunks_are_made_with_the_one_network_which_a_chunk_without_work_keeps(
    warm_job, make_job
) -> None:
    job = warm_job()
    metrics = train(job)
    networks, _ = load_networks(job.directory / WEIGHTS)
    labels, network_of = read_chunks(job.directory)
    assert network_of == [0, 1, 2]
    data, grid = job.data, job.data.grid
    one = Reconstructor(networks, [2], grid, torch.device("cpu"))  # chunk 2 had no work
    for t in range(6):
        sr = grid.assemble(one.patches(np.asarray(data.video.lr[t]), 0 * labels[t]))
        for patch, (y, x) in enumerate(grid.origins * 2):
            area = slice(y, y + 2 * grid.patch_h), slice(x, x + 2 * grid.patch_w)
            error = np.square(sr[area].astype(float) - data.video.hr[t][area]).mean()
            assert data.scores[t].ravel()[patch] == pytest.approx(float(psnr(error)), abs=1e-3)
    assert np.array_equal(labels, by_score(data.scores, 3))
    straight = make_job("straight")
    straight.data.setup()
    assert not np.array_equal(labels, straight.data.labels), "bicubic would have split otherwise"
    first, _ = read_safetensors(job.directory / START_WEIGHTS)
    assert [same(first, network) for network in tensors(job)] == [False, False, True]
    assert metrics["patch_presentations"] == sum(metrics["chunk_presentations"])
    assert metrics["patch_presentations"] == pytest.approx(3 * metrics["patches"], abs=4)
    assert (metrics["branch_step"], metrics["ratios"][2]) == (metrics["steps"] // 2, 0)
    assert metrics["step_shares"] == pytest.approx([0.6, 0.4, 0], abs=0.05)


def test_the_first_phase_is_the_fit_of_one_network(warm_job) -> None:
    """The first half of its learning-rate curve, by the ratios of bicubic's chunks; against a loop
    of plain PyTorch."""
    job = warm_job()
    train(job)
    data, sharing = warm_job("other").data, Single(job.backbone, 3)
    data.setup()
    label_N = data.labels.ravel().astype(np.int64)
    first = Ratios(label_N, 0 * label_N, batch=4, passes=1.5, seed=0, ratios=[1, 0.5, 0])
    batches = PatchBatches(data.video, data.grid, data.labels, first, 0, 1)
    optimizer = torch.optim.Adam(sharing.parameters(), lr=1e-3)
    schedule = job.schedule(optimizer, steps=round(3.0 * len(label_N) / 4))
    for step in range(first.steps):
        batch = batches[step]
        sr = sharing(batch["lr"].permute(0, 3, 1, 2) / 255, batch["chunk"])
        loss = (sr - batch["hr"].permute(0, 3, 1, 2) / 255).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    for name, tensor in sharing.network(0).state_dict().items():
        torch.testing.assert_close(tensor, tensors(job)[2][name], rtol=1e-3, atol=2e-5)


MIXED = partial(Independent, bicubic_chunks=1)
SHARINGS = [
    Independent,
    *(pytest.param(each, marks=pytest.mark.slow) for each in (MIXED, Modulated, LowRank)),
]


@pytest.mark.parametrize("sharing", SHARINGS)
def test_killed_anywhere_it_resumes_to_the_same_weights(
    warm_job, monkeypatch: pytest.MonkeyPatch, sharing
) -> None:
    straight = warm_job("straight", sharing)
    metrics = train(straight)
    phases = [metrics["branch_step"], metrics["steps"] - metrics["branch_step"]]
    read = PatchBatches.__getitem__
    for die_in, die_at in ((0, phases[0] - 1), (1, 0), (1, phases[1] - 1)):
        name = f"killed{die_in}-{die_at}"
        with monkeypatch.context() as patch:

            def dying(self, step, die=(bool(die_in), die_at)):
                if (not self._sampler.SIDE_BY_SIDE, step) == die:
                    raise KeyError("killed")
                return read(self, step)

            patch.setattr(PatchBatches, "__getitem__", dying)
            with pytest.raises(KeyError):
                train(warm_job(name, sharing, checkpoint_seconds=0.0))
        checkpoints = {
            (straight.directory.parent / name / file).exists()
            for file in (START_SCORES, START_WEIGHTS)
        }
        assert checkpoints == {die_in == 1}, "they are what ends the first phase"
        shown: list[tuple[bool, int]] = []
        with monkeypatch.context() as patch:
            patch.setattr(
                PatchBatches,
                "__getitem__",
                lambda self, step, s=shown: (
                    s.append((not self._sampler.SIDE_BY_SIDE, step)) or read(self, step)
                ),
            )
            train(warm_job(name, sharing, checkpoint_seconds=0.0))
        began = shown[0][1]
        # From the block that it was killed in
        assert shown[0][0] == bool(die_in) and die_at - 10 < began <= die_at
        first = [] if die_in else [(False, step) for step in range(began, phases[0])]
        assert shown == first + [(True, step) for step in range(began if die_in else 0, phases[1])]
        killed = warm_job(name, sharing)
        assert all(same(*each) for each in zip(tensors(straight), tensors(killed), strict=True)), (
            die_at
        )
        assert np.array_equal(read_chunks(killed.directory)[0], read_chunks(straight.directory)[0])


def test_a_chunk_without_a_network_leaves_its_steps_and_operations_to_the_others(warm_job) -> None:
    metrics = train(warm_job(sharing=MIXED))
    networks, _ = load_networks(warm_job().directory / WEIGHTS)
    labels, network_of = read_chunks(warm_job().directory)
    assert network_of == [0, 1, -1] and len(networks) == 2
    assert len(metrics["step_shares"]) == 2 and sum(metrics["step_shares"]) == pytest.approx(1)
    assert metrics["patch_presentations"] == pytest.approx(3 * metrics["patches"], abs=4)
    espcn = sum(i * o * 9 for i, o in ((3, 64), (64, 64), (64, 32), (32, 12))) + 300
    served = (labels < 2).sum()
    mean = 120 * (espcn * served + 300 * (labels == 2).sum()) / len(labels)
    assert metrics["macs_per_frame"] == pytest.approx(mean, abs=1)


def test_killed_while_it_scores_it_scores_again(warm_job, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            "stdo.pipeline.fit._score", lambda *_: (_ for _ in ()).throw(KeyError("killed"))
        )
        with pytest.raises(KeyError):
            train(warm_job("killed"))  # whose checkpoints are half a minute apart
    read, shown = PatchBatches.__getitem__, []
    with monkeypatch.context() as patch:
        patch.setattr(
            PatchBatches, "__getitem__", lambda self, step: shown.append(step) or read(self, step)
        )
        metrics = train(warm_job("killed"))
    assert shown == list(range(metrics["steps"] - metrics["branch_step"])), (
        "the first phase was at its end"
    )
    train(warm_job("straight"))
    assert all(
        same(*each)
        for each in zip(tensors(warm_job("straight")), tensors(warm_job("killed")), strict=True)
    )


def test_what_the_first_phase_left_is_checked(warm_job) -> None:
    job = warm_job("run")
    train(job)
    (job.directory / "metrics.json").unlink()
    (job.directory / WEIGHTS).unlink()
    weights, _ = read_safetensors(job.directory / START_WEIGHTS)
    write_safetensors(job.directory / START_WEIGHTS, dict(list(weights.items())[1:]), {})
    with pytest.raises(UserError, match=r"start.safetensors: holds another network"):
        train(warm_job("run"))
    write_safetensors(job.directory / START_WEIGHTS, weights, {})
    scores = read_safetensors(job.directory / START_SCORES)[0]["scores"]
    for harmed in ({"scores": scores[:3]}, {"other": scores}, None):
        if harmed is None:
            (job.directory / START_SCORES).write_bytes(b"none")
        else:
            write_safetensors(job.directory / START_SCORES, harmed, {"seconds": "1"})
        with pytest.raises(UserError, match=r"scores.safetensors: (holds scores of \(3, |damaged)"):
            train(warm_job("run"))


def test_the_curve_counts_on_through_both_phases(warm_job) -> None:
    job = warm_job()
    metrics = train(job)
    rows = [line.split(",") for line in (job.directory / "curves.csv").read_text().splitlines()[1:]]
    steps, shown, seconds = ([float(row[at]) for row in rows] for at in (0, 1, 2))
    assert (
        steps == sorted(set(steps))
        and steps[-1] == metrics["steps"]
        and metrics["branch_step"] in steps
    )
    assert shown == [4 * step for step in steps] and shown[-1] == metrics["patch_presentations"]
    assert seconds == sorted(seconds) and seconds[-1] <= metrics["seconds"]["train"] + 1e-6
    assert json.loads((job.directory / "metrics.json").read_text()) == metrics
    assert (
        not (job.directory / START_CHECKPOINT).exists()
        and not (job.directory / CHECKPOINT).exists()
    )


def test_chunks_keep_their_sizes_where_thresholds_fit_no_score_of_the_first_network(
    warm_job, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def job(**more: Any) -> Any:
        made = warm_job(chunks=2, optimizer=partial(torch.optim.Adam, lr=0.5), **more)
        return replace(made, sampler=partial(Turns, **BUDGET), start=Start(0.5, Uniform, **BUDGET))

    plain = job()
    plain.data.prepare_data()
    best = float(plain.data.scores.max())  # which a network that learns too fast loses
    split = partial(by_score, thresholds=[best])
    with monkeypatch.context() as patch:
        patch.setattr("stdo.pipeline.fit.save", Mock(side_effect=OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            train(job(split=split))
    for _ in range(2):  # and when it resumes, and when it is finished
        made = job(split=split)
        metrics = train(made)
    said = "leave chunk 1 without patches; .* by the network of the first phase .* keeps its number"
    assert len(re.findall(said, capsys.readouterr().err)) == 2, "by the command that was killed too"
    label_N, first_N = read_chunks(made.directory)[0].ravel(), split(plain.data.scores, 2).ravel()
    assert np.bincount(label_N).tolist() == np.bincount(first_N).tolist()
    assert metrics["chunks"] == 2 and len(tensors(made)) == 2


def test_phases_lie_apart_and_a_run_that_begins_anew_keeps_nothing_of_before(warm_job) -> None:
    logger = {"_target_": "pytorch_lightning.loggers.CSVLogger"}
    own = Options(callbacks=lambda folder: [ModelCheckpoint(folder)], profiler="simple")
    job = replace(
        warm_job(options=own), tracker=tracker_of(OmegaConf.create({"logger": {"own": logger}}), {})
    )
    folder = job.directory

    def made() -> dict[str, int]:
        found = (path for name in ("kept", "loggers", "fit-*") for path in folder.glob(name))
        files = (path for each in found for path in [each, *each.rglob("*")] if path.is_file())
        return {str(path.relative_to(folder)): path.stat().st_ino for path in files}

    train(job)
    before = made()
    assert {"fit-profile-simple-phase-1.txt", "fit-profile-simple-phase-2.txt"} <= before.keys()
    kept = sorted(name.rpartition("/")[0] for name in before if name.endswith(".ckpt"))
    assert kept == ["kept/phase-1", "kept/phase-2"]
    assert any(name.startswith("loggers/own/") for name in before)
    for name in before:
        (folder / name).with_name("old").write_text("of before")

    train(replace(job, start=None, options=replace(own, profiler=None)), force=True)
    after = made()
    assert not any(name.startswith("fit-") or "phase" in name for name in after)
    assert sum(name.endswith(".ckpt") for name in after) == 1
    assert not any(name.endswith("/old") for name in after)
