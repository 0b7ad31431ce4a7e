"""LowRank: one base network with a low-rank difference per chunk."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stdo.core.networks import MAX_RANK, Delta, sides_of
from stdo.core.types import UserError
from stdo.models.common import Convolution
from stdo.models.delta import Deltas
from stdo.models.sharing import BackboneFactory, Banks

SCALE = 0.2
"""Length of the rows of ``right`` at first. A step of Muon makes ``left`` grow by its rate in each
direction, times the root of its rows per rank: so the difference grows about as fast as the base
moves."""


class LowRank(Deltas):
    """Low-rank adaptation of every convolution (LoRA, https://arxiv.org/abs/2106.09685), for chunks
    rather than tasks.

        weight of chunk k  =  weight + left_k · right_k
                              (outputs · rows, rank) · (rank, inputs · columns)

    A filter's rows go with the outputs, its columns with the inputs (with a transposed convolution,
    which has them the other way, rows go with the inputs), so that the matrix is about square and a
    rank costs least: each is a filter of one column after one of one row
    (https://arxiv.org/abs/1405.3866, scheme 2). The first chunk's network is the base; the others'
    ``left`` is zero at first, so that all networks begin as the base. The base goes on learning
    from the patches of all chunks. Biases are the base's.

    Args:
        rank: Of each difference, 1 to 255; where the matrix is smaller, its shorter side.
        seed: See `Deltas`.
        bicubic_chunks: See `Deltas`.

    Raises UserError for another rank.
    """

    def __init__(
        self,
        backbone_factory: BackboneFactory,
        chunks: int,
        seed: int = 0,
        rank: int = 8,
        bicubic_chunks: int = 0,
    ) -> None:
        if not 1 <= rank <= MAX_RANK:
            raise UserError(f"sharing.rank={rank}: must be a whole number from 1 to {MAX_RANK}")
        super().__init__(backbone_factory, chunks, seed, bicubic_chunks)
        self.rank = rank
        sides = [sides_of(self.conv(name).conv.weight.shape) for name in self.names]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.factors = nn.ModuleList(
                nn.ModuleList(Factors(high, wide, min(rank, high, wide)) for high, wide in sides)
                for _ in range(self.served - 1)
            )

    @property
    def settings(self) -> dict[str, float]:
        """See `Sharing.settings`."""
        return {"rank": self.rank}

    @property
    def kind(self) -> Delta:
        """See `Deltas.kind`."""
        return Delta.LOW_RANK

    def _changes(self, name: str) -> bool:  # noqa: ARG002 - all of them
        return True

    @property
    def params_per_chunk(self) -> int:
        """See `Sharing.params_per_chunk`."""
        return sum(p.numel() for p in self.factors[0].parameters()) if len(self.factors) else 0

    @property
    def params(self) -> int:
        """See `Sharing.params`: the first chunk has none of its own."""
        return self.params_base + len(self.factors) * self.params_per_chunk

    def deltas(self, chunks: Sequence[int]) -> list[Sequence[Tensor]]:
        """See `Deltas.deltas`: what to add to the weight; of the first chunk a 0."""
        return [[self._product(chunk, at) for chunk in chunks] for at in range(len(self.names))]

    def folded(self, conv: Convolution, deltas: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """See `Deltas.folded`."""
        assert conv.bias is not None
        return [(conv.weight + delta, conv.bias) for delta in deltas]

    def sent(self, chunk: int) -> dict[str, Tensor]:
        """See `Deltas.sent`: none of the first chunk. The factors are balanced, so that rounding
        harms neither more.

        Rank by rank, strongest first: the column of ``left``, then the row of ``right``.
        """
        if chunk == 0:
            return {}
        return {name: balanced(self._factors(chunk, at)) for at, name in enumerate(self.names)}

    def _factors(self, chunk: int, at: int) -> "Factors":
        factors = self.get_submodule(f"factors.{chunk - 1}.{at}")
        assert isinstance(factors, Factors)
        return factors

    def _product(self, chunk: int, at: int) -> Tensor:
        if chunk == 0:
            return torch.zeros((), device=next(self.parameters()).device)
        factors = self._factors(chunk, at)
        outputs, _, rows, columns = self.conv(self.names[at]).conv.weight.shape
        return (factors.left @ factors.right).view(outputs, rows, -1, columns).transpose(1, 2)


class Factors(Banks):
    """The difference (high, wide) of one convolution for one chunk: a product of two matrices, at
    first 0."""

    def __init__(self, high: int, wide: int, rank: int) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.zeros(high, rank))
        self.right = nn.Parameter(torch.empty(rank, wide))
        nn.init.orthogonal_(self.right, SCALE)


def balanced(factors: Factors) -> Tensor:
    """Both factors in one, (rank, high + wide), with rows that are orthogonal and as strong on
    either side."""
    # On the CPU: a device may have no float64
    product = factors.left.cpu().double() @ factors.right.cpu().double()
    left, values, right = torch.linalg.svd(product, full_matrices=False)
    rank, root = factors.left.shape[1], values.sqrt()
    return torch.cat([(left * root).mT[:rank], (root[:, None] * right)[:rank]], 1).float()
