"""Modulated: one base network with a modulation per chunk (CaFM)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stdo.core.networks import Delta
from stdo.models.common import Convolution
from stdo.models.delta import Deltas
from stdo.models.sharing import BackboneFactory


class Modulated(Deltas):
    """Content-aware feature modulation: after each convolution of the body, a chunk's own grouped
    1x1 convolution.

    https://arxiv.org/abs/2108.08202, section 3.2, in the form of the published code.

        x ─ conv ─┬──────────────────────────── + ─ …
                  └─ m of the chunk ─ · gain ───┘

    m is a 1x1 convolution in groups of two channels, with biases; the gain is one number per
    convolution and chunk, 0 at first.

    Being linear, the modulation folds into the convolution before it.

    Args:
        seed: See `Deltas`.
        bicubic_chunks: See `Deltas`.
    """

    KIND = Delta.MODULATION

    def __init__(
        self, backbone_factory: BackboneFactory, chunks: int, seed: int = 0, bicubic_chunks: int = 0
    ) -> None:
        super().__init__(backbone_factory, chunks, seed, bicubic_chunks)
        channels = [self.conv(name).conv.out_channels for name in self.names]
        assert self.names and not any(count % 2 for count in channels), channels
        self._pairs = [count // 2 for count in channels]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            bound = 2**-0.5  # PyTorch's default for a convolution with two inputs
            self.mix = nn.Parameter(
                torch.empty(self.served, sum(self._pairs), 2, 3).uniform_(-bound, bound)
            )
        self.gain = nn.Parameter(torch.zeros(self.served, len(self.names)))

    def _changes(self, name: str) -> bool:
        return name.startswith(self.backbone.BODY)

    @property
    def params_per_chunk(self) -> int:
        """See `Sharing.params_per_chunk`."""
        return self.mix[0].numel() + self.gain[0].numel()

    def deltas(self, chunks: Sequence[int]) -> list[Sequence[Tensor]]:
        """See `Deltas.deltas`: gain times mix, (chunks, channels / 2, 2, 3)."""
        mixes = torch.split(self.mix[list(chunks)], self._pairs, dim=1)
        gains = self.gain[list(chunks)].unbind(1)
        return [[mix * gain[:, None, None, None]] for mix, gain in zip(mixes, gains, strict=True)]

    def folded(self, conv: Convolution, deltas: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """See `Deltas.folded`."""
        (mix,) = deltas
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None, "a row is an output"
        both_OC = torch.cat([conv.weight.flatten(1), conv.bias[:, None]], 1)
        both = both_OC.view(mix.shape[1], 2, -1)
        mixed = torch.addcmul(
            both + mix[..., :1] * both[:, :1], mix[..., 1:2], both[:, 1:]
        ).flatten(1, 2)
        biases = mixed[..., -1] + mix[..., 2].flatten(1)
        weights = mixed[..., :-1].reshape(len(mix), *conv.weight.shape)
        return list(zip(weights.unbind(), biases.unbind(), strict=True))

    def sent(self, chunk: int) -> dict[str, Tensor]:
        """See `Deltas.sent`: for each output of a pair, the weights of both inputs and the bias."""
        return {name: mix[0] for name, (mix,) in zip(self.names, self.deltas([chunk]), strict=True)}
