"""One base network with a delta per chunk: the base class of such sharings."""

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stdo.core.networks import Delta, Networks
from stdo.models.common import Backbone, Convolution, convolved, ordinary, plain, replace
from stdo.models.sharing import BackboneFactory, Sharing, by_chunk, seeded


class Deltas(Sharing):
    """A base, and for each chunk a delta: a small change of weights and biases in some of its
    convolutions.

    Deltas are folded into the convolutions before these see a batch, so a chunk's network costs
    what the base costs.

    Args:
        seed: Of the first weights; the base starts as the network that `Single` would build.
        bicubic_chunks: See `Sharing`.
    """

    def __init__(
        self, backbone_factory: BackboneFactory, chunks: int, seed: int, bicubic_chunks: int
    ) -> None:
        super().__init__(chunks, bicubic_chunks)
        self.backbone = seeded(backbone_factory, seed)
        convs = {
            name: module
            for name, module in self.backbone.named_modules()
            if isinstance(module, Convolution)
        }
        self.names = [name for name in convs if self._changes(name)]
        for name in self.names:
            replace(self.backbone, name, _Foldable(convs[name]))

    @abstractmethod
    def _changes(self, name: str) -> bool:
        """Whether deltas change the convolution of this name."""

    @abstractmethod
    def deltas(self, chunks: Sequence[int]) -> list[Sequence[Tensor]]:
        """For every convolution of ``names`` and each of these chunks what `folded` takes."""

    @abstractmethod
    def folded(self, conv: Convolution, deltas: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Weight and bias that a convolution of the base has for each of some chunks."""

    @abstractmethod
    def sent(self, chunk: int) -> dict[str, Tensor]:
        """The delta of ``chunk``, of `kind`: see `stdo.core.networks`."""

    @property
    @abstractmethod
    def kind(self) -> Delta:
        """Of the deltas as they are sent."""

    @property
    def networks(self) -> int:
        """See `Sharing.networks`."""
        return self.served

    @torch.no_grad()
    def network(self, chunk: int) -> Backbone:
        """See `Sharing.network`."""
        assert 0 <= chunk < self.served, chunk
        self._fold([chunk])
        network = copy.deepcopy(self.backbone)
        for name in self.names:
            foldable = self.conv(name)
            replace(network, name, ordinary(foldable.conv, *foldable.folded[0]))
        return plain(network)

    @torch.no_grad()
    def parts(self) -> Networks[Tensor]:
        """See `Sharing.parts`."""
        base = copy.deepcopy(self.backbone)
        for name in self.names:
            replace(base, name, copy.deepcopy(self.conv(name).conv))
        deltas = [self.sent(chunk) for chunk in range(self.served)]
        return Networks([plain(base).state_dict()], self.kind, deltas)

    def forward(self, lr_NCHW: Tensor, chunk_N: Tensor) -> Tensor:
        """See `Sharing.forward`."""
        present = torch.unique(chunk_N).tolist()
        self._fold(present)

        def network(part_NCHW: Tensor, chunk: int) -> Tensor:
            for name in self.names:
                self.conv(name).turn = present.index(chunk)
            sr_NCHW: Tensor = self.backbone(part_NCHW)
            return sr_NCHW

        return by_chunk(lr_NCHW, chunk_N, network)

    def conv(self, name: str) -> "_Foldable":
        """The base's convolution of this name, one that deltas change."""
        foldable = self.backbone.get_submodule(name)
        assert isinstance(foldable, _Foldable)
        return foldable

    def _fold(self, chunks: list[int]) -> None:
        """Make every convolution ready for these chunks: all at once, since one by one costs as
        much for each."""
        weight = next(self.backbone.parameters())
        device = "cpu" if weight.is_meta else weight.device.type
        with torch.autocast(device, enabled=False):  # weights are kept and folded in full precision
            for name, deltas in zip(self.names, self.deltas(chunks), strict=True):
                foldable = self.conv(name)
                foldable.folded = self.folded(foldable.conv, deltas)


class _Foldable(nn.Module):
    """A convolution with the weights that it has for each of some chunks, of which one has its
    turn."""

    def __init__(self, conv: Convolution) -> None:
        super().__init__()
        self.conv = conv
        self.folded: list[tuple[Tensor, Tensor]] = []
        self.turn = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Foldable":
        return _Foldable(copy.deepcopy(self.conv, memo))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return convolved(self.conv, x_NCHW, *self.folded[self.turn])
