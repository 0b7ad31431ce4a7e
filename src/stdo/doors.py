"""What the doors share: Hydra's start and one-line errors.

Only this module, `stdo.jobs` and the doors know Hydra and OmegaConf. Heavy packages are imported when they are needed,
so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stdo.files import disk_error
from stdo.foreign import printable
from stdo.locks import RANKS, BusyError
from stdo.provenance import as_typed
from stdo.signals import Stopped, heeded
from stdo.sweeps import BUSY, FAILED, FINISHED, Outcome, Sweep, failures, job_command
from stdo.trust import conf_dir
from stdo.types import UserError

OmegaConf.register_new_resolver("pick", lambda choices, key: choices[key], replace=True)
"""``${pick:${choices},${scale}}``: the entry of a mapping that another setting names."""


def enter(task: Callable[[DictConfig], Path | None], config_name: str) -> None:
    """Run a Hydra task; a user's mistake becomes one line and exit code 2.

    task: returns its run directory. In a sweep, a job that fails is listed at the end and the others go on.
    ``HYDRA_FULL_ERROR=1`` shows the traceback instead.
    """
    asked = os.environ.get("HYDRA_FULL_ERROR")
    full = asked == "1"
    several = {"-m", "--multirun"} & set(sys.argv[1:])
    sweeps: list[tuple[Sweep, Outcome]] = []

    def job(config: DictConfig) -> None:
        if HydraConfig.get().mode == RunMode.MULTIRUN and not full:
            sweeps.append(_sweep_job(task, config))
            return
        with _mistakes(full):  # here as well: Hydra would print the overrides of a job that fails
            task(config)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra hand its errors to us instead of printing them
    try:
        with _mistakes(full), heeded():
            if several and config_name != "train":
                raise UserError(f"{several.pop()}: only stdo.train sweeps; call this once for each run")
            hydra.main(version_base="1.3", config_path=str(conf_dir().resolve()), config_name=config_name)(job)()
            _close_sweep(sweeps)
    finally:
        os.environ["HYDRA_FULL_ERROR"] = asked or "0"


def _sweep_job(task: Callable[[DictConfig], Path | None], config: DictConfig) -> tuple[Sweep, Outcome]:
    """Run one job of a sweep and keep what became of it."""
    runtime = HydraConfig.get()
    _refuse_processes(config.trainer)
    sweep = Sweep(Path(config.paths.outputs), config.study or Path(runtime.sweep.dir).name)
    command = as_typed(command_of())
    sys.stderr.write(f"\n[{runtime.job.num + 1}] {command}\n")
    try:
        outcome = Outcome(command, str(task(config)), FINISHED)
    except Exception as error:
        if not isinstance(error, UserError | HydraException | OmegaConfBaseException):
            traceback.print_exc()
        message = one_line(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {one_line(error)}"
        outcome = Outcome(command, None, BUSY if isinstance(error, BusyError) else FAILED, message)
        sys.stderr.write(f"stdo: {message}\n")
    sweep.record(outcome)
    return sweep, outcome


def _refuse_processes(trainer: DictConfig) -> None:
    """Raise UserError where Lightning would start processes of its own: each would run the whole sweep again."""
    devices = trainer.get("devices", 1)
    one = devices in (1, "1") or (not isinstance(devices, int | str) and len(devices) == 1)
    if one or any(name in os.environ for name in RANKS):
        return
    raise UserError(f"trainer.devices={devices}: must be 1 in a sweep; run the jobs one by one, or under torchrun")


def _close_sweep(jobs: list[tuple[Sweep, Outcome]]) -> None:
    """Print what came of a sweep; exit code 1 when a job failed."""
    if not jobs:
        return
    from stdo.reporting.runs import collect
    from stdo.reporting.table import comparison_table

    outcomes = [outcome for _, outcome in jobs]
    finished = dict.fromkeys(Path(job.directory) for job in outcomes if job.directory is not None)
    if finished:
        sys.stdout.write(f"\n{comparison_table(collect(finished))}\n\n")
    sys.stderr.write(f"{jobs[0][0].path}: {len(finished)} runs; python -m stdo.report runs=[{jobs[0][0].path}]\n")
    listed = failures(outcomes)
    if listed:
        sys.stderr.write(f"{listed}\n")
        sys.exit(1)


def command_of() -> list[str]:
    """The words of the command that repeats the job that Hydra is running; without Hydra, those of this process."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return sys.argv
    runtime = HydraConfig.get()
    return job_command(list(runtime.overrides.task), runtime.runtime.choices.get("experiment"))


@contextmanager
def _mistakes(full: bool) -> Iterator[None]:
    """Exit with one line and code 2 for a user's mistake, 130 for Ctrl-C, 143 for SIGTERM. full: raise mistakes."""
    try:
        yield
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if full:
            raise
        sys.stderr.write(f"stdo: {one_line(error)}\n")
        sys.exit(2)
    except OSError as error:
        mended = disk_error(error, Path(error.filename or "."))
        if full or mended is error:
            raise
        sys.stderr.write(f"stdo: {one_line(mended)}\n")
        sys.exit(2)
    except Stopped as stop:
        sys.stderr.write(f"\nstdo: stopped by {stop.name}; the same command goes on from here\n")
        sys.exit(stop.exit_code)


def one_line(error: BaseException) -> str:
    """What went wrong and what is allowed, on one line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return printable(" ".join(str(cause).split()))
        cause = cause.__cause__
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"{group}={name}: must be one of {', '.join(error.options)}"
    missing = re.search(r"Missing mandatory value: (\S+)", str(error))
    if missing:
        return f"{missing[1]}: must be given"
    unknown = re.match(r"Could not override '([^']+)'", str(error))
    if unknown:
        return f"{unknown[1]}: no such setting; --cfg job lists them all"
    return printable(" ".join(str(error).split()))
