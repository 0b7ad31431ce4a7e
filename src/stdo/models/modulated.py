"""Modulated: one base network with a modulation per chunk (CaFM)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stdo.core.networks import Delta
from stdo.models.common import Convolution
from stdo.models.delta import Deltas
from stdo.models.sharing import BackboneFactory


class Modulated(Deltas):
    """Content-aware feature modulation: behind the layers of the body, a 1x1 convolution of the
    chunk's own.

    https://arxiv.org/abs/2108.08202, section 3.2, in the form of the published code.

        x ─ layer ─┬─────────────────────────── + ─ …
                   └─ m of the chunk ─ · gain ──┘

    The gain is one number per layer and chunk, 0 at first. ESPCN and SRCNN (`Backbone.MODULATION`
    is ``INPUTS``): m stands behind each activation, and is a convolution in groups of two channels.
    The others: it stands behind each convolution of a block, before the activation, and has a
    weight and a bias for each channel.

    Being linear, a modulation folds into the convolution before it, or into the one behind the
    activation. What differs from the published code there: a convolution padded with zeros sees the
    modulation of zeros beyond the border, in place of zeros.

    Args:
        seed: See `Deltas`.
        bicubic_chunks: See `Deltas`.
    """

    def __init__(
        self, backbone_factory: BackboneFactory, chunks: int, seed: int = 0, bicubic_chunks: int = 0
    ) -> None:
        super().__init__(backbone_factory, chunks, seed, bicubic_chunks)
        paired = self.kind is Delta.INPUTS
        convs = [self.conv(name).conv for name in self.names]
        channels = [conv.in_channels if paired else conv.out_channels for conv in convs]
        assert self.names and not any(count % 2 for count in channels), channels
        self._sizes = [count // 2 if paired else count for count in channels]
        shape = (self.served, sum(self._sizes), *((2, 3) if paired else (2,)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # PyTorch's default for a convolution with so many inputs
            bound = 2**-0.5 if paired else 1.0
            self.mix = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.gain = nn.Parameter(torch.zeros(self.served, len(self.names)))

    @property
    def kind(self) -> Delta:
        """See `Deltas.kind`."""
        return self.backbone.MODULATION

    def _changes(self, name: str) -> bool:
        return name.startswith(self.backbone.BODY)

    @property
    def params_per_chunk(self) -> int:
        """See `Sharing.params_per_chunk`."""
        return self.mix[0].numel() + self.gain[0].numel()

    def deltas(self, chunks: Sequence[int]) -> list[Sequence[Tensor]]:
        """See `Deltas.deltas`: gain times m, (chunks, channels / 2, 2, 3) or (chunks, channels,
        2)."""
        mixes = torch.split(self.mix[list(chunks)], self._sizes, dim=1)
        gains = self.gain[list(chunks)].unbind(1)
        ones = (1,) * (self.mix.dim() - 1)
        return [[mix * gain.view(-1, *ones)] for mix, gain in zip(mixes, gains, strict=True)]

    def folded(self, conv: Convolution, deltas: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """See `Deltas.folded`."""
        (mix,) = deltas
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None, "a row is an output"
        if self.kind is Delta.INPUTS:
            # (chunks, outputs, pairs, 2, height · width)
            outputs, inputs = conv.weight.shape[:2]
            rows = conv.weight.view(outputs, inputs // 2, 2, -1)
            first, second = (mix[:, None, :, i, :2, None] for i in range(2))
            both = torch.addcmul(rows + first * rows[:, :, :1], second, rows[:, :, 1:])
            weights = both.reshape(len(mix), *conv.weight.shape)
            more = rows.sum(-1) * mix[:, None, ..., 2]
            biases = conv.bias + more.flatten(2).sum(-1)
        else:
            weight, bias = mix.unbind(-1)
            weights = conv.weight + weight[..., None, None, None] * conv.weight
            biases = conv.bias + weight * conv.bias + bias
        return list(zip(weights.unbind(), biases.unbind(), strict=True))

    def sent(self, chunk: int) -> dict[str, Tensor]:
        """See `Deltas.sent`: for each output of a pair, the weights of both inputs and the bias."""
        deltas = zip(self.names, self.deltas([chunk]), strict=True)
        return {name: _in_pairs(mix[0]) for name, (mix,) in deltas}


def _in_pairs(mix: Tensor) -> Tensor:
    """A modulation as one of pairs, (channels / 2, 2, 3): where it is (channels, 2), a weight and a
    bias for each, without what mixes."""
    if mix.dim() == 3:
        return mix
    weight, bias = mix.view(-1, 2, 2).unbind(-1)
    return torch.cat([torch.diag_embed(weight), bias[..., None]], -1)
