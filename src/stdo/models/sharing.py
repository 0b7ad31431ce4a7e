"""Sharing: which weights each chunk uses. The contract between methods and everything else."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from stdo.core.networks import Networks
from stdo.core.types import BICUBIC, I64
from stdo.models.common import Backbone, plain

BackboneFactory = Callable[[], Backbone]
"""Builds one new backbone, drawing its weights from torch's global generator."""


class Banks(nn.Module):
    """A module whose parameters are matrices, which an optimizer moves as it moves filter banks."""


class Sharing(nn.Module, ABC):
    """Owns the weights of all chunks and answers two questions that must agree.

    ``sharing(lr_NCHW, chunk_N)`` is how training sees the chunks, ``sharing.network(chunk)`` how
    all that follows does.

    Args:
        chunks: How many chunks there are; chunk numbers are 0 … chunks - 1.
        bicubic_chunks: How many of the last, the easiest, have no network: whole frames are
            enlarged bicubically for them. Their patches are shown to no learner, but for the one
            network of a first phase.
    """

    ONE_EACH: ClassVar[bool] = False
    """Whether every chunk trains a network of its own."""

    def __init__(self, chunks: int, bicubic_chunks: int = 0) -> None:
        super().__init__()
        assert 0 <= bicubic_chunks < chunks, (bicubic_chunks, chunks)
        self.chunks, self.served = chunks, chunks - bicubic_chunks

    @property
    def settings(self) -> dict[str, float]:
        """Arguments of its own: beside factory, chunks, seed and ``bicubic_chunks``."""
        return {}

    @property
    def learners(self) -> int:
        """How many sets of weights are trained side by side, each with batches and a loss of its
        own."""
        return self.served if self.ONE_EACH else 1

    def learner_of(self, labels: npt.NDArray[np.integer[Any]]) -> I64:
        """Chunk numbers of any shape -> numbers of the learners they train, same shape, 0 …
        learners - 1, or `BICUBIC`.

        By default either one for each chunk or one for all.
        """
        return self._numbered(labels, self.learners)

    @property
    def networks(self) -> int:
        """How many different networks the chunks use."""
        return self.learners

    def network_of(self, labels: npt.NDArray[np.integer[Any]]) -> I64:
        """Chunk numbers of any shape -> numbers of the networks they use, 0 … networks - 1; or
        `BICUBIC`."""
        return self._numbered(labels, self.networks)

    def _numbered(self, labels: npt.NDArray[np.integer[Any]], count: int) -> I64:
        assert count in (1, self.served), count
        numbers = (
            labels.astype(np.int64) if count == self.served else np.zeros(labels.shape, np.int64)
        )
        return np.where(labels < self.served, numbers, BICUBIC)

    @abstractmethod
    def network(self, chunk: int) -> Backbone:
        """A plain backbone for ``chunk``: a detached copy in evaluation mode with weight norm
        folded in.

        Args:
            chunk: One that has a network, 0 … served - 1.
        """

    @abstractmethod
    def forward(self, lr_NCHW: Tensor, chunk_N: Tensor) -> Tensor:
        """LR (N, 3, h, w) in [0, 1] and chunk numbers (N,) int64 -> SR (N, 3, s·h, s·w), not
        clamped.

        Quickest when equal chunks lie next to each other.
        """

    def distinct(self) -> list[Backbone]:
        """Every different network once, as `network` gives it, in the order of `network_of`."""
        _, first = np.unique(self.network_of(np.arange(self.served)), return_index=True)
        return [self.network(int(chunk)) for chunk in first]

    def parts(self) -> Networks[Tensor]:
        """The networks in the form that is least to send, numbered as `network_of` does."""
        return Networks([network.state_dict() for network in self.distinct()])

    @property
    def params_base(self) -> int:
        """Parameters of one plain network."""
        return sum(p.numel() for p in self.network(0).parameters())

    @property
    def params_per_chunk(self) -> int:
        """Parameters that each chunk has beside the networks."""
        return 0

    @property
    def params(self) -> int:
        """Parameters that a viewer would receive."""
        return self.learners * self.params_base + self.served * self.params_per_chunk


class Single(Sharing):
    """One network for all chunks.

    Args:
        seed: Of the network's first weights.
        bicubic_chunks: See `Sharing`.
    """

    def __init__(
        self, backbone_factory: BackboneFactory, chunks: int, seed: int = 0, bicubic_chunks: int = 0
    ) -> None:
        super().__init__(chunks, bicubic_chunks)
        self.backbone = seeded(backbone_factory, seed)

    def network(self, chunk: int) -> Backbone:
        """See `Sharing.network`."""
        assert 0 <= chunk < self.served, chunk
        return plain(self.backbone)

    def forward(self, lr_NCHW: Tensor, chunk_N: Tensor) -> Tensor:  # noqa: ARG002
        """See `Sharing.forward`."""
        sr_NCHW: Tensor = self.backbone(lr_NCHW)
        return sr_NCHW


class Independent(Sharing):
    """One network per chunk, all trained in one fit.

    Args:
        seed: Chunk k starts with the weights that a network built alone with seed + k would have.
        bicubic_chunks: See `Sharing`.
    """

    ONE_EACH = True

    def __init__(
        self, backbone_factory: BackboneFactory, chunks: int, seed: int = 0, bicubic_chunks: int = 0
    ) -> None:
        super().__init__(chunks, bicubic_chunks)
        self.backbones = nn.ModuleList(
            seeded(backbone_factory, seed + chunk) for chunk in range(self.served)
        )

    def network(self, chunk: int) -> Backbone:
        """See `Sharing.network`."""
        backbone = self.backbones[chunk]
        assert isinstance(backbone, Backbone)
        return plain(backbone)

    def forward(self, lr_NCHW: Tensor, chunk_N: Tensor) -> Tensor:
        """See `Sharing.forward`. One call of a network per run of equal chunks."""
        return by_chunk(lr_NCHW, chunk_N, lambda part_NCHW, chunk: self.backbones[chunk](part_NCHW))


def by_chunk(lr_NCHW: Tensor, chunk_N: Tensor, network: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Call ``network(part_NCHW, chunk)`` once for every chunk that is present; results in the order
    of the input."""
    if bool((chunk_N[1:] < chunk_N[:-1]).any()):
        order_N = chunk_N.argsort(stable=True)
        sorted_NCHW = by_chunk(lr_NCHW[order_N.to(lr_NCHW.device)], chunk_N[order_N], network)
        return sorted_NCHW[order_N.argsort().to(lr_NCHW.device)]
    present, counts = torch.unique_consecutive(chunk_N, return_counts=True)
    parts = zip(present.tolist(), torch.split(lr_NCHW, counts.tolist()), strict=True)
    return torch.cat([network(part_NCHW, chunk) for chunk, part_NCHW in parts])


def seeded(backbone_factory: BackboneFactory, seed: int) -> Backbone:
    """Build a backbone from its own seed, leaving torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return backbone_factory()
