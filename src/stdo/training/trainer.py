"""Lightning's Trainer with a user's settings, tried before anything is decoded."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher

from stdo.core.types import UserError
from stdo.training.callbacks import AtomicCheckpointIO, hush
from stdo.training.processes import environment

_OURS = "stdo sets it"
_LENGTH = "budget.passes says how long a fit is"
_VALIDATION = "see budget.validate_every and budget.validate_frames"
_NOTHING = "has no effect here: there is one pass over steps, and evaluation comes after it"

REFUSED = {
    **dict.fromkeys(("plugins", "max_epochs", "use_distributed_sampler"), _OURS),
    "callbacks": "callbacks.<name>._target_=… adds one",
    "logger": "logger=[…] and logger.<name>._target_=… choose them",
    "enable_checkpointing": f"{_OURS}; see checkpoint_seconds, and callbacks=model_checkpoint",
    **dict.fromkeys(("min_epochs", "min_steps"), _LENGTH),
    "max_time": "callbacks.timer._target_=pytorch_lightning.callbacks.Timer does that",
    **dict.fromkeys(
        ("limit_val_batches", "val_check_interval", "check_val_every_n_epoch"), _VALIDATION
    ),
    **dict.fromkeys(("limit_test_batches", "limit_predict_batches"), _NOTHING),
    **dict.fromkeys(
        (
            "num_sanity_val_steps", "log_every_n_steps", "reload_dataloaders_every_n_epochs",
            "sync_batchnorm",
        ),
        _NOTHING,
    ),
    **dict.fromkeys(
        ("inference_mode", "barebones", "model_registry", "enable_autolog_hparams"), _NOTHING
    ),
}  # fmt: skip
"""Settings of a Trainer that a user must leave alone, and why."""

TRIED = (
    "accelerator", "strategy", "devices", "num_nodes", "precision", "deterministic", "benchmark",
    "detect_anomaly", "default_root_dir", "enable_progress_bar", "enable_model_summary",
)  # fmt: skip
"""Settings of a Trainer that Lightning honours: a Trainer is built with them before anything is
decoded."""

SWITCHES = ("benchmark", "detect_anomaly", "enable_progress_bar", "enable_model_summary")
"""Settings that Lightning takes for true whatever they are."""

SEVERAL = "ddp_find_unused_parameters_true"
"""The strategy of several processes: a step may train one network of many."""


def check_settings(trainer: Mapping[str, Any]) -> None:
    """Raise UserError for a setting that is not a user's to make, or that Lightning would
    misread."""
    for name, value in trainer.items():
        if name in REFUSED and value is not False and value is not None:
            raise UserError(f"trainer.{name}={value}: must be left out: {REFUSED[name]}")
        if name in SWITCHES and not isinstance(value, bool | None):
            raise UserError(f"trainer.{name}={value}: must be true or false")
    if trainer.get("gradient_clip_algorithm") and not trainer.get("gradient_clip_val"):
        raise UserError(
            f"trainer.gradient_clip_algorithm={trainer['gradient_clip_algorithm']}: needs "
            "trainer.gradient_clip_val"
        )
    deterministic = trainer.get("deterministic")
    if deterministic not in (True, False, None, "warn"):
        raise UserError(f"trainer.deterministic={deterministic}: must be true, false or warn")


def tried(
    make: Callable[..., pl.Trainer], trainer: Mapping[str, Any], usual: Mapping[str, Any]
) -> pl.Trainer:
    """Build a Trainer as a fit would, and compute something on its device.

    Args:
        make: Builds one from further arguments.
        trainer: The settings that ``make`` uses.
        usual: Settings that are known to work: those of ``trainer`` which differ are named where it
            fails.

    Raises:
        UserError: Lightning refuses the settings, the device does not work, or the strategy is none
            that a fit has.
    """
    hush()
    ours = {"max_epochs": 1, "callbacks": [], "logger": False, "use_distributed_sampler": False}
    # without the environment of a fit, Lightning refuses `srun --ntasks=2` of two commands
    build = partial(make, **ours, plugins=[AtomicCheckpointIO(), *environment(make)])
    try:
        built = build()
        _check_strategy(built.strategy, trainer)
        probe = torch.ones(1, 1, 4, 4, device=built.strategy.root_device)
        torch.nn.functional.conv2d(probe, probe).item()
    except UserError:
        raise
    except (
        Exception
    ) as error:  # whatever Lightning and a device's driver raise: it is about these settings
        odd = {
            name: value
            for name, value in trainer.items()
            if value != usual.get(name) and not name.startswith("_")
        }
        named = " ".join(
            f"trainer.{name}={value}" for name, value in _guilty(build, odd, usual).items()
        )
        raise UserError(f"{named or 'trainer'}: {_reason(error)}") from error
    return built


def strategy_for(built: pl.Trainer, strategy: Any) -> Any:
    """The strategy to train with, in place of the one that was asked for."""
    several = isinstance(built.strategy, DDPStrategy) and strategy in (None, "auto", "ddp")
    return SEVERAL if several else strategy


def check_processes(built: pl.Trainer, shown: int, accumulate: int = 1) -> None:
    """Raise UserError where some process would get no patch of a step, or of a part of it: the
    others would wait for it forever.

    Args:
        built: The Trainer.
        shown: Patches of a step.
        accumulate: Parts that a step is computed in.
    """
    if built.world_size > shown:
        raise UserError(
            f"trainer.devices: {built.world_size} processes share the {shown} patches of a "
            "step: must be at most "
            f"{shown}; raise budget.batch"
        )
    if built.world_size > 1 and shown // built.world_size < accumulate:
        raise UserError(
            f"trainer.accumulate_grad_batches={accumulate}: {built.world_size} processes share the "
            f"{shown} patches of a step, and each needs one for every part; raise budget.batch or "
            "lower trainer.devices"
        )


def _check_strategy(strategy: Strategy, trainer: Mapping[str, Any]) -> None:
    launcher = strategy.launcher
    # What the fit learns of its video would stay in a child
    forked = isinstance(launcher, _MultiProcessingLauncher)
    if forked or not isinstance(strategy, SingleDeviceStrategy | DDPStrategy):
        raise UserError(
            f"trainer.strategy={trainer.get('strategy')}: must be auto or ddp: networks are "
            "small, every process has "
            "them whole and is started by a command"
        )


def _guilty(
    make: Callable[..., object], odd: Mapping[str, Any], usual: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Of settings that differ from the usual ones, the one without which a Trainer is built; all
    where there is none.

    Args:
        make: Builds a Trainer; further arguments take the place of settings.
    """
    known = inspect.signature(pl.Trainer).parameters
    for name, value in odd.items():
        if name not in known:
            return {name: value}
        with contextlib.suppress(Exception):
            make(**{name: usual.get(name, known[name].default)})
            return {name: value}
    return odd


def _reason(error: Exception) -> str:
    """The first sentence of what Lightning says, or what takes its place."""
    if isinstance(error, TypeError) and "unexpected keyword" in str(error):
        return "Lightning's Trainer has no such setting"
    text = " ".join(str(error).split()) or type(error).__name__
    return f"Lightning refuses it ({text[:300]})"
