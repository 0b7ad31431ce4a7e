"""Callbacks of a fit: progress, checkpoints, elapsed time."""

import io
import logging
import os
import pickle
import signal
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint
from tqdm import tqdm

from stdo.core.files import atomic
from stdo.core.types import UserError
from stdo.training.module import Overfit, diverged

VALIDATED = "val/psnr"
"""How `log` knows the PSNR of the video."""


def hush() -> None:
    """Keep Lightning's remarks off the terminal where they do not apply to us."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for remark in (
        # batches are one indexed read, no work for workers
        "The 'train_dataloader' does not have many workers",
        # ours starts at any step
        "You're resuming from a checkpoint that ended before the epoch ended",
        "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # Lightning's own use of torch
        # the curve has its own steps
        "The number of training batches \\(.*\\) is smaller than the logging interval",
        # the fit's own callback says when to validate
        "You defined a `validation_step` but have no `val_dataloader`",
        "The 'val_dataloader' does not have many workers",
        "The `srun` command is available on your system but is not used",  # one process needs none
    ):
        warnings.filterwarnings("ignore", message=f".*{remark}")


class FitProgress(pl.Callback):
    """One line with patches shown, time left and the PSNR so far.

    Args:
        patches_per_step: How many patches a step shows, or the pixels of how many.
        what: The words that the line begins with.
    """

    def __init__(self, patches_per_step: int | Fraction, what: str = "train") -> None:
        self._patches, self._what = patches_per_step, what
        self._bar: tqdm[Any] | None = None
        self._video = ""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start where the fit resumes."""
        if trainer.is_global_zero:
            assert isinstance(pl_module, Overfit)
            assert pl_module.steps is not None
            total, done = self._shown(pl_module.steps), self._shown(trainer.global_step)
            self._bar = tqdm(
                desc=self._what, total=total, initial=done, unit=" patches", dynamic_ncols=True
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Move on; say the PSNR from time to time."""
        if self._bar is None:
            return
        self._bar.update(self._shown(trainer.global_step) - self._bar.n)
        if isinstance(pl_module, Overfit) and pl_module.watched is not None:
            shown = f"PSNR {pl_module.psnr_so_far:.2f} dB{self._video}"
            self._bar.set_postfix_str(shown, refresh=False)

    def _shown(self, steps: int) -> int:
        return round(steps * self._patches)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Say the PSNR of the video."""
        if VALIDATED in trainer.callback_metrics:
            self._video = f", video {float(trainer.callback_metrics[VALIDATED]):.2f} dB"

    def on_exception(self, *_: Any) -> None:
        """Leave the line as far as it got, before whatever is said of it."""
        if self._bar is not None:
            self._bar.close()

    def teardown(self, *_: Any, **__: Any) -> None:
        """Leave the finished line on the terminal."""
        if self._bar is not None:
            self._bar.close()


class KeepLast(Checkpoint):
    """Writes a checkpoint every few seconds, so that a killed fit loses no more than that, and when
    asked to stop.

    Networks with non-finite weights are not written: the last good checkpoint stays. Lightning
    calls a Checkpoint after the other callbacks, whose state it holds; listed last, it comes last.

    Args:
        path: The checkpoint.
        seconds: Between two of them.
        asked: Returns what to raise once the checkpoint is written, or None to continue.
        last: A step after which one is written in any case.
        waits: Whether a validation follows so many steps: then the checkpoint follows that, and a
            resumed fit repeats none and leaves none out.
    """

    def __init__(
        self,
        path: Path,
        seconds: float,
        asked: Callable[[], BaseException | None],
        last: int | None = None,
        waits: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self._path, self._seconds, self._asked, self._last = path, seconds, asked, last
        self._waits = waits
        self._written = time.monotonic()
        self._on_sigterm = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, *_: Any) -> None:
        """Take SIGTERM back from Lightning, which puts a handler before ours and then ends the
        fit with SystemExit, without a checkpoint, where we have not looked yet."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Write when it is time."""
        if not self._waits(trainer.global_step):
            self._write(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write when it is time."""
        self._write(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Heed whoever has asked since the last step."""
        self._write(trainer, pl_module, always=False)

    def _write(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, always: bool = True
    ) -> None:
        """Write when it is time, or only when asked to stop unless ``always``; every process takes
        part, so the main one decides."""
        stop = self._asked()
        late = time.monotonic() - self._written >= self._seconds
        due = stop is not None or (always and (late or trainer.global_step == self._last))
        due, stop = trainer.strategy.broadcast((due, stop))
        if due:
            _check_weights(pl_module)
            trainer.save_checkpoint(self._path)
            self._written = time.monotonic()
        if stop is not None:
            raise stop


def _check_weights(module: pl.LightningModule) -> None:
    if not all(bool(weight.isfinite().all()) for weight in module.parameters()):
        raise diverged("non-finite weights", module)


class Curve(pl.Callback):
    """Hands the points of the training curve to the loggers, and keeps the seconds of fitting over
    all sessions.

    The points go to the loggers directly: Lightning's own way, ``log_every_n_steps``, knows neither
    the first nor the last step, and logs the last value again where there is no new one.

    Args:
        patches_per_step: How many patches a step shows, or the pixels of how many.
        steps: Steps of the phases before this one.
        presentations: Patches that those have shown.
        seconds: What those took.
    """

    def __init__(
        self,
        patches_per_step: int | Fraction,
        steps: int = 0,
        presentations: int = 0,
        seconds: float = 0.0,
    ) -> None:
        self._patches, self._steps, self._presentations = patches_per_step, steps, presentations
        self.seconds = seconds
        self._since: float | None = None

    def on_train_start(self, *_: Any) -> None:
        """Start."""
        self._since = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Log the step when it is a point of the curve."""
        if not isinstance(pl_module, Overfit) or pl_module.watched is None:
            return
        self._log(trainer, "train", pl_module.watched)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Log the PSNR of the video."""
        if VALIDATED in trainer.callback_metrics:
            self._log(trainer, "val", {"psnr": float(trainer.callback_metrics[VALIDATED])})

    def _log(self, trainer: pl.Trainer, kind: str, values: Mapping[str, float]) -> None:
        step = trainer.global_step
        shown = self._presentations + round(step * self._patches)
        row = {"presentations": shown, "seconds": self.now(), **values}
        for logger in trainer.loggers:
            logger.log_metrics(
                {f"{kind}/{key}": value for key, value in row.items()}, self._steps + step
            )

    def on_train_end(self, *_: Any) -> None:
        """Stop."""
        self.seconds, self._since = self.now(), None

    def state_dict(self) -> dict[str, Any]:
        """Into the checkpoint."""
        return {"seconds": self.now()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.seconds = float(state_dict["seconds"])

    def now(self) -> float:
        """Seconds of fitting so far."""
        return self.seconds + (time.monotonic() - self._since if self._since is not None else 0.0)


class AtomicCheckpointIO(TorchCheckpointIO):
    """A checkpoint is whole or not there at all, and holds no code."""

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read one. Raises UserError where it is damaged, or holds more than tensors and plain
        values."""
        try:
            loaded: dict[str, Any] = super().load_checkpoint(path, *args, **kwargs)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
            remedy = "is never run; force=true starts over"
            raise UserError(
                f"{path}: damaged, or not a checkpoint of ours; pickled code {remedy}"
            ) from error
        return loaded

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: Any,
        storage_options: Any | None = None,  # noqa: ARG002
    ) -> None:
        """Write under a temporary name, flush, rename."""
        target = Path(os.fspath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()  # torch's own writer hides why it could not write
        torch.save(checkpoint, content)
        with atomic(target) as partial:
            partial.write_bytes(content.getbuffer())
