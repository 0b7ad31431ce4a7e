"""Callbacks, profilers, loggers and trackers from a configuration, checked before decoding."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from stdo.core.types import UserError
from stdo.runs.directory import KEPT

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from pytorch_lightning.profilers import Profiler

    from stdo.runs.tracking.tracker import MakeTracker

LOGGED = ("val/psnr", "train/loss", "train/psnr")
"""What a fit tells callbacks."""

REFUSED = {
    "GradientAccumulationScheduler": "use trainer.accumulate_grad_batches",
    "BatchSizeFinder": "budget.batch says how many patches a step shows",
    "LearningRateFinder": "a sweep over optim.lr finds one; Lightning's needs automatic "
    "optimization",
    "StochasticWeightAveraging": "it counts epochs, and a fit has one; use EMAWeightAveraging",
    "BasePredictionWriter": "nothing is predicted in a fit",
    "BaseFinetuning": "all networks train from the first step",
    "BackboneFinetuning": "all networks train from the first step",
    "ThroughputMonitor": "curves.csv has patches seen and seconds",
    "ModelPruning": "it changes the networks' parameters, and weights.safetensors has no place "
    "for masks",
    "SpikeDetection": "it needs a training step that returns a loss",
    "Callback": "it does nothing by itself",
    "Checkpoint": "it does nothing by itself; use ModelCheckpoint",
    "ProgressBar": "it does nothing by itself; use TQDMProgressBar",
}
"""Lightning's callbacks that a fit cannot honour, and why."""


def callbacks_of(config: DictConfig) -> Callable[[Path], list[pl.Callback]]:
    """What makes the callbacks of ``callbacks.<name>``, new ones for each phase, from the folder
    that checkpoints without a ``dirpath`` go to.

    They are made once here, so that what is wrong with one is known before anything is decoded.
    ``refuse_untrusted`` comes first.

    Args:
        config: Of the run.

    Raises:
        UserError: One cannot be built, cannot be honoured, or watches what is never logged.
    """
    asked = {
        name: node for name, node in (config.get("callbacks") or {}).items() if node is not None
    }
    for name, node in asked.items():
        _check(name, _built(name, node, Path(KEPT)), config)
    return lambda folder: [_built(name, node, folder) for name, node in asked.items()]


def _built(name: str, node: Any, folder: Path) -> pl.Callback:
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import ModelCheckpoint, OnExceptionCheckpoint

    where = f"callbacks.{name}"
    made = _instantiated(where, node, "pytorch_lightning.callbacks.EarlyStopping")
    if not isinstance(made, pl.Callback):
        raise UserError(f"{where}: must be a callback of Lightning, not {type(made).__name__}")
    if isinstance(made, ModelCheckpoint) and made.dirpath is None:
        made = _instantiated(where, node, "", dirpath=str(folder))
    if isinstance(made, OnExceptionCheckpoint):
        made.dirpath = str(folder / made.dirpath)
    assert isinstance(made, pl.Callback)
    return made


def _instantiated(where: str, node: Any, example: str, **more: Any) -> Any:
    """Build what a mapping with a ``_target_`` names.

    Raises:
        UserError: It is no such mapping, or its class refuses the arguments.
    """
    if not OmegaConf.is_dict(node) or "_target_" not in node:
        raise UserError(f"{where}={node}: must have a _target_, such as {where}._target_={example}")
    try:
        return instantiate(node, **more)
    except UserError:
        raise
    except Exception as error:
        causes: list[BaseException] = [error]
        while causes[-1].__cause__ is not None:
            causes.append(causes[-1].__cause__)
        reason = " ".join(str(causes[-1]).split())[:300]
        _delete_half_made(causes)
        raise UserError(f"{where}: cannot be built ({reason})") from error


def _delete_half_made(causes: Sequence[BaseException]) -> None:
    """Delete now, and silently, what could not be built: the ``__del__`` of some classes expects
    what their ``__init__`` did not come to, and Python prints its traceback."""
    before, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        for cause in causes:
            traceback.clear_frames(cause.__traceback__)
    finally:
        sys.unraisablehook = before


def _check_installed(where: str, node: Any) -> None:
    """Raise UserError for a logger whose package is missing. It is not made to find that out:
    loggers talk to servers, and are made once there is a run directory."""
    from lightning_utilities.core.imports import RequirementCache

    kind = get_object(str(node["_target_"]))
    for parent in getattr(kind, "__mro__", ()):
        module = vars(sys.modules[parent.__module__])
        needed = [value for value in module.values() if isinstance(value, RequirementCache)]
        if needed and not any(needed):  # of several one is enough, as of TensorBoard's
            raise UserError(f"{where}: cannot be built ({' '.join(str(needed[0]).split())})")


