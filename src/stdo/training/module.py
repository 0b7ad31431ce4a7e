"""The LightningModule: a sharing, an optimizer, a schedule and a loss."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Self, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import nn
from torch.nn.utils import parametrize

from stdo.chunks.score import psnr
from stdo.core.timeshare import yield_cores
from stdo.core.types import F32, I64, UserError
from stdo.models.common import Backbone, Convolution
from stdo.models.pixels import to_float
from stdo.models.sharing import Banks, Sharing
from stdo.training.blocks import is_watched
from stdo.training.data import Batch
from stdo.training.hyper import (
    Optimizer,
    Schedule,
    built_optimizer,
    built_schedule,
    built_sharing,
    described,
)
from stdo.training.loss import LOSSES, loss_of
from stdo.training.validation import FrameBatch, VideoPsnr, reconstructed

__all__ = ["Optimizer", "Overfit", "Schedule", "diverged", "filters_of", "peak_rate_of", "rate_of"]

EXPLODED = 10.0
"""A mean error, absolute or squared, that no fit comes back from: pixels lie between 0 and 1, so an
all-black picture has less than a tenth."""


class Overfit(pl.LightningModule):
    """Overfits the networks of a sharing to the patches of one video.

    The loss is a mean over each learner's patches, summed over the learners: absolute differences
    (L1, paper section 4.1) or squared ones (L2, which PSNR measures and B-STDO takes), see
    `loss.LOSSES`. With one batch per network and one Adam, which works element by element, that is
    the same as separate fits.

    It fits with any Trainer, `PatchData` or any DataLoader of `Batch`. A checkpoint holds the
    module's hyper-parameters as plain values, so `load_from_checkpoint` needs nothing else.

    Args:
        sharing: The networks; a backbone alone; or what `stdo.training.hyper.described` made of
            either.
        optimizer: None: Adam at 1e-3. Or a description, see `stdo.training.hyper`.
        schedule: None: cosine decay. Or a description.
        steps: Steps of this phase; None: as many as the Trainer does.
        border: SR pixels of halo to cut off before the loss.
        at_once: How many learners each step shows patches to; None: all.
        loss: A key of `loss.LOSSES`.
        others: Steps of the phases before and after this one: the learning rate moves over all of
            them.
        clip: Largest gradient of a step; None: not clipped.
        clip_by: ``norm``, of all networks together, or ``value``, of each weight.
        accumulate: Parts that a step's batch is computed in, one after the other.

    Attributes:
        watched: Mean loss, PSNR and learning rate of the step just done, where it is a point of the
            curve.
        peak_rate: The highest learning rate of the steps so far.
        telling: Whether points of the curve go to `log`, for callbacks.
        to_loggers: Whether what goes to `log` also goes to the loggers.
        noting: Told the numbers of a step's patches, int64 (B,), and the mean squared error of
            each, float32 (B,), before the step; None: nobody.
    """

    automatic_optimization = False

    def __init__(
        self,
        sharing: Sharing | Backbone | Mapping[str, Any],
        optimizer: Optimizer | Mapping[str, Any] | None = None,
        schedule: Schedule | Mapping[str, Any] | None = None,
        steps: int | None = None,
        border: int = 0,
        at_once: int | None = None,
        loss: str = "l1",
        others: tuple[int, int] = (0, 0),
        clip: float | None = None,
        clip_by: str = "norm",
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.sharing = built_sharing(sharing)
        self._optimizer, self._schedule = built_optimizer(optimizer), built_schedule(schedule)
        self.steps, self._others, self._border = steps, tuple(others), border
        self._at_once, self._loss = at_once or self.sharing.learners, loss
        self._clip, self._clip_by, self._accumulate = clip, clip_by, accumulate
        self.psnr_so_far: float | None = None
        self.watched: dict[str, float] | None = None
        self.peak_rate = 0.0
        self.telling = self.to_loggers = True
        self.noting: Callable[[I64, F32], None] | None = None
        self.video_psnr = VideoPsnr()
        self.save_hyperparameters(
            {
                **described(self.sharing, self._optimizer, self._schedule),
                "steps": steps,
                "border": border,
                "at_once": at_once,
                "loss": loss,
                "others": list(others),
                "clip": clip,
                "clip_by": clip_by,
                "accumulate": accumulate,
            },
            logger=False,
        )

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = True,
        **kwargs: Any,
    ) -> Self:
        """See Lightning's: but no pickled code is run, wherever the checkpoint comes from, unless
        ``weights_only=False`` asks for it."""
        safe = weights_only is not False
        return super().load_from_checkpoint(
            checkpoint_path, map_location, hparams_file, strict, safe, **kwargs
        )

    def forward(self, lr_NCHW: torch.Tensor, chunk_N: torch.Tensor) -> torch.Tensor:
        """See `Sharing.forward`."""
        sr_NCHW: torch.Tensor = self.sharing(lr_NCHW, chunk_N)
        return sr_NCHW

    def training_step(self, batch: Batch | list[Batch], batch_idx: int) -> None:  # noqa: ARG002
        """Do a step, or step after step of a block; each has a batch per learner.

        Whatever Lightning does around this call takes as long as a tenth of a small network's step.
        """
        optimizer, schedule = (
            self.optimizers(),
            cast(torch.optim.lr_scheduler.LRScheduler, self.lr_schedulers()),
        )
        assert not isinstance(optimizer, list)
        for each in batch if isinstance(batch, list) else [batch]:
            self.peak_rate = max(self.peak_rate, rate_of(self))
            seen: list[tuple[float, float]] = []
            if self._accumulate == 1:
                loss = self._loss_of(each, seen)
                self._watch(seen)
                with torch.autocast(self.device.type, enabled=False):
                    optimizer.zero_grad()
                    self.manual_backward(loss)
                    optimizer.step()
            else:
                self._step_in_parts(each, optimizer, seen)
            schedule.step()
            torch.clear_autocast_cache()  # of the weights as they were
            yield_cores()
        if self.watched is not None and self.telling:
            shown = {f"train/{key}": self.watched[key] for key in ("loss", "psnr")}
            self.log_dict(shown, logger=self.to_loggers, batch_size=1)

    def _step_in_parts(
        self, batch: Batch, optimizer: LightningOptimizer, seen: list[tuple[float, float]]
    ) -> None:
        """Do a step whose gradient is added up part by part: as one batch, in less memory."""
        optimizer.zero_grad()
        size = len(batch["chunk"])
        for first in range(min(self._accumulate, size)):
            # Every n-th patch, so that each part has patches of every chunk
            part = {key: values[first :: self._accumulate] for key, values in batch.items()}
            share = len(part["chunk"]) / size
            loss = self._loss_of(part, seen, share)
            with torch.autocast(self.device.type, enabled=False):
                self.manual_backward(loss * share)
        self._watch(seen)
        with torch.autocast(self.device.type, enabled=False):
            optimizer.step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the highest learning rate so far."""
        checkpoint["peak_rate"] = self.peak_rate

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Read it; checkpoints of before have none."""
        self.peak_rate = float(checkpoint.get("peak_rate", 0.0))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradients, where that is asked for: they are unscaled here in any precision."""
        if self._clip:
            self.clip_gradients(optimizer, self._clip, self._clip_by)

    def validation_step(self, batch: FrameBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Measure one whole frame of the video: ``val/psnr``, the mean of the frames' PSNR in dB.

        In float32, as the finished networks are measured.
        """
        with torch.autocast(self.device.type, enabled=False):
            sr_HWC = reconstructed(self.sharing, batch)
        self.video_psnr.update(sr_HWC[None], batch["hr"][None])
        self.log("val/psnr", self.video_psnr, on_epoch=True, logger=self.to_loggers, batch_size=1)

    def _loss_of(
        self, batch: Batch, seen: list[tuple[float, float]], share: float = 1.0
    ) -> torch.Tensor:
        """The loss. Where the step is a point of the curve, its mean and the mean squared error are
        added to ``seen``, each times the share of the step's patches."""
        sr_NCHW = self.sharing(to_float(batch["lr"]), batch["chunk"])
        loss, difference_NHWC = loss_of(self._loss, sr_NCHW, batch["hr"], self._border)
        loss = loss * self._at_once
        if self.noting is not None:
            error_B = difference_NHWC.square().mean((1, 2, 3))
            self.noting(batch["patch"].cpu().numpy(), error_B.cpu().numpy())
        if is_watched(self.global_step, self._all_steps):
            error = difference_NHWC.square().mean((1, 2, 3)).mean().item()
            seen.append((share * (loss.item() / self._at_once), share * error))
        return loss

    @property
    def _all_steps(self) -> int:
        """Steps of this phase."""
        if self.steps is None:
            expected = self.trainer.estimated_stepping_batches
            if not math.isfinite(expected):
                raise UserError("steps: must be given where the Trainer has no end")
            self.steps = int(expected)
        return self.steps

    def _watch(self, seen: list[tuple[float, float]]) -> None:
        """Keep the point of the curve that the parts of a step make, if it is one."""
        self.watched = None
        if not seen:
            return
        value, error = (sum(figures) for figures in zip(*seen, strict=True))
        # A plugin's loss may be in any unit; its pictures are not
        size = value if self._loss in LOSSES else error
        if not (math.isfinite(value) and size <= EXPLODED):
            raise diverged(f"a loss of {value:.3g}", self)
        now = float(psnr(error, peak=1.0))
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
        schedule = self._schedule(optimizer, steps=before + self._all_steps + after, **curve)
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
        elif isinstance(part, Banks):
            found += part.parameters()
    return found


def rate_of(module: pl.LightningModule) -> float:
    """The learning rate of the step that is being done."""
    return float(module.trainer.optimizers[0].param_groups[0]["lr"])


def peak_rate_of(trainer: pl.Trainer) -> float:
    """The highest learning rate of a fit that is done."""
    assert isinstance(trainer.lightning_module, Overfit)
    return trainer.lightning_module.peak_rate


def diverged(sign: str, module: pl.LightningModule) -> UserError:
    """What to raise for a fit that leads nowhere. sign: what shows it."""
    where = f"step {module.global_step}, at a learning rate of {rate_of(module):.3g}"
    return UserError(
        f"training diverged: {sign} at {where}; lower optim.lr (the last good checkpoint is kept)"
    )
