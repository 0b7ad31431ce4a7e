"""Low-rank differences: equal to matrices added in numpy, of the rank that is asked for, small,
trained apart."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from stdo.core.types import UserError
from stdo.models.common import Convolution
from stdo.models.cost import count
from stdo.models.lowrank import LowRank
from stdo.models.registry import BACKBONES, build
from stdo.models.sharing import Single

CHUNKS, RANK = 3, 2


def lowrank(name: str, scale: int = 2, rank: int = RANK) -> LowRank:
    sharing = LowRank(partial(build, name, scale, init="paper"), CHUNKS, seed=5, rank=rank)
    with torch.no_grad():  # as if trained
        for key, parameter in sharing.factors.named_parameters():
            if key.endswith("left"):
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(len(key)))
    return sharing


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return doubles(module.state_dict())


def doubles(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().double().numpy() for name, tensor in tensors.items()}


def added(
    base: dict[str, np.ndarray], layer: str, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """The oracle: the weight of a layer, and for each rank a filter of one column after one of one
    row."""
    weight = base[f"{layer}.weight"]
    outputs, inputs, rows, columns = weight.shape
    for column, row in zip(left.T, right, strict=True):
        weight = weight + np.einsum(
            "oy,ix->oiyx", column.reshape(outputs, rows), row.reshape(inputs, columns)
        )
    return weight


def convs(name: str) -> list[str]:
    return [
        layer for layer, module in build(name, 2).named_modules() if isinstance(module, Convolution)
    ]


@pytest.mark.parametrize("name", BACKBONES)
def test_every_convolution_has_its_difference_added(name: str) -> None:
    sharing = lowrank(name)
    assert sharing.names == convs(name)
    torch.manual_seed(5)
    base = plain = arrays(Single(partial(build, name, 2, init="paper"), 1, seed=5).network(0))
    for chunk in range(CHUNKS):
        network = arrays(sharing.network(chunk))
        assert network.keys() == base.keys()
        for at, layer in enumerate(sharing.names):
            weight = base[f"{layer}.weight"]
            if chunk > 0:
                factors = arrays(sharing.factors[chunk - 1][at])
                weight = added(base, layer, factors["left"], factors["right"])
                assert not np.allclose(weight, base[f"{layer}.weight"], atol=1e-3)
            np.testing.assert_allclose(network[f"{layer}.weight"], weight, atol=1e-5)
            np.testing.assert_array_equal(network[f"{layer}.bias"], plain[f"{layer}.bias"])


@pytest.mark.parametrize("name", BACKBONES)
def test_what_is_sent_makes_the_networks_and_is_balanced(name: str) -> None:
    sharing = lowrank(name)
    parts = sharing.parts()
    plain, deltas = doubles(parts.bases[0]), parts.deltas
    assert deltas[0] == {}, "the first chunk's network is the base"
    for chunk in range(1, CHUNKS):
        network = arrays(sharing.network(chunk))
        assert list(deltas[chunk]) == sharing.names
        for layer, change in deltas[chunk].items():
            outputs, _, rows, _ = network[f"{layer}.weight"].shape
            left, right = np.split(change.double().numpy(), [outputs * rows], axis=1)
            weight = added(plain, layer, left.T, right)
            np.testing.assert_allclose(network[f"{layer}.weight"], weight, atol=1e-5)
            np.testing.assert_array_equal(network[f"{layer}.bias"], plain[f"{layer}.bias"])
            energy = left @ left.T
            np.testing.assert_allclose(energy, right @ right.T, atol=1e-5)
            np.testing.assert_allclose(energy, np.diag(np.diag(energy)), atol=1e-5)
            assert (np.diff(np.diag(energy)) <= 1e-5).all(), "strongest first"


@pytest.mark.parametrize("name", BACKBONES)
def test_starts_as_the_plain_network_and_trains_everything(name: str) -> None:
    factory = partial(build, name, 2)
    sharing, single = LowRank(factory, CHUNKS, seed=5), Single(factory, CHUNKS, seed=5)
    lr, chunk = torch.rand(6, 3, 9, 8), torch.tensor([0, 0, 1, 1, 2, 2])
    torch.testing.assert_close(sharing(lr, chunk), single(lr, chunk), atol=1e-5, rtol=0)
    optimizer = torch.optim.Adam(sharing.parameters(), lr=1e-3)
    target = torch.rand(6, 3, 18, 16)
    for _ in range(3):  # ``left`` starts at 0: gradients reach ``right`` in the second step
        optimizer.zero_grad()
        (sharing(lr, chunk) - target).abs().mean().backward()
        optimizer.step()
    idle = [
        n for n, p in sharing.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert idle == []


def test_a_chunk_that_is_not_shown_rests_while_the_base_moves() -> None:
    sharing = lowrank("espcn")
    sharing(torch.rand(2, 3, 9, 8), torch.tensor([1, 1])).square().mean().backward()
    moved = {name for name, p in sharing.named_parameters() if p.grad is not None}
    assert not any(name.startswith("factors.1.") for name in moved)
    assert {
        name for name, _ in sharing.named_parameters() if not name.startswith("factors.1.")
    } == moved


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("scale", [2, 4])
def test_differences_are_as_large_as_their_rank_says_and_cost_no_arithmetic(
    name: str, scale: int
) -> None:
    sharing, plain = lowrank(name, scale), count(name, scale)
    shapes = [m.weight.shape for m in build(name, scale).modules() if isinstance(m, Convolution)]
    sides = [(outputs * rows, inputs * cols) for outputs, inputs, rows, cols in shapes]
    assert sharing.params_per_chunk == sum(min(RANK, *side) * sum(side) for side in sides)
    assert sharing.params_base == plain.params
    assert sharing.params == plain.params + (CHUNKS - 1) * sharing.params_per_chunk
    assert sum(p.numel() for p in sharing.factors.parameters()) == sharing.params - plain.params
    assert count(sharing.network(1), scale) == plain


def test_one_chunk_is_the_base_alone() -> None:
    sharing = LowRank(partial(build, "espcn", 2), 1)
    assert (sharing.params, sharing.params_per_chunk) == (sharing.params_base, 0)
    assert sharing.parts().deltas == [{}]


@pytest.mark.parametrize("rank", [0, -1, 256])
def test_a_rank_that_cannot_be_is_refused(rank: int) -> None:
    with pytest.raises(
        UserError, match=f"^sharing.rank={rank}: must be a whole number from 1 to 255$"
    ):
        LowRank(partial(build, "espcn", 2), 2, rank=rank)


def test_networks() -> None:
    sharing = lowrank("espcn")
    labels = np.array([[2, 0], [1, 1]], np.int16)
    assert (sharing.learners, sharing.networks) == (1, CHUNKS)
    np.testing.assert_array_equal(sharing.network_of(labels), labels)
    np.testing.assert_array_equal(sharing.learner_of(labels), np.zeros((2, 2)))
