"""Modulation: equal to the published layer of each backbone, folded at no cost, small."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from stdo.models.common import Convolution
from stdo.models.cost import count
from stdo.models.modulated import Modulated
from stdo.models.registry import BACKBONES, build
from stdo.models.sharing import Single
from stdo.reporting.paper import paper_macs

CHUNKS = 3


def modulated(name: str, scale: int = 2, gain: float = 0.3) -> Modulated:
    sharing = Modulated(partial(build, name, scale, init="paper"), CHUNKS, seed=5)
    with torch.no_grad():
        sharing.gain.uniform_(-gain, gain, generator=torch.Generator().manual_seed(1))
    return sharing


def published(sharing: Modulated, name: str, chunk: int) -> nn.Module:
    """The oracle: a backbone of its own with a 1x1 `nn.Conv2d` hooked behind each activation, in
    groups of two channels, or behind each convolution of a block, of each channel alone."""
    torch.manual_seed(5)
    backbone = build(name, 2, init="paper")
    first = 0
    for index, layer in enumerate(sharing.names):
        conv = backbone.get_submodule(layer)
        paired = name in ("espcn", "srcnn")
        channels, each = (conv.in_channels, 2) if paired else (conv.out_channels, 1)
        transform = nn.Conv2d(channels, channels, 1, groups=channels // each)
        mix = sharing.mix[chunk, first : first + channels // each].detach()
        first += channels // each
        transform.weight.data = mix[..., :each].reshape(channels, each, 1, 1)
        transform.bias.data = mix[..., each].reshape(channels)
        gain = sharing.gain[chunk, index].detach()
        if paired:  # what this one sees is what the activation before it makes
            conv.register_forward_pre_hook(lambda _, x, t=transform, g=gain: x[0] + g * t(x[0]))
        else:
            conv.register_forward_hook(lambda _, __, y, t=transform, g=gain: y + g * t(y))
    assert first == sharing.mix.shape[1], "a modulation that belongs to no convolution"
    return backbone


@pytest.mark.parametrize("name", BACKBONES)
def test_equals_the_published_layer(name: str) -> None:
    sharing = modulated(name)
    lr = torch.rand(CHUNKS, 3, 9, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        ours = sharing(lr, torch.arange(CHUNKS))
        for chunk in range(CHUNKS):
            theirs = published(sharing, name, chunk)(lr[chunk : chunk + 1])
            # The second convolution of ESPCN is padded with zeros, and two more follow it
            far = 6 if name == "espcn" else 0
            inside = (chunk, ..., slice(far, 2 * 9 - far), slice(far, 2 * 8 - far))
            torch.testing.assert_close(ours[inside], theirs[(0, *inside[1:])], atol=2e-4, rtol=1e-4)
    assert not torch.allclose(ours[:1], sharing.network(1)(lr[:1]), atol=1e-3), "chunks differ"


OUTSIDE = {
    "espcn": {"first"}, "srcnn": {"first"}, "vdsr": {"body.0", "last"},
    "edsr": {"head", "body.16", "upsampler.0", "last"}, "wdsr": {"head", "tail", "skip"},
    "ecbsr": {"first", "last"},
}  # fmt: skip
"""What the published code leaves as it is, and what follows its example. In ESPCN and SRCNN the
inputs of the others are modulated."""


def test_edsr_has_as_many_parameters_for_a_chunk_as_published() -> None:
    sharing = modulated("edsr", 4)
    assert sharing.params_per_chunk == 32 * (64 + 64 + 1)
    assert round(100 * sharing.params_per_chunk / sharing.params_base, 2) == 0.27


@pytest.mark.parametrize("name", BACKBONES)
def test_every_convolution_of_the_body_is_modulated(name: str) -> None:
    convs = [n for n, m in build(name, 2).named_modules() if isinstance(m, Convolution)]
    outside = OUTSIDE.get(name, {n for n in convs if not n.startswith(BACKBONES[name].BODY)})
    names = modulated(name).names
    assert set(names) == set(convs) - outside
    assert len(names) > len(outside), "most of it"


@pytest.mark.parametrize("name", BACKBONES)
def test_starts_as_the_plain_network_and_trains_everything(name: str) -> None:
    factory = partial(build, name, 2)
    sharing, single = Modulated(factory, CHUNKS, seed=5), Single(factory, CHUNKS, seed=5)
    lr, chunk = torch.rand(6, 3, 9, 8), torch.tensor([0, 0, 1, 1, 2, 2])
    torch.testing.assert_close(sharing(lr, chunk), single(lr, chunk), atol=1e-5, rtol=0)
    optimizer = torch.optim.Adam(sharing.parameters(), lr=1e-3)
    target = torch.rand(6, 3, 18, 16)
    # The last layer of some starts at 0: gradients reach the body in the second step
    for _ in range(3):
        optimizer.zero_grad()
        (sharing(lr, chunk) - target).abs().mean().backward()
        optimizer.step()
    idle = [
        n for n, p in sharing.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert idle == []
    assert (sharing.gain.grad.abs().sum(1) > 0).all(), "every chunk learns"


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("scale", [2, 4])
def test_modulation_is_small_and_costs_no_arithmetic(name: str, scale: int) -> None:
    sharing, plain = modulated(name, scale), count(name, scale)
    assert sharing.params_base == plain.params
    assert sharing.params == plain.params + CHUNKS * sharing.params_per_chunk
    assert count(sharing.network(1), scale) == plain
    # The paper's of CaFM, and the smallest networks
    limit = 0.011 if paper_macs(name, scale) else 0.03
    assert 0 < sharing.params_per_chunk / plain.params < limit
    numbers = [p.numel() for p in (sharing.mix, sharing.gain)]
    assert sum(numbers) == CHUNKS * sharing.params_per_chunk


def test_networks() -> None:
    sharing = modulated("espcn")
    labels = np.array([[2, 0], [1, 1]], np.int16)
    assert (sharing.learners, sharing.networks) == (1, CHUNKS)
    np.testing.assert_array_equal(sharing.network_of(labels), labels)
    np.testing.assert_array_equal(sharing.learner_of(labels), np.zeros((2, 2)))
