"""A network that is trained chunk after chunk: against a loop of plain PyTorch, killed anywhere, at
equal work."""

import json
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.func import functional_call

from stdo.chunks.inorder import InOrder
from stdo.chunks.split import by_time
from stdo.core.types import UserError
from stdo.models.backbones.espcn import ESPCN
from stdo.models.chain import Chain
from stdo.models.sharing import Independent, Single
from stdo.models.weights import load_networks, read_safetensors, write_safetensors
from stdo.pipeline.chain import check_chain
from stdo.pipeline.steps import WEIGHTS, Job, train
from stdo.runs.directory import CHAIN
from stdo.training.data import PatchBatches
from stdo.training.options import Limit, Options

BUDGET = {"batch": 4, "passes": 3.0, "seed": 0}
SRVC = partial(Chain, fraction=0.05)
HARDEST = {"trial": 0.25, "hardest": 0.3, "look_every": 2}
EMT = partial(Chain, fraction=0.2, choose="gradient")


@pytest.fixture
def chain_job(make_job):
    def make(directory: str = "run", sharing=SRVC, sampler=None, **changes) -> Job:
        settings = {"trial": 0.25} if sampler is None else sampler
        return replace(
            make_job(directory, split=by_time, sharing=sharing, **changes),
            sampler=partial(InOrder, **settings, **BUDGET),
        )

    return make


def tensors(job: Job) -> list[dict[str, torch.Tensor]]:
    return [network.state_dict() for network in load_networks(job.directory / WEIGHTS)[0]]


def flat(state: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in state.values()])


def fitted(job: Job, weights, mask, steps, lr: float = 1e-3):
    """Adam in plain PyTorch over some of the sampler's steps, on the weights under a mask. Returns
    the weights, and the sums of absolute gradients."""
    data, network = job.data, ESPCN(2)
    label_N = data.labels.ravel().astype(np.int64)
    batches = PatchBatches(
        data.video, data.grid, data.labels, job.sampler(label_N, 0 * label_N), 0, 1
    )
    state = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    masks = dict(zip(state, torch.split(mask, [t.numel() for t in state.values()]), strict=True))
    optimizer = torch.optim.Adam(state.values(), lr=1e-3)
    schedule = job.schedule(optimizer, steps=len(steps))
    sums = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    for step in steps:
        batch = batches[step]
        sr = functional_call(network, state, batch["lr"].permute(0, 3, 1, 2) / 255)
        loss = (sr - batch["hr"].permute(0, 3, 1, 2) / 255).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        for name, tensor in state.items():
            sums[name] += tensor.grad.abs()
            tensor.grad *= masks[name].view_as(tensor)
        if lr:
            optimizer.step()
            schedule.step()
    return {name: tensor.detach() for name, tensor in state.items()}, flat(sums)


@pytest.mark.parametrize("sharing", [SRVC, pytest.param(EMT, marks=pytest.mark.slow)])
def test_each_network_is_what_a_loop_of_plain_pytorch_makes_of_the_one_before(
    chain_job, sharing
) -> None:
    job = chain_job(sharing=sharing)
    train(job)
    networks, fraction = tensors(job), sharing.keywords["fraction"]
    whole = job.sampler(
        job.data.labels.ravel().astype(np.int64), np.zeros(job.data.labels.size, int)
    )
    state = dict(Single(job.backbone, 1).network(0).state_dict())
    size, first = flat(state).numel(), 0
    everything = torch.ones(size)
    for chunk, steps in enumerate(whole.network_steps):
        mask, trial = everything, whole.trial_steps(chunk)
        assert (trial > 0) == (chunk > 0)
        if trial:
            still = sharing is EMT
            moved, sums = fitted(
                job, state, everything, range(first, first + trial), 0 if still else 1e-3
            )
            importance = sums if still else (flat(moved) - flat(state)).abs()
            chosen = importance.argsort(descending=True)[: round(fraction * size)]
            mask = torch.zeros(size)
            changed = flat(networks[chunk]) != flat(networks[chunk - 1])
            assert changed.sum() <= round(fraction * size)
            # Those at the edge of the choice may differ by rounding
            assert changed[chosen].float().mean() > 0.97
            mask[changed] = 1
        state, _ = fitted(job, state, mask, range(first + trial, first + steps))
        for name, tensor in networks[chunk].items():
            torch.testing.assert_close(tensor, state[name], rtol=1e-3, atol=3e-5)
        state, first = networks[chunk], first + steps


