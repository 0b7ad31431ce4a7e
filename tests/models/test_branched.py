"""Branches: equal to the published layers, folded into the plain backbone, which they start as."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import conv_transpose2d, pad

from stdo.models.branched import Branched, Branches
from stdo.models.common import Convolution
from stdo.models.registry import BACKBONES, build
from stdo.models.sharing import Single

PUBLISHED = {
    "first": (3, 64, 64),
    "second": (64, 64, 64),
    "third": (64, 32, 32),
    "last": (32, 32, 48),
}
"""ESPCN ×4 in the published code: channels that each convolution sees, has inside the branches,
and makes."""


def branched(name: str, scale: int = 2, init: str = "paper") -> Branched:
    return Branched(partial(build, name, scale, init=init), 3, seed=5, init=init)


def branches_of(sharing: Branched) -> dict[str, Branches]:
    return {
        name: module
        for name, module in sharing.backbone.named_modules()
        if isinstance(module, Branches)
    }


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_with_branches_still_knows_what_it_is(name: str) -> None:
    sharing, plain = branched(name), build(name, 2, init="paper")
    assert sharing.backbone.settings == sharing.network(0).settings == plain.settings
    assert sharing.backbone.label == plain.label
    assert sharing.backbone.receptive_radius == plain.receptive_radius


class Unfolded(nn.Module):
    """The oracle: branches as layers one after the other, on a picture that is padded first; or,
    as in the published code, padded with zeros before each wide convolution."""

    def __init__(self, ours: Branches, published: bool) -> None:
        super().__init__()
        self.own, self.published = ours.conv, published
        self.chains = [[ours.conv], list(ours.short), list(ours.long)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, cols = self.own.padding
        around = (cols, cols, rows, rows)
        transposed = isinstance(self.own, nn.ConvTranspose2d)
        replicated = self.own.padding_mode != "zeros"
        mode = {"mode": "replicate"} if replicated else {}
        late = self.published and not replicated
        total = torch.zeros(())
        for *narrow, wide in self.chains:
            y = x if transposed or late else pad(x, around, **mode)
            for layer in narrow:
                y = layer(y)
            if transposed:
                total = total + conv_transpose2d(
                    y, wide.weight, wide.bias, self.own.stride, rows, self.own.output_padding
                )
            else:
                y = pad(y, around) if late else y
                total = total + nn.functional.conv2d(y, wide.weight, wide.bias)
        return total


def unfolded(name: str, published: bool = False) -> nn.Module:
    backbone = branched(name).backbone
    for layer, ours in branches_of(branched(name)).items():
        parent, _, leaf = layer.rpartition(".")
        setattr(backbone.get_submodule(parent), leaf, Unfolded(ours, published))
    return backbone


@pytest.mark.parametrize("name", BACKBONES)
def test_equals_the_layers_one_after_the_other(name: str) -> None:
    """Forward and gradients, and the plain network."""
    sharing, oracle = branched(name), unfolded(name)
    lr = torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(2))
    theirs, ours = oracle(lr), sharing(lr, torch.tensor([0, 2]))
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(sharing.network(1)(lr), theirs.detach(), atol=2e-5, rtol=1e-4)
    (first, *_), (again, *_) = branches_of(sharing).values(), _layers(oracle)
    for output in (ours, theirs):
        output.square().mean().backward()
    for mine, other in (
        (first.conv, again.own),
        (first.long[0], again.chains[2][0]),
        (first.long[1], again.chains[2][1]),
        (first.short[1], again.chains[1][1]),
    ):
        for one, two in zip(mine.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(one.grad, two.grad, atol=1e-5, rtol=1e-3)


def _layers(oracle: nn.Module) -> list[Unfolded]:
    return [module for module in oracle.modules() if isinstance(module, Unfolded)]


@pytest.mark.parametrize(("name", "far"), [("espcn", 8), ("vdsr", 20)])
def test_equals_the_published_layers_away_from_the_border(name: str, far: int) -> None:
    lr = torch.rand(1, 3, 24, 26, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        ours, theirs = branched(name)(lr, torch.zeros(1)), unfolded(name, published=True)(lr)
    inside = (..., slice(far, -far), slice(far, -far))
    torch.testing.assert_close(ours[inside], theirs[inside], atol=2e-5, rtol=1e-4)
    assert not torch.allclose(ours, theirs, atol=1e-4), "at the border it differs"


def test_espcn_has_the_published_branches() -> None:
    found = {
        name: (each.conv.in_channels, each.long[1].out_channels, each.conv.out_channels)
        for name, each in branches_of(branched("espcn", 4)).items()
    }
    assert found == PUBLISHED
    for scale, made in ((2, 12), (3, 27)):
        last = branches_of(branched("espcn", scale))["last"]
        assert (last.short[0].out_channels, last.conv.out_channels) == (32, made)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_convolution_has_branches_but_for_those_of_edsr_outside_its_body(name: str) -> None:
    convs = {n for n, m in build(name, 2).named_modules() if isinstance(m, Convolution)}
    outside = {"head", "upsampler.0", "last"} if name == "edsr" else set()
    assert set(branches_of(branched(name))) == convs - outside
    assert name != "edsr" or len(convs - outside) == 33


@pytest.mark.parametrize("name", BACKBONES)
def test_starts_as_the_plain_network_and_trains_everything(name: str) -> None:
    sharing = branched(name, init="bicubic")
    single = Single(partial(build, name, 2), 3, seed=5)
    lr, chunk = torch.rand(4, 3, 9, 8), torch.tensor([0, 0, 1, 2])
    torch.testing.assert_close(sharing(lr, chunk), single(lr, chunk), atol=1e-5, rtol=0)
    optimizer = torch.optim.Adam(sharing.parameters(), lr=1e-3)
    target = torch.rand(4, 3, 18, 16)
    for _ in range(3):  # gradients reach what lies behind zeros in the second step
        optimizer.zero_grad()
        (sharing(lr, chunk) - target).abs().mean().backward()
        optimizer.step()
    idle = [
        n for n, p in sharing.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert idle == []


def test_published_first_weights_are_those_of_pytorch() -> None:
    sharing = branched("espcn", init="paper")
    for each in branches_of(sharing).values():
        for conv in (*each.short, *each.long):
            bound = (conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1]) ** -0.5
            assert 0.9 * bound < conv.weight.abs().max() <= bound
    lr = torch.rand(1, 3, 9, 8)
    plain = Single(partial(build, "espcn", 2, init="paper"), 3, seed=5)
    assert not torch.allclose(sharing(lr, torch.zeros(1)), plain(lr, torch.zeros(1)), atol=1e-3)


def test_no_byte_is_for_a_chunk() -> None:
    sharing = branched("espcn")
    plain = sum(p.numel() for p in build("espcn", 2).parameters())
    assert (sharing.networks, sharing.learners, sharing.params_per_chunk) == (1, 1, 0)
    assert sharing.params == sharing.params_base == plain
    assert len(sharing.parts().bases) == 1 and not sharing.parts().deltas
