"""Learning rate and precision."""

import math

import pytest
import torch

from stdo.training.precision import cpu_has_bf16, resolve
from stdo.training.schedule import cosine


def rates(steps: int, warmup: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = cosine(optimizer, steps, warmup)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_without_warmup_it_is_torchs_cosine() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    for rate in rates(20, 0.0):
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        torchs.step()


def test_a_short_fit_takes_less_than_the_full_rate() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    assert cosine(optimizer, 250, full_steps=1000).get_last_lr() == [pytest.approx(1.0)]
    assert cosine(optimizer, 1000, full_steps=1000).get_last_lr() == [pytest.approx(2.0)]
    assert cosine(optimizer, 5000, full_steps=1000).get_last_lr() == [pytest.approx(2.0)]


def test_with_warmup_it_rises_and_then_decays() -> None:
    seen = rates(40, 0.25)
    top = seen.index(max(seen))
    assert 8 <= top <= 10
    assert seen[: top + 1] == sorted(seen[: top + 1])
    assert seen[top:] == sorted(seen[top:], reverse=True)
    assert seen[0] == pytest.approx(2.0 / 10)
    assert seen[-1] < 0.01
    assert all(map(math.isfinite, rates(1, 0.1)))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_precision_that_is_named_is_taken(precision: str) -> None:
    assert resolve(precision, "cpu") == precision


def test_auto_follows_the_hardware() -> None:
    assert resolve("auto", "cpu") == ("bf16-mixed" if cpu_has_bf16() else "32-true")