def test_equal_work_is_counted_and_told(chain_job, make_job) -> None:
    job = chain_job()
    metrics = train(job)
    one = train(make_job("one", split=by_time, sharing=Single))
    assert metrics["patch_presentations"] == one["patch_presentations"]
    assert sum(metrics["chunk_presentations"]) == metrics["patch_presentations"]
    assert metrics["steps"] == one["steps"] and metrics["equal"] is None
    assert metrics["network_steps"] == sorted(metrics["network_steps"])
    assert metrics["network_steps"][-1] < metrics["steps"], "trials are work that nobody keeps"
    size = metrics["params_base"]
    assert metrics["params_per_chunk"] == round(0.05 * size)
    assert metrics["params"] == size + 2 * round(0.05 * size)
    assert "branch_step" not in metrics and "shortened" not in metrics
    lines = (job.directory / "curves.csv").read_text().splitlines()[1:]
    steps = [int(line.split(",")[0]) for line in lines]
    assert steps == sorted(set(steps)) and steps[-1] == metrics["steps"]


def shown_steps(monkeypatch: pytest.MonkeyPatch, die: int | None = None) -> list[int]:
    """Numbers of the steps of the whole fit, as they are shown; killed before the step ``die``."""
    shown: list[int] = []
    read = PatchBatches.__getitem__

    def reading(self, step):
        number = self._sampler._first + step
        if number == die:
            raise KeyError("killed")
        shown.append(number)
        return read(self, step)

    monkeypatch.setattr(PatchBatches, "__getitem__", reading)
    return shown


KILLED = [
    pytest.param(step, marks=[] if step == 21 else [pytest.mark.slow]) for step in range(0, 40, 3)
]


@pytest.mark.parametrize("die", KILLED)
def test_killed_anywhere_it_resumes_to_the_same_weights(
    chain_job, monkeypatch: pytest.MonkeyPatch, die: int
) -> None:
    train(chain_job("straight", EMT, HARDEST))
    with monkeypatch.context() as patch:
        shown_steps(patch, die)
        with pytest.raises(KeyError):
            train(chain_job("killed", EMT, HARDEST, checkpoint_seconds=0.0))
    with monkeypatch.context() as patch:
        shown = shown_steps(patch)
        metrics = train(chain_job("killed", EMT, HARDEST, checkpoint_seconds=0.0))
    assert shown == list(range(shown[0], metrics["steps"]))
    assert die - 10 < shown[0] <= die, "from the block that it was killed in"
    pairs = zip(tensors(chain_job("straight")), tensors(chain_job("killed")), strict=True)
    assert all(torch.equal(flat(one), flat(other)) for one, other in pairs)


@pytest.mark.slow
def test_killed_between_two_phases_it_repeats_none(chain_job, monkeypatch) -> None:
    train(chain_job("straight"))
    whole = chain_job("straight").data
    whole.setup()
    with monkeypatch.context() as patch:
        ends, end = [], Chain.end

        def dying(self):
            end(self)
            ends.append(self.turn)
            if self.turn == 1:
                raise KeyError("killed")

        patch.setattr(Chain, "end", dying)
        with pytest.raises(KeyError):
            train(chain_job("killed"))
    assert ends == [0, 1]
    train(chain_job("killed"))
    pairs = zip(tensors(chain_job("straight")), tensors(chain_job("killed")), strict=True)
    assert all(torch.equal(flat(one), flat(other)) for one, other in pairs)


