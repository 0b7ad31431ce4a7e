"""Muon against numpy's singular values, PyTorch's own Muon and Adam, and a layer that learns."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from stdo.models.lowrank import LowRank
from stdo.models.modulated import Modulated
from stdo.models.registry import build
from stdo.models.sharing import Independent, Single
from stdo.training.module import filters_of
from stdo.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(4, 12), (12, 4), (7, 7), (1, 9)])
def test_steps_keep_the_singular_vectors_and_have_singular_values_near_one(
    shape: tuple[int, int],
) -> None:
    matrices = torch.from_numpy(np.random.default_rng(0).normal(size=(3, *shape))).float()
    for before, after in zip(
        matrices.double().numpy(), orthogonal(matrices).double().numpy(), strict=True
    ):
        u, _, vt = np.linalg.svd(before, full_matrices=False)
        inside = u.T @ after @ vt.T
        assert np.abs(inside - np.diag(np.diag(inside))).max() < 1e-3
        assert np.diag(inside).min() > 0.5 and np.diag(inside).max() < 1.3
    assert not orthogonal(torch.zeros(1, *shape)).any(), "nothing to learn, no step"
    assert torch.allclose(orthogonal(matrices * 1e-6), orthogonal(matrices), atol=1e-4), (
        "whatever the loss's scale"
    )


def _same(one: torch.Tensor, other: torch.Tensor, within: float) -> bool:
    return bool((one - other).norm() <= within * one.norm())


@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_matrices_move_as_with_pytorchs_muon(shape: tuple[int, int]) -> None:
    """Theirs rounds to bfloat16 within the iteration: a few per cent of a step."""
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.zeros(shape)) for _ in range(2))
    mine = Muon([{"filters": True, "params": [ours]}], lr=0.1, adam_lr=1.0, momentum=0.8)
    other = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.0, momentum=0.8)
    for _ in range(5):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        mine.step()
        other.step()
    assert _same(ours.detach(), theirs.detach(), 0.05)


def test_the_rest_moves_as_with_adam() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(30)) for _ in range(2))
    mine = Muon(
        [{"filters": True, "params": []}, {"filters": False, "params": [ours]}],
        lr=1.0,
        adam_lr=0.01,
    )
    other = torch.optim.Adam([theirs], lr=0.01)
    for _ in range(20):
        ours.grad = torch.randn(30)
        theirs.grad = ours.grad.clone()
        mine.step()
        other.step()
    torch.testing.assert_close(ours, theirs)


def test_networks_side_by_side_move_as_alone_and_what_has_no_gradient_rests() -> None:
    torch.manual_seed(0)
    together = [nn.Parameter(torch.randn(8, 3, 3, 3)) for _ in range(3)]
    alone = copy.deepcopy(together)
    gradients = [torch.randn(8, 3, 3, 3), None, torch.randn(8, 3, 3, 3)]
    optimizers = [
        Muon([{"filters": True, "params": params}], lr=0.1, adam_lr=1.0)
        for params in (together, *[[p] for p in alone])
    ]
    for p, q, gradient in zip(together, alone, gradients, strict=True):
        p.grad = q.grad = gradient
    before = together[1].detach().clone()
    for optimizer in optimizers:
        optimizer.step()
    for p, q in zip(together, alone, strict=True):
        torch.testing.assert_close(p, q)
    assert torch.equal(together[1], before)
    assert not optimizers[0].state[together[1]]


@pytest.mark.parametrize("name", ["espcn", "wdsr"])
def test_filters_are_the_convolutions_banks_and_low_rank_factors_and_nothing_else(
    name: str,
) -> None:
    for sharing in (
        Single(lambda: build(name, 2), 2),
        Independent(lambda: build(name, 2), 2),
        Modulated(lambda: build(name, 2), 2),
        LowRank(lambda: build(name, 2), 2),
    ):
        found = {id(p) for p in filters_of(sharing)}
        for key, p in sharing.named_parameters():
            bank, factor = (
                key.endswith("original1" if name == "wdsr" else "weight"),
                key.startswith("factors."),
            )
            assert (id(p) in found) == (bank or factor), key
            assert p.ndim == (4 if bank else 2) or not (bank or factor)


def test_it_goes_on_from_what_it_saved() -> None:
    def fresh() -> tuple[list[nn.Parameter], Muon]:
        torch.manual_seed(0)
        params = [nn.Parameter(torch.randn(4, 3, 3, 3)), nn.Parameter(torch.randn(4))]
        groups = [{"filters": True, "params": params[:1]}, {"filters": False, "params": params[1:]}]
        return params, Muon(groups, lr=0.1, adam_lr=0.01)

    def walk(params: list[nn.Parameter], optimizer: Muon, steps: range) -> None:
        for step in steps:
            rng = torch.Generator().manual_seed(step)
            for p in params:
                p.grad = torch.randn(p.shape, generator=rng)
            optimizer.step()

    straight, optimizer = fresh()
    walk(straight, optimizer, range(6))
    params, first = fresh()
    walk(params, first, range(3))
    _, second = fresh()
    second.param_groups[0]["params"], second.param_groups[1]["params"] = params[:1], params[1:]
    second.load_state_dict(first.state_dict())
    walk(params, second, range(3, 6))
    for p, q in zip(straight, params, strict=True):
        assert torch.equal(p, q)
