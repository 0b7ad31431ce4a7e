"""Chain: one network that is trained chunk after chunk, and what each chunk changes in it."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.func import functional_call

from stdo.core.networks import PLACES, VALUES, Delta, Networks, updated
from stdo.core.types import UserError
from stdo.models.common import Backbone, plain
from stdo.models.sharing import BackboneFactory, Sharing, by_chunk, seeded

CHOICES = ("change", "gradient")
"""How the weights of an update are chosen: those that a trial moves farthest, or those with the
largest sum of absolute gradients."""


class Chain(Sharing):
    """A network that is trained chunk after chunk in time; each chunk changes a fraction of the
    weights that the chunk before it left.

        network of chunk 0  =  base, all of it trained
        network of chunk c  =  network of chunk c - 1  +  update c
                               (n places among all weights, n values)

    SRVC (https://arxiv.org/abs/2104.02322, section 3.3): a trial trains all weights on the new
    chunk for some steps; the weights that moved farthest are the ones that are then trained, from
    where the chunk before left them (``choose="change"``).
    EMT (https://arxiv.org/abs/2207.09691): the weights with the largest gradients are trained
    (``choose="gradient"``).
    LiveNAS (https://doi.org/10.1145/3387514.3405856): all of them (``fraction=1``).

    What differs: those have networks of their own design, here it is any backbone. The first
    chunk's network is trained as the backbone is built; the others as plain weights, so that weight
    norm, whose gains move whole filters, does not widen an update.

    `stdo.pipeline.chain` trains it; this class knows what each network is.

    Args:
        seed: Of the first weights; the base starts as the network that `Single` would build.
        fraction: Of a network's weights that an update changes, above 0, up to 1.
        choose: One of `CHOICES`.
        bicubic_chunks: See `Sharing`; 0, since chunks of the time line are not sorted.

    Raises UserError for another fraction or choice.
    """

    before: Tensor
    chosen: Tensor

    def __init__(
        self,
        backbone_factory: BackboneFactory,
        chunks: int,
        seed: int = 0,
        fraction: float = 0.05,
        choose: str = "change",
        bicubic_chunks: int = 0,
    ) -> None:
        if not 0 < fraction <= 1:
            raise UserError(f"sharing.fraction={fraction}: must be a number above 0, up to 1")
        if choose not in CHOICES:
            raise UserError(f"sharing.choose={choose}: must be {' or '.join(CHOICES)}")
        super().__init__(chunks, bicubic_chunks)
        self.fraction, self.choose = fraction, choose
        self.backbone = seeded(backbone_factory, seed)
        self.following = plain(self.backbone).train()
        self.turn = 0
        self.updates: list[dict[str, Tensor]] = []
        # Kept by `stdo.pipeline.chain`, not by checkpoints
        self.register_buffer("before", torch.zeros(0), persistent=False)
        self.register_buffer("chosen", torch.zeros(0, dtype=torch.bool), persistent=False)

    @property
    def settings(self) -> dict[str, float]:
        """See `Sharing.settings`."""
        return {"fraction": self.fraction}

    @property
    def networks(self) -> int:
        """See `Sharing.networks`."""
        return self.served

    @property
    def params_per_chunk(self) -> int:
        """Weights that an update changes: at least one."""
        return max(1, round(self.fraction * self.params_base))

    @property
    def params(self) -> int:
        """See `Sharing.params`: the first chunk has no update. Places are not counted."""
        return self.params_base + (self.served - 1) * self.params_per_chunk

    def begin(self, chunk: int, places: Tensor | None = None) -> None:
        """Let the network of a chunk learn from now on, from where the one before it ended.

        Args:
            chunk: One after the last that has ended.
            places: Numbers of the weights that are trained, int64 (n,); None: all of them.
        """
        assert chunk == len(self.updates) + 1 or chunk == 0 == len(self.updates), chunk
        self.turn = chunk
        self.backbone.requires_grad_(chunk == 0)
        self.following.requires_grad_(chunk > 0)
        if chunk == 0:
            return
        self.following.load_state_dict(self.weights(chunk - 1))
        self.before = _flat(self.following)
        self.chosen = torch.ones_like(self.before, dtype=torch.bool)
        if places is not None:
            self.chosen.zero_()
            self.chosen[places] = True

    def end(self) -> None:
        """Keep what the network that learns has changed, as its update; after a `begin`."""
        if self.turn == 0:
            return
        places = self.chosen.nonzero().flatten()
        values = (_flat(self.following) - self.before)[places]
        self.updates.append({PLACES: places.cpu(), VALUES: values.cpu()})

    def farthest(self, importance: Tensor) -> Tensor:
        """Numbers of the weights of an update: the most important, rising, int64 (n,).

        Args:
            importance: Of each weight, (params_base,); equal ones in their order.
        """
        order = importance.cpu().argsort(descending=True, stable=True)
        return order[: self.params_per_chunk].sort().values

    @property
    def moved(self) -> Tensor:
        """How far each weight is from where the chunk before left it, (params_base,)."""
        return (_flat(self.following) - self.before).abs()

    def weights(self, chunk: int) -> dict[str, Tensor]:
        """The weights of a chunk's network, as far as updates are known: parameter -> tensor."""
        tensors: dict[str, Tensor] = plain(self.backbone).state_dict()
        for update in self.updates[:chunk]:
            here = {
                name: tensor.to(next(iter(tensors.values())).device)
                for name, tensor in update.items()
            }
            tensors = updated(tensors, here)
        return tensors

    def network(self, chunk: int) -> Backbone:
        """See `Sharing.network`."""
        assert 0 <= chunk < self.served, chunk
        network = deepcopy(self.following).eval().requires_grad_(False)
        network.load_state_dict(self.weights(chunk))
        return network

    def parts(self) -> Networks[Tensor]:
        """See `Sharing.parts`."""
        missing: Sequence[dict[str, Tensor]] = [{}] * (self.served - 1 - len(self.updates))
        return Networks([self.weights(0)], Delta.UPDATE, [{}, *self.updates, *missing])

    def forward(self, lr_NCHW: Tensor, chunk_N: Tensor) -> Tensor:
        """See `Sharing.forward`. In training the network that learns is shown all patches, whatever
        their chunk; otherwise it stands in for the chunks to come."""
        if self.training:
            return self._learning(lr_NCHW)
        # Cheaper than a network for each chunk to come
        number_N = chunk_N.clamp(max=self.turn)
        return by_chunk(lr_NCHW, number_N, self._of_chunk)

    def _of_chunk(self, part_NCHW: Tensor, chunk: int) -> Tensor:
        if chunk >= self.turn:
            return self._learning(part_NCHW)
        sr_NCHW: Tensor = functional_call(self.following, self.weights(chunk), part_NCHW)
        return sr_NCHW

    def _learning(self, lr_NCHW: Tensor) -> Tensor:
        """By the network that learns: its weights that are not chosen stay those of before,
        whatever an optimizer does to them."""
        sr_NCHW: Tensor
        if self.turn == 0:
            sr_NCHW = self.backbone(lr_NCHW)
            return sr_NCHW
        tensors, first = {}, 0
        for name, parameter in self.following.named_parameters():
            part = slice(first, first + parameter.numel())
            before, chosen = self.before[part], self.chosen[part]
            tensors[name] = torch.where(
                chosen.view_as(parameter), parameter, before.view_as(parameter)
            )
            first += parameter.numel()
        sr_NCHW = functional_call(self.following, tensors, lr_NCHW)
        return sr_NCHW


def _flat(network: nn.Module) -> Tensor:
    """All weights of a plain network, one after another, detached."""
    return torch.cat([tensor.detach().flatten() for tensor in network.state_dict().values()])
