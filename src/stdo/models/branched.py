"""Branched: one network whose convolutions have more branches in training (RepCaM)."""

import copy

import torch
from torch import Tensor, nn

from stdo.models.common import (
    INITS,
    Backbone,
    Convolution,
    convolved,
    ordinary,
    plain,
    replace,
    silence,
)
from stdo.models.sharing import BackboneFactory, Sharing, seeded


class Branched(Sharing):
    """One network for all chunks, each convolution of which is a sum of three in training.

    Zhang et al., "RepCaM: Re-parameterization Content-aware Modulation for Neural Video Delivery",
    NOSSDAV 2023; RepCaM++, https://arxiv.org/abs/2509.14002; layer shapes as in its published code.

        x ─┬─ the backbone's own, k×k ─────── + ─ …
           ├─ 1×1 ─ k×k ───────────────────── +
           └─ 1×1 ─ 1×1 ─ k×k ─────────────── +

    Being linear, the branches fold into one convolution: what is sent and played is the plain
    backbone, with no byte for a chunk. Inside a branch there are as many channels as the
    convolution makes, or, where it makes pixels, as it sees. Which convolutions have branches:
    `Backbone.BRANCHED`.

    What differs from the published code:

    - Branches are folded before each step: the same sums and gradients, at about the cost of the
      plain network, where the published network costs three times as much to train.
    - So a convolution that is padded with zeros sees, beyond the border, what the 1×1 make of
      zeros, and what is trained is what is played. The published code pads the inner channels with
      zeros, which its folded network does not do.
    - With ``init="bicubic"`` the new branches start at 0, so that the network starts as the
      backbone does; published are PyTorch's defaults, which ``init="paper"`` takes.
    - A transposed convolution, which no published backbone has, has 1×1 without biases before it:
      a constant does not pass through its stride as a constant.
    - Visual prompts, which RepCaM++ adds to each chunk's pictures, are left out.

    Args:
        seed: Of the first weights; the backbone starts as the one that `Single` would build.
        init: Of the branches, ``bicubic`` or ``paper``, see above.
        bicubic_chunks: See `Sharing`.
    """

    def __init__(
        self,
        backbone_factory: BackboneFactory,
        chunks: int,
        seed: int = 0,
        init: str = INITS[0],
        bicubic_chunks: int = 0,
    ) -> None:
        super().__init__(chunks, bicubic_chunks)
        self.backbone = seeded(backbone_factory, seed)
        convs = {
            name: module
            for name, module in self.backbone.named_modules()
            if isinstance(module, Convolution) and name.startswith(self.backbone.BRANCHED)
        }
        pixels = (3, 3 * self.backbone.scale**2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for name, conv in convs.items():
                last = conv.out_channels in pixels and conv.in_channels > 3
                inner = conv.in_channels if last else conv.out_channels
                replace(self.backbone, name, Branches(conv, inner, silent=init == "bicubic"))
        self.names = list(convs)

    @torch.no_grad()
    def network(self, chunk: int) -> Backbone:
        """See `Sharing.network`."""
        assert 0 <= chunk < self.served, chunk
        network = copy.deepcopy(self.backbone)
        for name in self.names:
            branches = self.backbone.get_submodule(name)
            assert isinstance(branches, Branches)
            replace(network, name, ordinary(branches.conv, *branches.folded()))
        return plain(network)

    def forward(self, lr_NCHW: Tensor, chunk_N: Tensor) -> Tensor:  # noqa: ARG002
        """See `Sharing.forward`."""
        sr_NCHW: Tensor = self.backbone(lr_NCHW)
        return sr_NCHW


class Branches(nn.Module):
    """A convolution and two branches beside it, computed as one convolution.

    Args:
        conv: The backbone's own.
        inner: Channels inside the branches.
        silent: Whether the branches add nothing at first.
    """

    def __init__(self, conv: Convolution, inner: int, silent: bool) -> None:
        super().__init__()
        self.conv = conv
        # Backbones read their own shape off their convolutions
        self.in_channels, self.out_channels = conv.in_channels, conv.out_channels
        self.kernel_size = conv.kernel_size
        self._transposed = isinstance(conv, nn.ConvTranspose2d)
        bias = not self._transposed
        wide = nn.ConvTranspose2d if self._transposed else nn.Conv2d
        rows, cols = conv.kernel_size
        size = (rows, cols)
        self.short = nn.ModuleList(
            [nn.Conv2d(conv.in_channels, inner, 1, bias=bias), wide(inner, conv.out_channels, size)]
        )
        self.long = nn.ModuleList(
            [
                nn.Conv2d(conv.in_channels, inner, 1, bias=bias),
                nn.Conv2d(inner, inner, 1, bias=bias),
                wide(inner, conv.out_channels, size),
            ]
        )
        if silent:
            for branch in (self.short, self.long):
                silence(branch[-1])  # type: ignore[arg-type]

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution that does what all do."""
        weight, bias = self.conv.weight, self.conv.bias
        assert bias is not None
        for branch in (self.short, self.long):
            *narrow, wide = branch
            assert isinstance(wide, Convolution) and wide.bias is not None
            mix_CI, more_C = _chained(narrow)
            if self._transposed:
                weight = weight + torch.einsum("cohw,ci->iohw", wide.weight, mix_CI)
                bias = bias + wide.bias
            else:
                weight = weight + torch.einsum("ochw,ci->oihw", wide.weight, mix_CI)
                assert more_C is not None
                bias = bias + wide.bias + wide.weight.sum((2, 3)) @ more_C
        return weight, bias

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Convolve, with weights that are folded in full precision."""
        device = "cpu" if self.conv.weight.is_meta else self.conv.weight.device.type
        with torch.autocast(device, enabled=False):
            weight, bias = self.folded()
        return convolved(self.conv, x_NCHW, weight, bias)


def _chained(convs: list[nn.Module]) -> tuple[Tensor, Tensor | None]:
    """Matrix (channels, inputs) and bias of 1×1 convolutions one after the other."""
    first, *others = convs
    assert isinstance(first, nn.Conv2d)
    matrix, bias = first.weight[:, :, 0, 0], first.bias
    for conv in others:
        assert isinstance(conv, nn.Conv2d)
        square = conv.weight[:, :, 0, 0]
        matrix = square @ matrix
        if bias is not None:
            assert conv.bias is not None
            bias = square @ bias + conv.bias
    return matrix, bias
