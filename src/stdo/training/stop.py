"""Ends a fit when what it gains is no longer worth the time."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from tqdm import tqdm

from stdo.chunks.branch import Branching
from stdo.chunks.sample import Sampler
from stdo.chunks.score import psnr
from stdo.training.callbacks import Curve
from stdo.training.data import Batch, PatchData
from stdo.training.module import Overfit
from stdo.types import F32, I64

TAIL = 0.1
"""Steps in which the rate falls to its end, as a share of those before (measured: docs/decisions/0020)."""

WINDOW = 0.25
"""The gain is that of the last quarter of the steps that are judged: curves are straight in the logarithm of time."""

PASSES = 2
"""How often patches are compared before the gain counts: branches lose a little before they gain."""


class Gain:
    """How fast the PSNR of a video's patches rises, by what training sees of them.

    A patch is compared with itself alone, as it was when it was last shown, since patches differ by far more than a
    fit gains. The intervals between a patch's showings tile the fit, however often it is shown; so gains added up, over
    intervals added up, are the mean gain of a patch per step, also where hard patches are shown more often.

    one_pass: steps that show as many patches as there are, the shortest stretch that is judged.
    """

    def __init__(self, patches: int, one_pass: float) -> None:
        self._psnr_N, self._shown_N = np.full(patches, np.nan, np.float32), np.zeros(patches, np.int64)
        self._one_pass, self._begun = one_pass, 0
        self._pairs, self._gained, self._waited = 0, 0.0, 0.0

    def begin(self, step: int, psnr_N: F32) -> None:
        """Judge from this step on. psnr_N: PSNR of every patch, in dB."""
        self._psnr_N[:], self._shown_N[:], self._begun = psnr_N, step, step

    def show(self, step: int, patch_B: I64, error_B: F32) -> None:
        """Take note of a step. error_B: mean squared errors of the patches, of colours between 0 and 1."""
        now_B = psnr(error_B, peak=1.0).astype(np.float32)
        known_B = ~np.isnan(self._psnr_N[patch_B])
        keep = 1 - 1 / max(self._one_pass, WINDOW * (step - self._begun), 1.0)
        self._gained = keep * self._gained + float((now_B - self._psnr_N[patch_B])[known_B].sum())
        self._waited = keep * self._waited + float((step - self._shown_N[patch_B])[known_B].sum())
        self._pairs += int(known_B.sum())
        self._psnr_N[patch_B], self._shown_N[patch_B] = now_B, step

    def per_step(self) -> float | None:
        """dB per step, of the mean patch; None until `PASSES` times as many patches were compared as there are."""
        return self._gained / self._waited if self._pairs >= PASSES * len(self._psnr_N) and self._waited else None

    def state_dict(self) -> dict[str, Any]:
        """Into the checkpoint."""
        state = {"psnr": torch.from_numpy(self._psnr_N.copy()), "shown": torch.from_numpy(self._shown_N.copy())}
        sums = {"pairs": self._pairs, "gained": self._gained, "waited": self._waited}
        return state | sums | {"begun": self._begun}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        self._psnr_N[:], self._shown_N[:] = state["psnr"].numpy(), state["shown"].numpy()
        self._pairs, self._gained, self._waited = state["pairs"], state["gained"], state["waited"]
        self._begun = state["begun"]


class StopWhenSlow(pl.Callback):
    """Lets a fit end when its patches gain less than ``min_gain`` dB per minute.

    What the rate's decay brings is not thrown away: the rest of the schedule is then run through in `TAIL` of the steps
    that were done. Where the fit branches, only what comes then is judged. Decisions are the main process's.

    Comes after `Branch` and `Curve`, before whatever writes checkpoints. metrics.json says under ``stopped`` at which
    step, after how many seconds and at what gain the end began, and how many presentations it saved.
    """

    def __init__(self, min_gain: float, data: PatchData, sampler: Sampler, curve: Curve) -> None:
        self._min_gain, self._data, self._sampler, self._curve = min_gain, data, sampler, curve
        self._gain = Gain(len(sampler.label_N), len(sampler.label_N) / sampler.shown)
        self._first, self._began = (sampler.first.steps if isinstance(sampler, Branching) else 0), 0.0
        self._stride = 1.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Ask for the patches' errors; and where a fit goes on that was about to end, end it there."""
        assert isinstance(pl_module, Overfit)
        pl_module.errors, pl_module.steps, pl_module.stride = True, self._sampler.steps, self._stride

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: list[Batch],
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Take note of the block's steps; judge at the points of the curve."""
        assert isinstance(pl_module, Overfit)
        step = trainer.global_step
        if step == self._first:  # the branch has just scored all patches
            self._gain.begin(step, self._data.scores.ravel())
            self._began = self._curve.now()
        elif step > self._first and not self._ending:
            before = step - len(batch)
            for done, (each, error_B) in enumerate(zip(batch, outputs["errors"], strict=True), 1):
                self._gain.show(before + done, each["patch"].cpu().numpy(), error_B.cpu().numpy())
            gain = trainer.strategy.broadcast(self._rate(step)) if pl_module.watched is not None else None
            if gain is not None and gain < self._min_gain:
                self._end(step, gain, pl_module)

    @property
    def _ending(self) -> bool:
        return self._stride != 1.0

    def _rate(self, step: int) -> float | None:
        """dB per minute. The clock gives the speed alone; the gain per step is the same in every run."""
        per_step, seconds = self._gain.per_step(), self._curve.now() - self._began
        return None if per_step is None or seconds <= 0 else 60 * per_step * (step - self._first) / seconds

    def _end(self, step: int, gain: float, module: Overfit) -> None:
        """Run through what is left of the schedule in a tail, unless there is no more left than that."""
        left, tail = self._sampler.steps - step, max(1, round(TAIL * step))
        if tail >= left:
            return
        self._stride = module.stride = left / tail
        schedule = module.trainer.lr_scheduler_configs[0].scheduler
        schedule.last_epoch += self._stride - 1  # type: ignore[assignment]  # as after each step that comes
        saved = (left - tail) * self._sampler.shown
        self._sampler.stop(step + tail, {"step": step, "seconds": self._curve.now(), "gain": gain, "saved": saved})
        module.steps = step + tail
        if module.trainer.is_global_zero:
            why = f"{gain:.3g} dB a minute, less than budget.min_gain={self._min_gain:g}"
            tqdm.write(f"step {step}: {why}; {tail} steps more instead of {left}", file=sys.stderr)

    def state_dict(self) -> dict[str, Any]:
        """Into the checkpoint."""
        ending = {"stride": self._stride, "steps": self._sampler.steps, "why": self._sampler.stopped}
        return {"gain": self._gain.state_dict(), "began": self._began} | ending

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self._gain.load_state_dict(state_dict["gain"])
        self._began, self._stride = state_dict["began"], state_dict["stride"]
        if self._ending:
            self._sampler.stop(state_dict["steps"], state_dict["why"])
