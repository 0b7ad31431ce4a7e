"""A fit that branches: what the branches start from, what is scored, equal work, and killing it anywhere."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from stdo.chunks.branch import Branching, Turns
from stdo.chunks.sample import Ratios
from stdo.chunks.score import psnr
from stdo.chunks.split import by_score
from stdo.evaluation.reconstruct import Reconstructor
from stdo.models.backbones.espcn import ESPCN
from stdo.models.lowrank import LowRank
from stdo.models.modulated import Modulated
from stdo.models.sharing import Independent, Single
from stdo.models.weights import load_networks
from stdo.pipeline.steps import WEIGHTS, Job, train
from stdo.runs.directory import read_chunks
from stdo.training.data import PatchBatches
from stdo.training.module import Overfit
from stdo.training.warm import Branch

BUDGET = {"batch": 4, "passes": 3.0, "seed": 0}


@pytest.fixture
def warm_job(make_job):
    def make(directory: str = "run", sharing=Independent, **changes) -> Job:
        work = [3, 2, 0] if sharing is Independent else None
        return replace(
            make_job(directory, **changes),
            sharing=partial(sharing, partial(ESPCN, 2, residual="bicubic"), seed=0),
            sampler=partial(Turns, work=work, **BUDGET),
            warm=partial(Branching, share=0.5, first=partial(Ratios, ratios=[1, 0.5, 0]), **BUDGET),
        )

    return make


def tensors(job: Job) -> list[dict[str, torch.Tensor]]:
    return [network.state_dict() for network in load_networks(job.directory / WEIGHTS)[0]]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_chunks_are_made_with_the_one_network_which_a_chunk_without_work_keeps(warm_job, make_job) -> None:
    job = warm_job()
    metrics = train(job)
    networks, _ = load_networks(job.directory / WEIGHTS)
    labels, network_of = read_chunks(job.directory)
    assert network_of == [0, 1, 2]
    data, grid = job.data, job.data.grid
    one = Reconstructor(networks, [2], grid, 2, torch.device("cpu"))  # chunk 2 had no work
    for t in range(6):
        sr = grid.assemble(one.patches(np.asarray(data.video.lr[t]), 0 * labels[t]), 2)
        for patch, (y, x) in enumerate(grid.origins * 2):
            area = slice(y, y + 2 * grid.patch_h), slice(x, x + 2 * grid.patch_w)
            error = np.square(sr[area].astype(float) - data.video.hr[t][area]).mean()
            assert data.scores[t].ravel()[patch] == pytest.approx(float(psnr(error)), abs=1e-3)
    assert np.array_equal(labels, by_score(data.scores, 3))
    straight = make_job("straight")
    straight.data.setup()
    assert not np.array_equal(labels, straight.data.labels), "bicubic would have split otherwise"
    assert not same(tensors(job)[0], tensors(job)[2])
    assert not same(tensors(job)[0], tensors(job)[1])
    assert metrics["patch_presentations"] == sum(metrics["chunk_presentations"])
    assert metrics["patch_presentations"] == pytest.approx(3 * metrics["patches"], abs=4)
    assert (metrics["branch_step"], metrics["ratios"][2]) == (metrics["steps"] // 2, 0)
    assert metrics["work"] == pytest.approx([0.6, 0.4, 0], abs=0.05)


def test_until_it_branches_it_is_the_fit_of_one_network(warm_job) -> None:
    """The network that a chunk without work keeps is the one of a fit without branches, stopped there."""
    job = warm_job()
    train(job)
    data, sharing = warm_job("other").data, Single(partial(ESPCN, 2, residual="bicubic"), 3)
    data.setup()
    label_N = data.labels.ravel().astype(np.int64)
    first = Ratios(label_N, 0 * label_N, batch=4, passes=1.5, seed=0, ratios=[1, 0.5, 0])
    batches = PatchBatches(data.video, data.grid, data.labels, first, 0, 1)
    steps = round(3.0 * len(label_N) / 4)
    optimizer = torch.optim.Adam(sharing.parameters(), lr=1e-3)
    schedule = job.schedule(optimizer, steps=steps)
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


MIXED = partial(Independent, bicubic=1)
SHARINGS = [Independent, MIXED, *(pytest.param(each, marks=pytest.mark.slow) for each in (Modulated, LowRank))]


@pytest.mark.parametrize("sharing", SHARINGS)
def test_killed_anywhere_it_goes_on_to_the_same_weights(warm_job, monkeypatch: pytest.MonkeyPatch, sharing) -> None:
    straight = warm_job("straight", sharing)
    here, steps = train(straight)["branch_step"], train(straight)["steps"]
    read = PatchBatches.__getitem__
    for die_at in (here - 1, here, here + 1):
        name = f"killed{die_at}"
        with monkeypatch.context() as patch:

            def dying(self, step, die_at=die_at):
                if step == die_at:
                    raise KeyError("killed")
                return read(self, step)

            patch.setattr(PatchBatches, "__getitem__", dying)
            with pytest.raises(KeyError):
                train(warm_job(name, sharing, checkpoint_seconds=0.0))
        shown: list[int] = []
        with monkeypatch.context() as patch:
            patch.setattr(PatchBatches, "__getitem__", lambda self, step, s=shown: s.append(step) or read(self, step))
            train(warm_job(name, sharing, checkpoint_seconds=0.0))
        assert die_at - 10 < shown[0] <= die_at  # from the block that it was killed in
        assert (shown[0] < here) == (die_at < here)  # which ends where the network branches
        assert shown == list(range(shown[0], steps))
        killed = warm_job(name, sharing)
        assert all(same(*each) for each in zip(tensors(straight), tensors(killed), strict=True)), die_at
        assert np.array_equal(read_chunks(killed.directory)[0], read_chunks(straight.directory)[0])


def test_a_chunk_without_a_network_leaves_its_steps_and_operations_to_the_others(warm_job) -> None:
    metrics = train(warm_job(sharing=MIXED))
    networks, _ = load_networks(warm_job().directory / WEIGHTS)
    labels, network_of = read_chunks(warm_job().directory)
    assert network_of == [0, 1, -1] and len(networks) == 2
    assert len(metrics["work"]) == 2 and sum(metrics["work"]) == pytest.approx(1)
    assert metrics["chunk_presentations"][2] == 0, "none before the branch by ratios, none after it"
    assert metrics["patch_presentations"] == pytest.approx(3 * metrics["patches"], abs=4)
    espcn = sum(i * o * 9 for i, o in ((3, 64), (64, 64), (64, 32), (32, 12))) + 300
    served = (labels < 2).sum()
    mean = 120 * (espcn * served + 300 * (labels == 2).sum()) / len(labels)
    assert metrics["macs_per_frame"] == pytest.approx(mean, abs=1)


def test_killed_while_it_scores_it_scores_again(warm_job, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("stdo.pipeline.fit._score", lambda *_: (_ for _ in ()).throw(KeyError("killed")))
        with pytest.raises(KeyError):
            train(warm_job("killed", checkpoint_seconds=0.0))
    train(warm_job("killed", checkpoint_seconds=0.0))
    train(warm_job("straight"))
    assert all(same(*each) for each in zip(tensors(warm_job("straight")), tensors(warm_job("killed")), strict=True))


def test_branches_begin_as_copies(warm_job, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    branch = Overfit.branch

    def spied(self) -> None:
        before = self.sharing.network(0).state_dict()
        branch(self)
        seen.extend(same(before, self.sharing.network(chunk).state_dict()) for chunk in range(3))

    monkeypatch.setattr(Overfit, "branch", spied)
    train(warm_job())
    assert seen == [True] * 3


def test_a_checkpoint_of_before_the_branch_has_no_scores(warm_job) -> None:
    job = warm_job()
    job.data.setup()
    sharing = job.sharing(3)
    sampler = job.data.sample(partial(job.warm, then=job.sampler), sharing.learner_of(job.data.labels.ravel()))
    callback = Branch(job.data, sampler, sharing.learner_of, lambda *_: pytest.fail("not now"))
    assert callback.state_dict() == {}
    callback.load_state_dict({})
    scores = np.arange(job.data.labels.size, dtype=np.float32).reshape(job.data.labels.shape)
    callback.load_state_dict({"scores": torch.from_numpy(scores)})
    assert torch.equal(callback.state_dict()["scores"], torch.from_numpy(scores))
    assert np.array_equal(job.data.labels, by_score(scores, 3))
