"""FSRCNN: its layers, its enlargement by hand, how far its gradients reach, its rounded weights."""

import itertools

import numpy as np
import pytest
import torch

from stdo.core.networks import Networks
from stdo.core.types import SCALES
from stdo.encoder.rounding import rounded
from stdo.models.common import plain
from stdo.models.pixels import to_float
from stdo.models.registry import build
from stdo.package.weights import decode, encode, params_of


def drawn(scale: int) -> torch.nn.Module:
    """All weights large, so that none hides."""
    torch.manual_seed(0)
    network = plain(build("fsrcnn", scale, init="paper")).double()
    with torch.no_grad():
        network.last.weight.normal_(std=0.1)
        for name, parameter in network.named_parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.1, 0.4) if not name.endswith("bias") else parameter.normal_(
                    std=0.1
                )
    return network


@pytest.mark.parametrize("scale", SCALES)
def test_it_has_the_papers_layers(scale: int) -> None:
    network = build("fsrcnn", scale)
    shapes = [tuple(p.shape) for p in network.parameters() if p.dim() == 4]
    middle = [(12, 12, 3, 3)] * 4
    assert shapes == [(56, 3, 5, 5), (12, 56, 1, 1), *middle, (56, 12, 1, 1), (56, 3, 9, 9)]
    slopes = [m.weight.numel() for m in network.modules() if isinstance(m, torch.nn.PReLU)]
    assert slopes == [56, 12, 12, 12, 12, 12, 56]
    filters = 56 * 75 + 56 * 12 + 4 * 12 * 108 + 56 * 12 + 56 * 3 * 81
    assert sum(p.numel() for p in network.parameters()) == filters + 2 * sum(slopes) + 3


def by_hand(x_CHW: np.ndarray, weight: np.ndarray, scale: int) -> np.ndarray:
    """Each number adds its filters to the output, middle on middle; at even scales half a pixel
    before it."""
    inputs, height, width = x_CHW.shape
    outputs, size = weight.shape[1:3]
    edge = size + scale
    sr_CHW = np.zeros((outputs, height * scale + 2 * edge, width * scale + 2 * edge))
    for channel, y, x in itertools.product(range(inputs), range(height), range(width)):
        top, left = (edge + scale * at + (scale - 1) // 2 - size // 2 for at in (y, x))
        sr_CHW[:, top : top + size, left : left + size] += x_CHW[channel, y, x] * weight[channel]
    return sr_CHW[:, edge:-edge, edge:-edge]


@pytest.mark.parametrize("scale", SCALES)
def test_filters_lie_in_the_middle_of_the_pixels_that_an_lr_pixel_becomes(scale: int) -> None:
    last = drawn(scale).last
    x_NCHW = torch.rand(1, 56, 5, 4, dtype=torch.float64)
    expected = (
        by_hand(x_NCHW[0].numpy(), last.weight.numpy(), scale) + last.bias.numpy()[:, None, None]
    )
    np.testing.assert_allclose(last(x_NCHW)[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_reach_is_exactly_how_far_gradients_come_from(scale: int) -> None:
    network, middle = drawn(scale), 12
    lr_NCHW = torch.rand(
        1, 3, 2 * middle + 1, 2 * middle + 1, dtype=torch.float64, requires_grad=True
    )
    block = slice(middle * scale, (middle + 1) * scale)
    network(lr_NCHW)[..., block, block].square().sum().backward()
    rows = lr_NCHW.grad.abs().sum((0, 1, 3)).nonzero().ravel()
    assert int((rows - middle).abs().max()) == network.receptive_radius


@pytest.mark.parametrize("scale", SCALES)
def test_rounding_its_weights_costs_less_than_the_nearest_ones(scale: int) -> None:
    network = drawn(scale).float()
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    rng = np.random.default_rng(0)
    windows = np.repeat(np.repeat(rng.integers(0, 256, (6, 5, 5, 3)), 4, 1), 4, 2).astype(np.uint8)
    lr_NCHW = to_float(torch.from_numpy(windows))

    def error(weights: Networks) -> float:
        decoded = decode(encode(weights, 6), params_of(state), 1, 6)[0]
        tensors = {name: torch.from_numpy(np.array(tensor)) for name, tensor in decoded.items()}
        with torch.no_grad():
            return float(
                (torch.func.functional_call(network, tensors, lr_NCHW) - network(lr_NCHW))
                .square()
                .mean()
            )

    nearest = Networks([state])
    assert error(rounded(nearest, 6, network, [windows])) < 0.5 * error(nearest)
