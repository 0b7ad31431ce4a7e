"""One network for all chunks with a small modulation for each: CaFM, and what becomes of it with other chunks."""

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from stdo.models.common import Backbone, ordinary, plain
from stdo.models.sharing import BackboneFactory, Sharing, by_chunk, seeded
from stdo.types import I64


class Modulated(Sharing):
    """Content-aware feature modulation: after each convolution of the body, a chunk's own grouped 1x1 convolution.

    https://arxiv.org/abs/2108.08202, section 3.2, in the form of the published code.

        x ─ conv ─┬──────────────────────────── + ─ …        m: 1x1, groups of two channels, weights and biases
                  └─ m of the chunk ─ · gain ───┘            gain: one number per convolution and chunk, at first 0

    Being linear, the modulation folds into the convolution before it: that is how it is trained here as well, and
    `network` gives a plain backbone of unchanged cost.

    seed: of the first weights; the base starts as the network that `Single` would build.
    """

    run = 4

    def __init__(self, backbone_factory: BackboneFactory, chunks: int, seed: int = 0) -> None:
        super().__init__(chunks)
        self.backbone = seeded(backbone_factory, seed)
        self.names = [name for name, module in self.backbone.named_modules() if self._in_body(name, module)]
        channels = [_conv(self.backbone, name).out_channels for name in self.names]
        assert self.names and not any(count % 2 for count in channels), channels
        self._pairs = [count // 2 for count in channels]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            bound = 2**-0.5  # PyTorch's default for a convolution with two inputs
            self.mix = nn.Parameter(torch.empty(chunks, sum(self._pairs), 2, 3).uniform_(-bound, bound))
        self.gain = nn.Parameter(torch.zeros(chunks, len(self.names)))
        for name in self.names:
            _replace(self.backbone, name, _ModulatedConv(_conv(self.backbone, name)))

    def _in_body(self, name: str, module: nn.Module) -> bool:
        return isinstance(module, nn.Conv2d) and name.startswith(self.backbone.BODY)

    @property
    def learners(self) -> int:
        """See `Sharing.learners`."""
        return 1

    def learner_of(self, labels: npt.NDArray[np.integer[Any]]) -> I64:
        """See `Sharing.learner_of`."""
        return np.zeros(labels.shape, np.int64)

    @property
    def networks(self) -> int:
        """See `Sharing.networks`."""
        return self.chunks

    def network_of(self, labels: npt.NDArray[np.integer[Any]]) -> I64:
        """See `Sharing.network_of`."""
        return labels.astype(np.int64)

    @property
    def params_per_chunk(self) -> int:
        """See `Sharing.params_per_chunk`."""
        return self.mix[0].numel() + self.gain[0].numel()

    @torch.no_grad()
    def network(self, chunk: int) -> Backbone:
        """See `Sharing.network`."""
        assert 0 <= chunk < self.chunks, chunk
        self._choose(chunk)
        folded = copy.deepcopy(self.backbone)
        for name in self.names:
            modulated = folded.get_submodule(name)
            assert isinstance(modulated, _ModulatedConv)
            weight, bias = modulated.folded()
            _replace(folded, name, ordinary(modulated.conv, weight, bias))
        return plain(folded)

    @torch.no_grad()
    def parts(self) -> tuple[list[Backbone], list[dict[str, Tensor]]]:
        """See `Sharing.parts`. A modulation holds the weights of both inputs and the bias for each output of a pair."""
        base = copy.deepcopy(self.backbone)
        for name in self.names:
            modulated = base.get_submodule(name)
            assert isinstance(modulated, _ModulatedConv)
            _replace(base, name, modulated.conv)
        return [plain(base)], [dict(zip(self.names, self._chosen(chunk), strict=True)) for chunk in range(self.chunks)]

    def forward(self, lr_NCHW: Tensor, chunk_N: Tensor) -> Tensor:
        """See `Sharing.forward`."""

        def network(part_NCHW: Tensor, chunk: int) -> Tensor:
            self._choose(chunk)
            sr_NCHW: Tensor = self.backbone(part_NCHW)
            return sr_NCHW

        return by_chunk(lr_NCHW, chunk_N, network)

    def _choose(self, chunk: int) -> None:
        """Let the convolutions compute what ``chunk`` asks for."""
        for name, chosen in zip(self.names, self._chosen(chunk), strict=True):
            modulated = self.backbone.get_submodule(name)
            assert isinstance(modulated, _ModulatedConv)
            modulated.chosen = chosen

    def _chosen(self, chunk: int) -> list[Tensor]:
        """Gain times mix of every convolution that is modulated."""
        mixes = torch.split(self.mix[chunk], self._pairs)
        return [mix * gain for mix, gain in zip(mixes, self.gain[chunk].unbind(), strict=True)]


class _ModulatedConv(nn.Module):
    """A convolution whose weights are modulated by what was chosen last."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.chosen: Tensor | None = None
        """(channels / 2, 2, 3): for each output of a pair, gain times the weights of both inputs, and the bias."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_ModulatedConv":
        copied = _ModulatedConv(copy.deepcopy(self.conv, memo))
        copied.chosen = None if self.chosen is None else self.chosen.detach()
        return copied

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution that equals this one with its modulation."""
        assert self.chosen is not None and self.conv.bias is not None
        weight, bias, chosen = self.conv.weight, self.conv.bias, self.chosen
        device = weight.device.type if not weight.is_meta else "cpu"
        with torch.autocast(device, enabled=False):  # weights are kept and folded in full precision
            both = torch.cat([weight.flatten(1), bias[:, None]], 1).view(len(chosen), 2, -1)
            both = torch.baddbmm(both, chosen[..., :2], both).flatten(0, 1)
            return both[:, :-1].view_as(weight), both[:, -1] + chosen[..., 2].flatten()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        conv, (weight, bias) = self.conv, self.folded()
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