def _check(name: str, made: pl.Callback, config: DictConfig) -> None:
    """Raise UserError for a callback that would do nothing, or watches what is never logged."""
    from pytorch_lightning.callbacks import EarlyStopping

    where = f"callbacks.{name}"
    for kind, why in REFUSED.items():
        if type(made).__name__ == kind:
            raise UserError(f"{where}: {kind} must be left out: {why}")
    _check_psutil(where, made, config)
    validates = config.budget.get("validate_every") is not None
    monitor = getattr(made, "monitor", None)
    if monitor is not None and monitor not in LOGGED:
        raise UserError(
            f"{where}.monitor={monitor}: is never logged: must be one of {', '.join(LOGGED)}"
        )
    needs = isinstance(made, EarlyStopping) or monitor == LOGGED[0]
    if needs and not validates:
        raise UserError(
            f"{where}: acts where the video is validated: set budget.validate_every=0.1"
        )
    mode, better = getattr(made, "mode", None), "lower" if monitor == "train/loss" else "higher"
    wanted = "min" if better == "lower" else "max"
    if monitor is not None and mode is not None and mode != wanted:
        raise UserError(
            f"{where}.mode={mode}: must be {wanted}: {monitor} is better the {better} it is"
        )


def _check_psutil(where: str, made: pl.Callback, config: DictConfig) -> None:
    """Raise UserError for a callback that finds out in the fit that psutil is missing."""
    import torch
    from pytorch_lightning.accelerators.cpu import _PSUTIL_AVAILABLE
    from pytorch_lightning.callbacks import DeviceStatsMonitor

    if not isinstance(made, DeviceStatsMonitor) or _PSUTIL_AVAILABLE:
        return
    trainer = config.get("trainer") or {}
    on_cpu = trainer.get("accelerator") == "cpu" or not torch.accelerator.is_available()
    if made._cpu_stats or (made._cpu_stats is None and on_cpu):
        raise UserError(f"{where}: cannot be built ({' '.join(str(_PSUTIL_AVAILABLE).split())})")


def profiler_of(asked: Any) -> str | Callable[..., Profiler] | None:
    """What makes the profiler that ``trainer.profiler`` asks for, from further arguments: of
    ``dirpath`` and ``filename`` those that it takes and that the user has not set.

    It is made once here, so that what is wrong with it is known before anything is decoded.

    Args:
        asked: The name of one, a mapping with a ``_target_``, or None.

    Raises:
        UserError: It cannot be built, or is no profiler of Lightning.
    """
    if not OmegaConf.is_dict(asked):
        name: str | None = asked
        return name
    from pytorch_lightning.profilers import Profiler

    where, example = "trainer.profiler", "pytorch_lightning.profilers.SimpleProfiler"
    kind = get_object(str(asked["_target_"])) if "_target_" in asked else None
    taken: set[str] = set()
    if kind is not None:
        own = {str(key): value for key, value in asked.items() if not str(key).startswith("_")}
        signature = inspect.signature(kind)
        try:  # before it is made: half-made ones complain on stderr when they are deleted
            signature.bind(**own)
        except TypeError as error:
            raise UserError(f"{where}: cannot be built ({error})") from error
        taken = signature.parameters.keys() - own.keys()
    made = _instantiated(where, asked, example)
    if not isinstance(made, Profiler):
        raise UserError(f"{where}: must be a profiler of Lightning, not {type(made).__name__}")

    def make(**more: Any) -> Profiler:
        fitting = {key: value for key, value in more.items() if key in taken}
        built: Profiler = _instantiated(where, asked, example, **fitting)
        return built

    return make


def tracker_of(config: DictConfig, settings: Mapping[str, Any]) -> MakeTracker:
    """What tells others of a run: each mapping with a ``_target_`` in ``logger``, ours or
    Lightning's own.

    Args:
        config: Of the run.
        settings: The same as nested plain values.

    Raises:
        UserError: One cannot be built.
    """
    from functools import partial

    from stdo.runs.tracking.several import LightningTracker, Several
    from stdo.runs.tracking.tracker import FilesOnly

    chosen = config.get("logger")
    if not chosen:
        return FilesOnly
    if "_target_" in chosen:  # a tracker of the user's own, as all were in version 0.1
        return partial(instantiate(chosen), config=settings)
    makers: list[MakeTracker] = []
    for name, node in chosen.items():
        if not OmegaConf.is_dict(node):
            continue
        if node.get("_target_") is not None and node.get("_partial_"):
            makers.append(partial(instantiate(node), config=settings))
            continue

        if node.get("_target_") is not None:
            _check_installed(f"logger.{name}", node)

        def make(node: Any = node, name: str = str(name), **more: Any) -> Any:
            example = "pytorch_lightning.loggers.CSVLogger"
            return _instantiated(f"logger.{name}", node, example, **more)

        makers.append(partial(LightningTracker, name=str(name), make=make, config=settings))
    return makers[0] if len(makers) == 1 else partial(Several, makers)
