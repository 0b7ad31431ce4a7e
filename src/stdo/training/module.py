"""The LightningModule: a sharing, an optimizer, a schedule and a loss."""

from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from stdo.chunks.score import psnr
from stdo.models.pixels import to_float, without_halo
from stdo.models.sharing import Sharing
from stdo.training.data import Batch
from stdo.types import UserError

WATCH_EVERY = 10
"""Steps between points of the training curve: for people to watch, and not worth a pass over the pixels each time."""

EXPLODED = 10.0
"""A loss that no fit comes back from: pixels lie between 0 and 1, so an all-black picture has less than a tenth."""

LOSSES = {"l1": F.l1_loss, "l2": F.mse_loss}
"""What a fit makes small: the mean absolute error (the papers'), or the mean squared error, which PSNR measures."""

Optimizer = Callable[[Iterable[dict[str, Any]]], torch.optim.Optimizer]
"""Two groups of parameters -> what moves them; ``filters`` of a group says whether it holds the convolutions' banks."""
Schedule = Callable[..., torch.optim.lr_scheduler.LRScheduler]


class Overfit(pl.LightningModule):
    """Overfits the networks of a sharing to the patches of one video.

    The loss is the distance of each learner's patches, summed over the learners (paper section 4.1: L1): with one
    batch per network and one Adam, which works element by element, that is the same as separate fits.

    steps: steps of the whole fit, for the schedule; lowered where it ends early. border: SR pixels of halo to cut off
    before the loss. at_once: how many learners each step shows patches to; None: all. loss: a key of `LOSSES`.
    errors: whether steps also return each patch's mean squared error, for whoever judges by it.
    watched: mean loss, PSNR and learning rate of the step just done, where it is a point of the curve.
    """

    def __init__(
        self,
        sharing: Sharing,
        optimizer: Optimizer,
        schedule: Schedule,
        steps: int,
        border: int = 0,
        at_once: int | None = None,
        loss: str = "l1",
    ) -> None:
        super().__init__()
        self.sharing, self._at_once, self._loss = sharing, at_once or sharing.learners, LOSSES[loss]
        self._optimizer, self._schedule, self._border = optimizer, schedule, border
        self.steps, self.errors = steps, False
        self.psnr_so_far: float | None = None
        self.watched: dict[str, float] | None = None

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, torch.Tensor]:
        """One batch per learner; returns the summed ``loss`` and, where asked for, each patch's ``error`` (B,)."""
        sr_NCHW = without_halo(self.sharing(to_float(batch["lr"]), batch["chunk"]), self._border)
        # Networks work channels-last: in that order the loss reads both pictures straight through, four times as fast.
        sr_NHWC, hr_NHWC = sr_NCHW.permute(0, 2, 3, 1).float(), batch["hr"].float().div_(255)
        loss = self._loss(sr_NHWC, hr_NHWC) * self._at_once
        self.watched = None
        if batch_idx in (0, self.steps - 1) or (batch_idx + 1) % WATCH_EVERY == 0:
            self._watch(sr_NHWC, hr_NHWC, loss)
        if not self.errors:
            return {"loss": loss}
        return {"loss": loss, "error": (sr_NHWC.detach() - hr_NHWC).square_().mean((1, 2, 3))}

    def _watch(self, sr_NHWC: torch.Tensor, hr_NHWC: torch.Tensor, loss: torch.Tensor) -> None:
        value = loss.item() / self._at_once
        if not value <= EXPLODED:
            raise diverged(f"a loss of {value:.3g}", self)
        now = float(psnr(F.mse_loss(sr_NHWC.detach(), hr_NHWC).item(), peak=1.0))
        self.psnr_so_far = now if self.psnr_so_far is None else 0.9 * self.psnr_so_far + 0.1 * now
        self.watched = {"loss": value, "psnr": now, "lr": rate_of(self)}

    @torch.no_grad()
    def branch(self) -> None:
        """Give every chunk what chunk 0 has learned."""
        self.sharing.branch(dict(self.sharing.named_parameters()))

    def configure_optimizers(self) -> Any:
        """One optimizer over all networks; the schedule moves every step."""
        filters = {id(each) for each in filters_of(self.sharing)}
        groups = [
            {"filters": kind, "params": [p for p in self.sharing.parameters() if (id(p) in filters) == kind]}
            for kind in (True, False)
        ]
        optimizer = self._optimizer(groups)
        schedule = self._schedule(optimizer, steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def filters_of(module: nn.Module) -> list[nn.Parameter]:
    """The filter banks of all convolutions; where they are weight-normalised, the directions."""
    found = []
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d):
            split = parametrize.is_parametrized(conv, "weight")
            found.append(conv.get_parameter("parametrizations.weight.original1" if split else "weight"))
    return found


def rate_of(module: pl.LightningModule) -> float:
    """The learning rate of the step that is being done."""
    return float(module.trainer.optimizers[0].param_groups[0]["lr"])


def diverged(sign: str, module: pl.LightningModule) -> UserError:
    """What to raise for a fit that leads nowhere. sign: what shows it."""
    where = f"step {module.global_step}, at a learning rate of {rate_of(module):.3g}"
    return UserError(f"training diverged: {sign} at {where}; lower optim.lr (the last good checkpoint is kept)")
