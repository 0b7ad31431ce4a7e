"""What all commands share: start of Hydra, one-line errors, exit codes, sweeps.

Hydra and OmegaConf stay in `stdo.cli` and `stdo.config`. Heavy packages are imported when they are
needed, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from stdo import __version__
from stdo.cli.commands import COMMANDS
from stdo.config.command import command_of
from stdo.config.errors import MISTAKES, one_line
from stdo.config.help import listing
from stdo.config.plugins import activate, from_words, refuse_hidden, refuse_late
from stdo.config.settings import at_home, settle
from stdo.config.studies import expanded, names
from stdo.config.trust import conf_dir
from stdo.config.words import as_meant
from stdo.core.console import prepare
from stdo.core.files import disk_error
from stdo.core.locks import RANKS, BusyError
from stdo.core.provenance import as_typed
from stdo.core.signals import Stopped, heeded
from stdo.core.types import UserError
from stdo.runs.directory import read_result
from stdo.runs.sweeps import BUSY, FAILED, FINISHED, Outcome, Sweep, best_of, failures

OmegaConf.register_new_resolver("pick", lambda choices, key: choices[key], replace=True)
"""``${pick:${choices},${scale}}``: the entry of a mapping that another setting names."""

OmegaConf.register_new_resolver("home", lambda path: at_home("paths.outputs", path), replace=True)
"""``${home:~/runs}``: with the home in place of ``~``, where Hydra itself makes a folder."""

OmegaConf.register_new_resolver("studies", lambda: ", ".join(names()), replace=True)
"""``${studies:}``: the names of the studies, for ``--help``."""

OmegaConf.register_new_resolver("settings", lambda *, _root_: listing(_root_), replace=True)
"""``${settings:}``: the settings of a command, for ``--help``."""

OmegaConf.register_new_resolver("example", lambda name: COMMANDS[name][1], replace=True)
"""``${example:train}``: how a command is called, for ``--help``."""


@dataclass
class _Jobs:
    """What became of the jobs of a sweep, whether a sweeper looked for the best of them, and
    whether one has begun."""

    done: list[tuple[Sweep, Outcome]] = field(default_factory=list)
    searched: bool = False
    begun: bool = False


def enter(task: Callable[[DictConfig], Path | None], config_name: str) -> None:
    """Run a Hydra task; a user's mistake becomes one line and exit code 2.

    In a sweep, a job that fails is listed at the end and the others go on. ``HYDRA_FULL_ERROR=1``
    shows the traceback instead.

    Args:
        task: returns its run directory, if it has one.
        config_name: its configuration in conf/.
    """
    prepare()
    if "--version" in sys.argv[1:]:
        sys.stdout.write(f"stdo {__version__}\n")
        return
    asked = os.environ.get("HYDRA_FULL_ERROR")
    full = asked == "1"
    several = {"-m", "--multirun"} & set(sys.argv[1:])
    typed = sys.argv
    jobs = _Jobs()
    plugins: list[str] = []

    def job(config: DictConfig) -> float | None:
        sys.argv, jobs.begun = typed, True
        with _mistakes(full):
            _check_files(config, plugins)
        if HydraConfig.get().mode == RunMode.MULTIRUN and not full:
            return _sweep_job(task, config, jobs)
        with _mistakes(full):  # here as well: Hydra would print the overrides of a job that fails
            settle(config)
            return _objective(task(config))

    os.environ["HYDRA_FULL_ERROR"] = (
        "1"  # makes Hydra hand its errors to us instead of printing them
    )
    try:
        with _mistakes(full), heeded():
            if several and config_name != "train":
                raise UserError(
                    f"{several.pop()}: only stdo.train sweeps; call this once for each run"
                )
            words = expanded(typed[1:]) if config_name == "train" else typed[1:]
            if config_name != "report":  # which builds nothing
                plugins, words = from_words(words)
                activate(plugins)
            sys.argv = [typed[0], *as_meant(_flags_first(words))]
            run = hydra.main(
                version_base="1.3", config_path=str(conf_dir().resolve()), config_name=config_name
            )(job)
            ended = _swept(run, jobs)
            _close_sweep(jobs, ended)
    finally:
        sys.argv = typed
        os.environ["HYDRA_FULL_ERROR"] = asked or "0"


def _check_files(config: DictConfig, plugins: Sequence[str]) -> None:
    """Raise UserError for a file of the user's that Hydra passed over, and for plugins that a file
    names. A process that a launcher started imports the plugins here."""
    activate(plugins)
    refuse_late(config, plugins)
    called = {"main": "stdo", "command-line": "--config-dir"}
    refuse_hidden(
        [
            (called.get(each.provider, each.provider), Path(each.path))
            for each in HydraConfig.get().runtime.config_sources
            if each.schema == "file"
        ]
    )


def _swept(run: Callable[[], object], jobs: _Jobs) -> str | None:
    """Run Hydra. Returns why a sweeper ended early, where it did: an Optuna search ends with the
    first failed job."""
    try:
        run()
    except Exception as error:
        # Such as two flags that exclude each other
        if isinstance(error, ValueError) and not jobs.begun:
            raise UserError(str(error)) from error
        if not jobs.done or isinstance(error, MISTAKES):
            raise
        return one_line(error)
    return None


def _objective(directory: str | Path | None) -> float | None:
    """What a search over settings looks at: the run's PSNR (frame) in dB; None where there is no
    result."""
    if directory is None:
        return None
    try:
        return float(read_result(Path(directory))["psnr"]["frame"])
    except (UserError, KeyError, TypeError, ValueError):
        return None


def _sweep_job(
    task: Callable[[DictConfig], Path | None], config: DictConfig, jobs: _Jobs
) -> float | None:
    """Run one job of a sweep and keep what became of it. Returns its PSNR for a search over
    settings."""
    runtime = HydraConfig.get()
    settle(config)
    _refuse_processes(config.trainer)
    _note_direction(runtime.job.num, runtime.sweeper.get("direction"))
    jobs.searched = "BasicSweeper" not in runtime.sweeper._target_
    sweep = Sweep(Path(config.paths.outputs), config.study or Path(runtime.sweep.dir).name)
    command = as_typed(command_of())
    sys.stderr.write(f"\n[{runtime.job.num + 1}] {command}\n")
    try:
        outcome = Outcome(command, str(task(config)), FINISHED)
    except Exception as caught:
        error = disk_error(caught, Path()) if isinstance(caught, OSError) else caught
        if not isinstance(error, MISTAKES):
            traceback.print_exc()
        said = one_line(error)
        message = (
            said
            if isinstance(error, (*MISTAKES, ValueError))
            else f"{type(error).__name__}: {said}"
        )
        outcome = Outcome(command, None, BUSY if isinstance(error, BusyError) else FAILED, message)
        sys.stderr.write(f"stdo: {message}\n")
    sweep.record(outcome)
    jobs.done.append((sweep, outcome))
    return _objective(outcome.directory)


def _note_direction(job: int, direction: object) -> None:
    """Say it once where a sweeper looks for the smallest PSNR, as Optuna's does unless it is told
    otherwise."""
    if job == 0 and str(direction).rpartition(".")[2] == "minimize":
        line = (
            "the sweeper looks for the lowest PSNR; hydra.sweeper.direction=maximize looks for "
            "the highest"
        )
        sys.stderr.write(f"note: {line}\n")


def _refuse_processes(trainer: DictConfig) -> None:
    """Raise UserError where Lightning would start processes of its own: each would run the whole
    sweep again."""
    devices = trainer.get("devices", 1)
    one = devices in (1, "1") or (not isinstance(devices, int | str) and len(devices) == 1)
    if one or any(name in os.environ for name in RANKS):
        return
    raise UserError(
        f"trainer.devices={devices}: must be 1 in a sweep; run the jobs one by one, or under "
        "torchrun"
    )


def _close_sweep(jobs: _Jobs, ended: str | None) -> None:
    """Print what came of a sweep; exit code 1 when a job failed, or when the sweeper ended
    early."""
    if not jobs.done:
        return
    from stdo.reporting.runs import collect
    from stdo.reporting.table import comparison_table

    outcomes = [outcome for _, outcome in jobs.done]
    path = jobs.done[0][0].path
    finished = dict.fromkeys(Path(job.directory) for job in outcomes if job.directory is not None)
    if finished:
        sys.stdout.write(f"\n{comparison_table(collect(finished))}\n\n")
    if finished and jobs.searched:
        sys.stdout.write(f"{best_of(outcomes, _objective)}\n\n")
    sys.stderr.write(f"{path}: {len(finished)} runs; {as_typed(['report', f'runs=[{path}]'])}\n")
    listed = failures(outcomes)
    if listed:
        sys.stderr.write(f"{listed}\n")
    if ended is not None:
        sys.stderr.write(f"stdo: the sweeper ended early: {ended}\n")
    if listed or ended is not None:
        sys.exit(1)


class _Parser(argparse.ArgumentParser):
    """Hydra's parser, but for what it does with a mistake."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help says more")


def _flags_first(words: Sequence[str]) -> list[str]:
    """The same command line with Hydra's flags before the settings, as Hydra alone reads it: ``a=1
    -m b=2`` it refuses.

    Raises:
        UserError: There is no such flag, or it lacks its value.
    """
    parser = get_args_parser()
    parser.__class__ = _Parser
    settings = list(parser.parse_intermixed_args(list(words)).overrides)
    flags = list(words)
    for setting in settings:
        flags.remove(setting)
    # Else --info would take a setting for its value
    return [*flags, "--", *settings] if settings else flags


@contextmanager
def _mistakes(full: bool) -> Iterator[None]:
    """Exit with one line and code 2 for a user's mistake, 130 for Ctrl-C, 143 for SIGTERM. full:
    raise mistakes."""
    try:
        yield
    except MISTAKES as error:
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
        sys.stderr.write(f"\nstdo: stopped by {stop.name}; the same command resumes\n")
        sys.exit(stop.exit_code)
