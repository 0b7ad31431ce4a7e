"""What a user adds to a fit: callbacks, clipping, accumulation, a shorter fit, validation."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelSummary, ProgressBar
from pytorch_lightning.profilers import (
    AdvancedProfiler,
    Profiler,
    PyTorchProfiler,
    SimpleProfiler,
)

from stdo.chunks.sample import Sampler
from stdo.core.types import Json, UserError
from stdo.training.shortened import Shortened, planned

HONOURED = (
    "gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches", "max_steps",
    "limit_train_batches", "overfit_batches", "fast_dev_run", "profiler",
)  # fmt: skip
"""Arguments of a Trainer that Lightning does not take here, or takes for blocks of steps: the fit
itself honours them."""

PROFILERS: dict[str, Callable[..., Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}


@dataclass(frozen=True)
class Limit:
    """What makes a fit shorter than its budget says.

    Attributes:
        why: The setting, as the result names it; empty where there is none.
        of_phase: Steps of each phase, or a share of them.
        total: Steps of all phases together.
        repeat: Repeat the first so many steps of each phase, or a share of them.
    """

    why: str = ""
    of_phase: float | None = None
    total: int | None = None
    repeat: float | None = None

    @classmethod
    def of(cls, trainer: Mapping[str, Any]) -> Limit:
        """What the settings ``trainer.…`` ask for."""
        dev = int(trainer.get("fast_dev_run") or 0)
        share = trainer.get("limit_train_batches")
        if isinstance(share, float) and share == 1.0:
            share = None
        total, repeat = trainer.get("max_steps"), trainer.get("overfit_batches") or None
        if total == -1:
            total = None
        asked = {
            "fast_dev_run": dev or None,
            "limit_train_batches": share,
            "max_steps": total,
            "overfit_batches": repeat,
        }
        why = [f"trainer.{name}={value}" for name, value in asked.items() if value is not None]
        return cls(", ".join(why), dev or share, total, repeat)

    def apply(self, phases: list[Sampler]) -> list[Sampler]:
        """The samplers of the phases, each with the steps that it is to do.

        Raises:
            UserError: ``total`` leaves a phase without a step.
        """
        if not self.why:
            return phases
        steps = [phase.steps for phase in phases]
        if self.of_phase is not None:
            steps = [_part(self.of_phase, count) for count in steps]
        if self.total is not None:
            steps = self._divided(steps)
        repeats = [None if self.repeat is None else _part(self.repeat, count) for count in steps]
        return [
            Shortened(phase, count, repeat)
            for phase, count, repeat in zip(phases, steps, repeats, strict=True)
        ]

    def _divided(self, steps: list[int]) -> list[int]:
        """At most ``total`` steps, divided among the phases as before."""
        assert self.total is not None
        if self.total < len(steps):
            raise UserError(
                f"trainer.max_steps={self.total}: must be at least {len(steps)}: the fit has "
                f"{len(steps)} phases"
            )
        left, divided = min(self.total, sum(steps)), []
        for place, count in enumerate(steps):
            after = steps[place + 1 :]
            share = round(left * count / (count + sum(after)))
            divided.append(min(count, max(1, min(share, left - len(after)))))
            left -= divided[-1]
        return divided


def _part(asked: float, steps: int) -> int:
    """So many steps, or a share of them, at least one and not more than there are."""
    wanted = math.ceil(asked * steps) if isinstance(asked, float) else asked
    return max(1, min(wanted, steps))


@dataclass(frozen=True)
class Options:
    """What a user adds to a fit. The defaults add nothing.

    Attributes:
        callbacks: Makes new ones for each phase, from the folder for their checkpoints.
        clip: Largest gradient of a step; None: not clipped.
        clip_by: ``norm`` (all networks together) or ``value``.
        accumulate: Parts that a step's batch is computed in, one after the other.
        limit: What makes the fit shorter.
        profiler: A key of `PROFILERS`, or what makes one, from ``dirpath`` and ``filename``; None:
            none.
        validate_every: Steps between two validations, or a share of the fit; None: never.
        validate_frames: Measure each n-th frame; None: what costs a few per cent of the fit.
    """

    callbacks: Callable[[Path], list[pl.Callback]] = lambda _: []
    clip: float | None = None
    clip_by: str = "norm"
    accumulate: int = 1
    limit: Limit = Limit()
    profiler: str | Callable[..., Profiler] | None = None
    validate_every: float | None = None
    validate_frames: int | None = None

    def arguments(
        self,
        callbacks: list[pl.Callback],
        validates: bool,
        folder: Path,
        trainer: Callable[..., pl.Trainer],
        phase: str = "",
    ) -> dict[str, Any]:
        """What a Trainer needs beside its own settings.

        Args:
            callbacks: The user's.
            validates: Whether the fit validates.
            folder: The run directory.
            trainer: What builds the Trainer; what it sets itself stays.
            phase: The name of the phase, where there are several.
        """
        found: dict[str, Any] = {"limit_val_batches": 0, "num_sanity_val_steps": 0}
        if validates:
            # A number of batches that no fit has: `ValidateWhenDue` says when
            found = {
                "val_check_interval": sys.maxsize,
                "check_val_every_n_epoch": None,
                "num_sanity_val_steps": 0,
            }
        found["enable_checkpointing"] = True  # `KeepLast` is a Checkpoint
        kinds = {
            "enable_progress_bar": ProgressBar,
            "enable_model_summary": ModelSummary,
        }
        for name, kind in kinds.items():
            if any(isinstance(each, kind) for each in callbacks):
                found[name] = True
        profiler = self.profiler_in(folder, phase)
        if profiler is not None:
            found["profiler"] = profiler
        keywords = getattr(trainer, "keywords", {})
        if keywords.get("enable_model_summary"):  # `hush` would keep it off the terminal
            logging.getLogger("pytorch_lightning.callbacks.model_summary").setLevel(logging.INFO)
        if callbacks and keywords.get("default_root_dir") is None:
            found["default_root_dir"] = str(folder)
        return found

    def profiler_in(self, folder: Path, phase: str = "") -> Profiler | None:
        """The profiler, which writes into a folder, a file for each phase."""
        if self.profiler is None:
            return None
        if isinstance(self.profiler, str):
            make, name = PROFILERS[self.profiler], f"profile-{self.profiler}"
        else:
            make, name = self.profiler, "profile"
        made = make(dirpath=folder, filename=f"{name}-{phase}" if phase else name)
        if made.filename:
            sys.stderr.write(f"profile: {made.dirpath}/fit-{made.filename}*\n")
        return made


def shortened_facts(phases: Sequence[Sampler], limit: Limit, passes: float) -> Json:
    """What metrics.json says of a fit that did not do what its budget asks for; nothing where it
    did.

    Args:
        phases: As they were done.
        limit: What was asked for.
        passes: Patches seen over patches.
    """
    steps, wanted = sum(each.steps for each in phases), sum(map(planned, phases))
    if steps == wanted and limit.repeat is None:
        return {}
    why = limit.why or "a callback ended the fit"
    return {"shortened": why, "planned_steps": wanted, "passes": passes}
