"""The LightningModule: a sharing, an optimizer, a schedule and a loss."""

from collections.abc import Callable, Iterable
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.utils import parametrize

from stdo.chunks.score import psnr
from stdo.core.types import UserError
from stdo.models.common import Convolution
from stdo.models.lowrank import Factors
from stdo.models.pixels import to_float
from stdo.models.sharing import Sharing
from stdo.training.blocks import is_watched
from stdo.training.data import Batch
from stdo.training.loss import loss_of

EXPLODED = 10.0
"""A loss that no fit comes back from: pixels lie between 0 and 1, so an all-black picture has less
than a tenth."""

Optimizer = Callable[[Iterable[dict[str, Any]]], torch.optim.Optimizer]
"""Two groups of parameters -> what moves them; ``filters`` of a group says whether it holds the
convolutions' banks."""
Schedule = Callable[..., torch.optim.lr_scheduler.LRScheduler]


class Overfit(pl.LightningModule):
    """Overfits the networks of a sharing to the patches of one video.

    The loss is a mean over each learner's patches, summed over the learners: absolute differences
    (L1, paper section 4.1) or squared ones (L2, which PSNR measures and B-STDO takes), see
    `loss.LOSSES`. With one batch per network and one Adam, which works element by element, that is
    the same as separate fits.

    Args:
        steps: Steps of this phase.
        border: SR pixels of halo to cut off before the loss.
        at_once: How many learners each step shows patches to; None: all.
        loss: A key of `loss.LOSSES`.
        others: Steps of the phases before and after this one: the learning rate moves over all of
            them.

    Attributes:
        watched: Mean loss, PSNR and learning rate of the step just done, where it is a point of the
            curve.
    """

    automatic_optimization = False

    def __init__(
        self,
        sharing: Sharing,
        optimizer: Optimizer,
        schedule: Schedule,
        steps: int,
        border: int = 0,
        at_once: int | None = None,
        loss: str = "l1",
        others: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.sharing, self._at_once, self._loss = sharing, at_once or sharing.learners, loss
        self._optimizer, self._schedule, self._border = optimizer, schedule, border
        self.steps, self._others = steps, others
        self.psnr_so_far: float | None = None
        self.watched: dict[str, float] | None = None

    def training_step(self, block: list[Batch], batch_idx: int) -> None:  # noqa: ARG002
        """Step after step of a block; each has a batch per learner.

        Whatever Lightning does around this call takes as long as a tenth of a small network's step.
        """
        optimizer, schedule = (
            self.optimizers(),
            cast(torch.optim.lr_scheduler.LRScheduler, self.lr_schedulers()),
        )
        assert not isinstance(optimizer, list)
        for batch in block:
            loss = self._loss_of(batch)
            with torch.autocast(self.device.type, enabled=False):
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
            schedule.step()
            torch.clear_autocast_cache()  # of the weights as they were

    def _loss_of(self, batch: Batch) -> torch.Tensor:
        sr_NCHW = self.sharing(to_float(batch["lr"]), batch["chunk"])
        loss, difference_NHWC = loss_of(self._loss, sr_NCHW, batch["hr"], self._border)
        loss = loss * self._at_once
        self.watched = None
        if is_watched(self.global_step, self.steps):
            self._watch(loss, difference_NHWC.square().mean((1, 2, 3)))
        return loss

    def _watch(self, loss: torch.Tensor, error_B: torch.Tensor) -> None:
        value = loss.item() / self._at_once
        if not value <= EXPLODED:
            raise diverged(f"a loss of {value:.3g}", self)
        now = float(psnr(error_B.mean().item(), peak=1.0))
        self.psnr_so_far = now if self.psnr_so_far is None else 0.9 * self.psnr_so_far + 0.1 * now
        self.watched = {"loss": value, "psnr": now, "lr": rate_of(self)}

    def configure_optimizers(self) -> Any:
        """One optimizer over all networks, and its schedule."""
        filters = {id(each) for each in filters_of(self.sharing)}
        groups = [
            {
                "filters": kind,
                "params": [p for p in self.sharing.parameters() if (id(p) in filters) == kind],
            }
            for kind in (True, False)
        ]
        optimizer = self._optimizer(groups)
        before, after = self._others
        curve = {"first": before} if before else {}
        schedule = self._schedule(optimizer, steps=before + self.steps + after, **curve)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def filters_of(module: nn.Module) -> list[nn.Parameter]:
    """The filter banks of all convolutions, where they are weight-normalised the directions, and
    low-rank factors."""
    found = []
    for part in module.modules():
        if isinstance(part, Convolution):
            split = parametrize.is_parametrized(part, "weight")
            found.append(
                part.get_parameter("parametrizations.weight.original1" if split else "weight")
            )
        elif isinstance(part, Factors):
            found += [part.left, part.right]
    return found


def rate_of(module: pl.LightningModule) -> float:
    """The learning rate of the step that is being done."""
    return float(module.trainer.optimizers[0].param_groups[0]["lr"])


def diverged(sign: str, module: pl.LightningModule) -> UserError:
    """What to raise for a fit that leads nowhere. sign: what shows it."""
    where = f"step {module.global_step}, at a learning rate of {rate_of(module):.3g}"
    return UserError(
        f"training diverged: {sign} at {where}; lower optim.lr (the last good checkpoint is kept)"
    )