def test_what_earlier_phases_left_is_checked(chain_job, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        shown_steps(patch, 30)
        with pytest.raises(KeyError):
            train(chain_job())
    kept = chain_job().directory / CHAIN
    held, meta = read_safetensors(kept)
    harmed = [
        ({name: t for name, t in held.items() if not name.startswith("base.")}, meta),
        ({name: t for name, t in held.items() if not name.startswith("update.")}, meta),
        ({name: t[:1] for name, t in held.items()}, meta),
        (held, {**meta, "done": "many"}),
        (held, {**meta, "done": json.dumps([1] * 99)}),
        (held, {}),
    ]
    for wrong in harmed:
        write_safetensors(kept, *wrong)
        with pytest.raises(UserError, match=r"chain.safetensors: damaged, or of other phases"):
            train(chain_job())
    kept.write_bytes(b"none")
    with pytest.raises(UserError, match=r"chain.safetensors: damaged"):
        train(chain_job())


@pytest.mark.slow
def test_weight_norm_ends_with_the_first_chunk(chain_job) -> None:
    """So that an update of WDSR changes no more weights than it may."""
    from stdo.models.backbones.wdsr import WDSR

    job = chain_job(sharing=partial(SRVC, fraction=0.01), backbone=partial(WDSR, 2))
    slow = partial(torch.optim.Adam, lr=1e-5)
    job = replace(job, optimizer=slow, options=Options(limit=Limit.of({"limit_train_batches": 2})))
    metrics = train(job)
    assert metrics["shortened"] == "trainer.limit_train_batches=2"
    networks = [flat(state) for state in tensors(job)]
    for before, after in pairwise(networks):
        assert 0 < (before != after).sum() <= round(0.01 * len(before))


def test_the_patches_with_the_largest_errors_are_shown(chain_job) -> None:
    job = chain_job(sharing=EMT, sampler=HARDEST)
    train(job)
    data, networks = job.data, load_networks(job.directory / WEIGHTS)[0]
    count = max(1, round(0.3 * data.grid.patches))
    first = Single(job.backbone, 1).network(0)
    expected = []
    for chunk, network in enumerate([first, *networks[:2]]):
        for t in np.flatnonzero((data.labels == chunk).all((1, 2)))[::2]:
            padded = data.grid.extract(np.asarray(data.video.lr[t]))
            with torch.no_grad():
                sr = network(torch.from_numpy(padded).permute(0, 3, 1, 2) / 255)
            sr = (sr.clamp(0, 1) * 255).round().permute(0, 2, 3, 1).numpy()
            hr = data.grid.hr.extract(np.asarray(data.video.hr[t]))
            errors = np.square(sr - hr.astype(float)).mean((1, 2, 3))
            expected.append(set(np.argsort(-errors)[:count]))
    held, _ = read_safetensors(job.directory / CHAIN)
    for chunk in range(3):
        frames, places = np.divmod(held[f"shown.{chunk}"].numpy(), data.grid.patches)
        assert set(frames) == set(np.flatnonzero((data.labels == chunk).all((1, 2))))
        for frame in frames:
            assert len(set(places[frames == frame]) & expected[chunk]) >= count - 1
    label_N = data.labels.ravel().astype(np.int64)
    shown = json.loads((job.directory / "metrics.json").read_text())["chunk_presentations"]
    assert sum(shown) == pytest.approx(3 * len(label_N), abs=4)


@pytest.mark.parametrize(
    ("shared", "sampler", "chunking", "warm", "said"),
    [
        (Independent, {"trial": 0.2}, "time", False, "sampler=inorder: must be another one"),
        (SRVC, None, "time", False, "sharing=chain: needs sampler=inorder"),
        (SRVC, {"trial": 0.2}, "score", False, "chunking=score: must be time"),
        (SRVC, {"trial": 0.2}, "time", True, "init=warm: must be scratch or general"),
        (SRVC, {"trial": 0}, "time", False, "sampler.trial=0: must be more than 0"),
        (partial(Chain, fraction=1), {"trial": 0.2}, "time", False, "sampler.trial=0.2: must be 0"),
    ],
)
def test_parts_that_do_not_belong_together_are_named(shared, sampler, chunking, warm, said) -> None:
    from stdo.chunks.sample import Uniform

    made = partial(Uniform) if sampler is None else partial(InOrder, **sampler)
    with pytest.raises(UserError, match=said):
        check_chain(partial(shared, seed=0), made, chunking, warm)
