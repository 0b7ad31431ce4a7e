"""One network for all chunks with a small modulation for each: CaFM, and what becomes of it with other chunks."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from stdo.models.common import Backbone, ordinary, plain
from stdo.models.sharing import BackboneFactory, Sharing, by_chunk, seeded


class Modulated(Sharing):
    """Content-aware feature modulation: after each convolution of the body, a chunk's own grouped 1x1 convolution.

    https://arxiv.org/abs/2108.08202, section 3.2, in the form of the published code.

        x ─ conv ─┬──────────────────────────── + ─ …        m: 1x1, groups of two channels, weights and biases
                  └─ m of the chunk ─ · gain ───┘            gain: one number per convolution and chunk, at first 0

    Being linear, the modulation folds into the convolution before it: that is how it is trained here as well, and
    `network` gives a plain backbone of unchanged cost.

    seed: of the first weights; the base starts as the network that `Single` would build. bicubic: see `Sharing`.
    """

    def __init__(self, backbone_factory: BackboneFactory, chunks: int, seed: int = 0, bicubic: int = 0) -> None:
        super().__init__(chunks, bicubic)
        self.backbone = seeded(backbone_factory, seed)
        self.names = [name for name, module in self.backbone.named_modules() if self._in_body(name, module)]
        channels = [_conv(self.backbone, name).out_channels for name in self.names]
        assert self.names and not any(count % 2 for count in channels), channels
        self._pairs = [count // 2 for count in channels]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            bound = 2**-0.5  # PyTorch's default for a convolution with two inputs
            self.mix = nn.Parameter(torch.empty(self.served, sum(self._pairs), 2, 3).uniform_(-bound, bound))
        self.gain = nn.Parameter(torch.zeros(self.served, len(self.names)))
        for name in self.names:
            _replace(self.backbone, name, _ModulatedConv(_conv(self.backbone, name)))

    def _in_body(self, name: str, module: nn.Module) -> bool:
        return isinstance(module, nn.Conv2d) and name.startswith(self.backbone.BODY)

    @property
    def learners(self) -> int:
        """See `Sharing.learners`."""
        return 1

    @property
    def networks(self) -> int:
        """See `Sharing.networks`."""
        return self.served

    @property
    def params_per_chunk(self) -> int:
        """See `Sharing.params_per_chunk`."""
        return self.mix[0].numel() + self.gain[0].numel()

    @torch.no_grad()
    def network(self, chunk: int) -> Backbone:
        """See `Sharing.network`."""
        assert 0 <= chunk < self.served, chunk
        self._fold([chunk])
        folded = copy.deepcopy(self.backbone)
        for name in self.names:
            modulated = self._modulated(name)
            _replace(folded, name, ordinary(modulated.conv, *modulated.folded[0]))
        return plain(folded)

    @torch.no_grad()
    def parts(self) -> tuple[list[Backbone], list[dict[str, Tensor]]]:
        """See `Sharing.parts`. A modulation holds the weights of both inputs and the bias for each output of a pair."""
        base = copy.deepcopy(self.backbone)
        for name in self.names:
            _replace(base, name, copy.deepcopy(self._modulated(name).conv))
        chosen = [mix.unbind() for mix in self._chosen(list(range(self.served)))]
        return [plain(base)], [dict(zip(self.names, mixes, strict=True)) for mixes in zip(*chosen, strict=True)]

    def branch(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Sharing.branch`."""
        for name in ("mix", "gain"):
            tensors[name].copy_(tensors[name][:1].expand_as(tensors[name]).clone())

    def forward(self, lr_NCHW: Tensor, chunk_N: Tensor) -> Tensor:
        """See `Sharing.forward`."""

        present = torch.unique(chunk_N).tolist()
        self._fold(present)

        def network(part_NCHW: Tensor, chunk: int) -> Tensor:
            for name in self.names:
                self._modulated(name).turn = present.index(chunk)
            sr_NCHW: Tensor = self.backbone(part_NCHW)
            return sr_NCHW

        return by_chunk(lr_NCHW, chunk_N, network)

    def _modulated(self, name: str) -> "_ModulatedConv":
        modulated = self.backbone.get_submodule(name)
        assert isinstance(modulated, _ModulatedConv)
        return modulated

    def _fold(self, chunks: list[int]) -> None:
        """Make every convolution ready for these chunks: all at once, since one by one costs as much for each."""
        device = self.mix.device.type if not self.mix.is_meta else "cpu"
        with torch.autocast(device, enabled=False):  # weights are kept and folded in full precision
            for name, mix in zip(self.names, self._chosen(chunks), strict=True):
                self._modulated(name).fold(mix)

    def _chosen(self, chunks: list[int]) -> list[Tensor]:
        """Gain times mix of these chunks, for every convolution that is modulated: (chunks, channels / 2, 2, 3)."""
        mixes = torch.split(self.mix[chunks], self._pairs, dim=1)
        gains = self.gain[chunks].unbind(1)
        return [mix * gain[:, None, None, None] for mix, gain in zip(mixes, gains, strict=True)]


class _ModulatedConv(nn.Module):
    """A convolution with the weights that it has for each of some chunks, of which one has its turn."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.folded: list[tuple[Tensor, Tensor]] = []
        self.turn = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> "_ModulatedConv":
        return _ModulatedConv(copy.deepcopy(self.conv, memo))

    def fold(self, mix: Tensor) -> None:
        """Fold the modulation of each chunk into the convolution.

        mix: (chunks, channels / 2, 2, 3): for each output of a pair, gain times the weights of both inputs, and the
        bias.
        """
        weight, bias = self.conv.weight, self.conv.bias
        assert bias is not None
        both = torch.cat([weight.flatten(1), bias[:, None]], 1).view(mix.shape[1], 2, -1)
        mixed = torch.addcmul(both + mix[..., :1] * both[:, :1], mix[..., 1:2], both[:, 1:]).flatten(1, 2)
        weights = mixed[..., :-1].reshape(len(mix), *weight.shape)
        self.folded = list(zip(weights.unbind(), (mixed[..., -1] + mix[..., 2].flatten(1)).unbind(), strict=True))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        conv, (weight, bias) = self.conv, self.folded[self.turn]
        if conv.padding_mode == "zeros":
            return conv2d(x_NCHW, weight, bias, padding=conv.padding)
        assert not isinstance(conv.padding, str)
        rows, cols = conv.padding
        return conv2d(pad(x_NCHW, (cols, cols, rows, rows), mode=conv.padding_mode), weight, bias)


def _conv(network: nn.Module, name: str) -> nn.Conv2d:
    conv = network.get_submodule(name)
    assert isinstance(conv, nn.Conv2d)
    return conv


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, module)
