"""Meta-learning: Reptile against numpy, its tasks, a start from which few steps lead farther, and
EMT from such a start."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_job import tiny_clip
from torch import nn

from stdo.chunks.tasks import Tasks
from stdo.core.types import UserError
from stdo.training.reptile import Reptile

LABELS = np.repeat(np.arange(3), (20, 12, 16))
ROOT = Path(__file__).parents[2]


def test_it_goes_a_share_of_the_way_of_adam_on_each_task() -> None:
    rng = np.random.default_rng(0)
    ours = nn.Parameter(torch.from_numpy(rng.normal(size=7)))
    start = ours.detach().numpy().copy()
    optimizer = Reptile([{"params": [ours]}], lr=0.1, inner=3, outer=0.25)
    square = np.zeros(7)
    for task in range(4):
        fast, mean = start.copy(), np.zeros(7)
        for step in (1, 2, 3):
            gradient = rng.normal(size=7)
            ours.grad = torch.from_numpy(gradient.copy())
            optimizer.step()
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            step_of_adam = 0.1 * mean / (1 - 0.9**step)
            fast -= step_of_adam / (np.sqrt(square / (1 - 0.999 ** (3 * task + step))) + 1e-8)
            if step < 3:
                np.testing.assert_allclose(ours.detach().numpy(), fast, rtol=1e-6)
        start += 0.25 * (fast - start)
        np.testing.assert_allclose(ours.detach().numpy(), start, rtol=1e-6)


def test_a_state_that_was_saved_goes_on_the_same_way() -> None:
    gradients = torch.randn(10, 5, generator=torch.Generator().manual_seed(0))

    def moved(stop: int | None) -> torch.Tensor:
        parameter = nn.Parameter(torch.zeros(5))
        optimizer = Reptile([parameter], lr=0.1, inner=4, outer=0.5)
        for step, gradient in enumerate(gradients):
            if step == stop:
                held = optimizer.state_dict()
                optimizer = Reptile([parameter], lr=0.1, inner=4, outer=0.5)
                optimizer.load_state_dict(held)
            parameter.grad = gradient.clone()
            optimizer.step()
        return parameter.detach()

    assert all(torch.equal(moved(None), moved(stop)) for stop in (3, 4, 6))


def test_few_steps_from_the_start_lead_farther_than_from_elsewhere() -> None:
    """Tasks: one line each through a point of its own; what they share is the slope."""
    generator = torch.Generator().manual_seed(0)

    def loss(parameter: torch.Tensor, offset: float) -> torch.Tensor:
        x = torch.randn(16, generator=generator)
        return (parameter[0] * x + parameter[1] - (3 * x + offset)).square().mean()

    start = nn.Parameter(torch.zeros(2))
    optimizer = Reptile([start], lr=0.1, inner=5, outer=0.2)
    for task in range(200):
        for _ in range(5):
            optimizer.zero_grad()
            loss(start, (-1.0) ** task).backward()
            optimizer.step()
    assert start.detach().numpy() == pytest.approx([3, 0], abs=0.25)


def test_each_turn_has_one_task_and_all_tasks_come_equally_often() -> None:
    sampler = Tasks(LABELS, 0 * LABELS, batch=2, passes=8.0, seed=1, inner=5)
    assert sampler.steps == 190 and sampler.at_once == 1
    turns = [
        {int(label) for step in range(at, at + 5) for label in LABELS[sampler.batch(step)]}
        for at in range(0, sampler.steps, 5)
    ]
    assert all(len(turn) == 1 for turn in turns)
    order = [turn.pop() for turn in turns]
    assert all(sorted(order[at : at + 3]) == [0, 1, 2] for at in range(0, 36, 3))
    assert len({tuple(order[at : at + 3]) for at in range(0, 36, 3)}) > 2, "in orders of their own"
    shown = np.concatenate([sampler.batch(step) for step in range(sampler.steps)])
    for task in range(3):
        counts = np.bincount(shown[LABELS[shown] == task], minlength=48)[task == LABELS]
        assert counts.max() - counts.min() <= 1
    assert sum(sampler.facts["step_shares"]) == pytest.approx(1)


def test_a_budget_without_a_whole_turn_is_named() -> None:
    with pytest.raises(
        UserError, match=r"budget.passes=0.1: must be at least 0.337 .*, sampler.inner=8"
    ):
        Tasks(LABELS, 0 * LABELS, batch=2, passes=0.1, seed=0)
    with pytest.raises(UserError, match="sampler=tasks: needs one network"):
        Tasks(LABELS, LABELS, batch=2, passes=5.0, seed=0)


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A training of a tiny clip by the command line."""
    return subprocess.run(
        [
            sys.executable, "-m", "stdo.train", "backbone=espcn", "chunks=2", "trainer=cpu",
            "patches.height=12", "patches.width=16", "budget.passes=4", *words,
        ],
        cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip


@pytest.mark.slow
def test_a_start_of_other_videos_is_adapted_and_one_of_another_network_refused(
    tmp_path: Path,
) -> None:
    others = [str(tiny_clip(tmp_path / f"{seed}.mkv", seed)) for seed in (1, 2)]
    joined = f"video.paths=[{','.join(others)}]"
    made = command(tmp_path, "method=reptile", "scale=2", "video=joined", joined)
    assert made.returncode == 0, made.stderr
    (start,) = tmp_path.glob("outputs/*/reptile-*/weights.safetensors")
    clip = f"video.path={tiny_clip(tmp_path / 'clip.mkv', 3)}"
    emt = ("method=emt", clip, "sampler.trial=0.3", "sampler.hardest=0.5")
    done = command(tmp_path, *emt, "scale=2", f"init.weights={start}", "deliver=true")
    assert done.returncode == 0, done.stderr
    assert "changes" in done.stdout
    for words, said in (
        (["scale=4"], "holds 1 x espcn at scale 2; one espcn at scale 4 is needed"),
        (["scale=2", "backbone=srcnn"], "one srcnn at scale 2 is needed"),
        (["scale=2", "init.weights=none.st"], "no such weights file"),
    ):
        refused = command(tmp_path, *emt, f"init.weights={start}", *words)
        assert refused.returncode == 2 and "decode" not in refused.stderr
        assert said in refused.stderr and refused.stderr.strip().count("\n") <= 1
    missing = command(tmp_path, *emt, "scale=2")
    assert missing.returncode == 2 and "init.weights: must be given" in missing.stderr
