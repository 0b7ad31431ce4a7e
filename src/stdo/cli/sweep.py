"""Sweeps: what a launcher runs for each job, in this process or any other, and how a sweep ends.

Every job leaves its outcome on disk. The command that started the sweep reads the outcomes back, so
its table, its list of failures and its exit code are the same whatever launcher ran the jobs.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any
from uuid import uuid4

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, ListConfig, OmegaConf

from stdo.cli import resolvers as _registered
from stdo.cli import slurm
from stdo.cli.mistakes import mistakes
from stdo.config.command import command_of, job_of
from stdo.config.errors import MISTAKES, one_line
from stdo.config.plugins import activate, refuse_hidden, refuse_late
from stdo.config.settings import check_objective_of, refuse_processes, settle
from stdo.core.files import disk_error
from stdo.core.locks import RANKS, BusyError
from stdo.core.provenance import as_typed
from stdo.core.types import UserError
from stdo.runs.objective import figure_of
from stdo.runs.sweeps import (
    BUSY,
    FAILED,
    FINISHED,
    RUNNING,
    Board,
    Outcome,
    Sweep,
    best_of,
    failures,
    finished_in,
    settled,
)

_ = _registered

LATE = 20.0
"""Seconds for which an outcome may be on its way: shared disks tell other machines late."""

_ALL_OR_NONE = ("JoblibLauncher",)
"""Launchers that end all their jobs when the process of one dies."""

_ON_SLURM = "SlurmLauncher"
"""The launcher of submitit whose jobs are Slurm's."""

_LOST = 3.0
"""Seconds without any job at work after which a launcher that failed has none left."""


class Work:
    """What Hydra calls: one run, or a job of a sweep. Launchers hand it to other processes.

    Args:
        task: Returns its run directory, if it has one.
        typed: The command line, as ``sys.argv`` had it.
        full: Raise mistakes in place of one line.
    """

    def __init__(
        self, task: Callable[[DictConfig], Path | None], typed: list[str], full: bool
    ) -> None:
        self._task, self._typed, self._full = task, typed, full
        self._folder = Path.cwd()
        self.plugins: list[str] = []
        """Those of the command line; a launcher's process imports them again."""
        self.begun = False
        """Whether this process has begun a run that is no job of a sweep."""
        self.board: Board | None = None
        """Set where a sweep begins."""

    def __call__(self, config: DictConfig) -> float | None:
        """Run; returns what a search over settings looks at, if there is one."""
        sys.argv = self._typed
        runtime = HydraConfig.get()
        with mistakes(self._full):
            _check_files(config, self.plugins)
        if not runtime.job.chdir and Path.cwd() != self._folder:
            os.chdir(self._folder)  # a launcher's process may have been started anywhere
        if runtime.mode == RunMode.MULTIRUN:
            return self._sweep_job(config, int(runtime.job.num))
        self.begun = True
        with mistakes(self._full):  # here: Hydra would print the overrides of a job that fails
            settle(config)
            directory = self._task(config)
        return figure_of(directory, config.objective) if "objective" in config else None

    def _sweep_job(self, config: DictConfig, number: int) -> float | None:
        """Run one job of a sweep and keep what became of it."""
        assert self.board is not None
        command = as_typed(command_of())
        sys.stderr.write(f"\n[{number + 1}] {command}\n")
        self.board.begin(number, command)
        try:
            settle(config)
            with self.board.at_work(number), slurm.in_time():
                outcome = Outcome(command, str(self._task(config)), FINISHED)
        except Exception as caught:
            if self._full:
                raise
            outcome = _failed(command, caught)
            sys.stderr.write(f"stdo: {outcome.error}\n")
        name = config.study or Path(HydraConfig.get().sweep.dir).name
        sweep = Sweep(Path(config.paths.outputs), name)
        sweep.record(outcome)
        self.board.end(number, outcome, sweep.path)
        done = outcome.directory if outcome.status == FINISHED else None
        return figure_of(done, config.objective)


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


def _failed(command: str, caught: Exception) -> Outcome:
    """The outcome of a job that raised; what nobody foresaw is printed with its traceback."""
    error = disk_error(caught, Path()) if isinstance(caught, OSError) else caught
    if not isinstance(error, MISTAKES):
        traceback.print_exc()
    said = one_line(error)
    if not isinstance(error, (*MISTAKES, ValueError)):
        said = f"{type(error).__name__}: {said}"
    if isinstance(error, BusyError):
        return Outcome(command, str(error.lock.parent), BUSY, said)
    return Outcome(command, None, FAILED, said)


class Watch:
    """The jobs of a sweep, as this process hands them to a launcher.

    Attributes:
        full: Raise what a job raises, in place of a list of failures.
        commands: Number of a job -> the command that repeats it.
        crash: What a launcher said that lost jobs.
    """

    def __init__(self, full: bool = False) -> None:
        self.full = full
        self.commands: dict[int, str] = {}
        self.crash: str | None = None
        self.board: Board | None = None
        self._config: DictConfig | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the block, launchers and sweepers that Hydra makes are watched.

        Hydra has no hook between a sweeper and its launcher. The two functions of its class that
        make them are replaced, not those of an object: that would travel to the jobs.
        """
        launcher, sweeper = Plugins.instantiate_launcher, Plugins.instantiate_sweeper
        watch = self

        def watched_launcher(
            self: Plugins, hydra_context: HydraContext, task_function: TaskFunction,
            config: DictConfig,
        ) -> Launcher:  # fmt: skip
            watch.begin(config, task_function)
            return _Watched(launcher(self, hydra_context, task_function, config), watch)

        def directed_sweeper(
            self: Plugins, *, hydra_context: HydraContext, task_function: TaskFunction,
            config: DictConfig,
        ) -> Sweeper:  # fmt: skip
            _direct(config)
            return sweeper(
                self, hydra_context=hydra_context, task_function=task_function, config=config
            )

        Plugins.instantiate_launcher = watched_launcher  # type: ignore[method-assign]
        Plugins.instantiate_sweeper = directed_sweeper  # type: ignore[method-assign]
        try:
            yield
        finally:
            Plugins.instantiate_launcher = launcher  # type: ignore[method-assign]
            Plugins.instantiate_sweeper = sweeper  # type: ignore[method-assign]

    def begin(self, config: DictConfig, work: TaskFunction) -> None:
        """Check what all jobs have in common, and say where they leave their outcomes."""
        if not any(name in os.environ for name in RANKS):
            refuse_processes(config.trainer, "a sweep; run the jobs one by one, or under torchrun")
        check_objective_of(config)
        self._config = config
        folder = Path(config.hydra.sweep.dir).absolute() / f"jobs-{uuid4().hex[:8]}"
        self.board = Board(folder)
        if isinstance(work, Work):
            work.board = self.board

    def launch(
        self, launcher: Launcher, overrides: Sequence[Sequence[str]], first: int
    ) -> Sequence[JobReturn]:
        """Have a launcher run jobs. Where it loses some of them, those that are left end first."""
        assert self._config is not None
        if not overrides:
            raise UserError("no job: a setting that is swept has no values")
        hydras = OmegaConf.to_container(self._config.hydra.overrides.hydra)
        assert isinstance(hydras, list)
        numbers = range(first, first + len(overrides))
        for number, words in zip(numbers, overrides, strict=True):
            self.commands[number] = as_typed(job_of([*words, *map(str, hydras)]))
        _say_elsewhere(self._config, len(overrides))
        queue = slurm.watch() if type(launcher).__name__ == _ON_SLURM else None
        try:
            with slurm.outside_of_job() if queue else nullcontext():
                return launcher.launch(overrides, initial_job_idx=first)
        except MISTAKES:
            raise
        except Exception as error:
            if self.full:
                raise
            if queue is not None and not queue.jobs:
                raise UserError(f"hydra/launcher=submitit_slurm: {slurm.reason(error)}") from error
            self._lost(error)
            again = type(launcher).__name__ in _ALL_OR_NONE and len(overrides) > 1
            if queue is not None:
                queue.wait()  # the launcher looks at no other job after one that died
                self.crash = queue.died() or self.crash
            return self._saved(launcher if again else None, overrides, numbers)
        except BaseException:  # asked to stop
            if queue is not None:
                sys.stderr.write(queue.to_end())
            raise

    def _lost(self, error: Exception) -> None:
        self.crash = shorten(f"{type(error).__name__}: {one_line(error)}", 160, placeholder=" …")
        sys.stderr.write(f"stdo: the launcher lost jobs ({self.crash})\n")

    def _saved(
        self, launcher: Launcher | None, overrides: Sequence[Sequence[str]], numbers: range
    ) -> Sequence[JobReturn]:
        """Wait for the jobs that are still at work after some were lost.

        Args:
            launcher: Runs what was lost again, one job after the other: the one at fault is lost
                again alone. None: nothing runs again.
            overrides: Of all jobs.
            numbers: Of all jobs.
        """
        assert self.board is not None and self._config is not None
        self.board.wait(numbers, _LOST)
        if launcher is not None:
            ended = self._ended(numbers)
            for number, words in zip(numbers, overrides, strict=True):
                if number in ended:
                    continue
                try:
                    launcher.launch([words], initial_job_idx=number)
                except MISTAKES:
                    raise
                except Exception as error:
                    self._lost(error)
        ended = self._ended(numbers)
        directories = (ended[each].directory if each in ended else None for each in numbers)
        return [_returned(directory, self._config.objective) for directory in directories]

    def _ended(self, numbers: Iterable[int]) -> dict[int, Outcome]:
        assert self.board is not None
        known = self.board.outcomes(numbers).items()
        return {number: outcome for number, outcome in known if outcome.status != RUNNING}

    def outcomes(self) -> list[Outcome]:
        """What became of all jobs, in their order."""
        if self.board is None:
            return []
        if self.crash is None:
            self.board.wait(self.commands, LATE)
        known = self.board.outcomes(self.commands)
        why = f" ({self.crash})" if self.crash else ""
        outcomes = []
        for number, command in sorted(self.commands.items()):
            outcome = known.get(number, Outcome(command, None, FAILED, f"did not start{why}"))
            if outcome.status == RUNNING:
                outcome = Outcome(outcome.command, None, FAILED, f"did not end{why}")
            outcomes.append(outcome)
        return settled(outcomes)

    def close(self, ended: str | None) -> None:
        """Print what came of a sweep; exit code 1 when a job failed, or when the sweeper ended
        early."""
        outcomes = self.outcomes()
        if not outcomes or self.board is None or self._config is None:
            return
        from stdo.reporting.runs import collect
        from stdo.reporting.table import comparison_table

        finished = finished_in(outcomes)
        if finished:
            sys.stdout.write(f"\n{comparison_table(collect(finished))}\n\n")
        if finished and _searches(self._config):
            objective = self._config.objective
            find = partial(figure_of, objective=objective)
            lowest = _direction(self._config) == "minimize"
            sys.stdout.write(f"{best_of(outcomes, objective, find, lowest)}\n\n")
        sys.stdout.flush()
        for place in self.board.sweeps(self.commands):
            path = Path(os.path.relpath(place)) if place.is_relative_to(Path.cwd()) else place
            sys.stderr.write(
                f"{path}: {len(finished)} runs; {as_typed(['report', f'runs={path}'])}\n"
            )
        listed = failures(outcomes)
        if listed:
            sys.stderr.write(f"{listed}\n")
        if ended is not None:
            sys.stderr.write(f"stdo: the sweeper ended early: {ended}\n")
        if listed or ended is not None:
            sys.exit(1)


class _Watched(Launcher):
    """A launcher that tells a `Watch` which jobs it is given."""

    def __init__(self, launcher: Launcher, watch: Watch) -> None:
        self._launcher, self._watch = launcher, watch

    def setup(self, **_: Any) -> None:
        """Nothing: it was set up before."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        return self._watch.launch(self._launcher, job_overrides, initial_job_idx)


def _returned(directory: str | None, objective: str) -> JobReturn:
    """What a launcher would have returned of a job."""
    done = JobReturn()
    done.return_value = figure_of(directory, objective)
    done.status = JobStatus.COMPLETED
    return done


def _say_elsewhere(config: DictConfig, jobs: int) -> None:
    """One line where jobs print into files of their launcher, or into each other."""
    name = str(config.hydra.launcher._target_).rpartition(".")[2]
    if name != "BasicLauncher":
        sys.stderr.write(f"{name}: {jobs} jobs; outcomes in {config.hydra.sweep.dir}\n")


def _searches(config: DictConfig) -> bool:
    return "BasicSweeper" not in config.hydra.sweeper._target_


def _direction(config: DictConfig) -> str | None:
    """Where a sweeper looks; None where it does not tell."""
    direction = config.hydra.sweeper.get("direction")
    if OmegaConf.is_list(direction):
        if len(direction) != 1:
            raise UserError(
                f"hydra.sweeper.direction={direction}: must be minimize or maximize; objective is "
                "one figure"
            )
        direction = direction[0]
    return None if direction is None else str(direction).rpartition(".")[2]


def _direct(config: DictConfig) -> None:
    """Have a search look for the highest figure unless the user wants the lowest, and say so."""
    if not _searches(config):
        return
    check_objective_of(config)
    if _direction(config) is None:
        return
    # A default of Optuna's own is of its enumeration; what a user writes anywhere is a text
    if not isinstance(config.hydra.sweeper.direction, str | ListConfig):
        config.hydra.sweeper.direction = "maximize"
    if _direction(config) == "minimize":
        line = "lowest {}; hydra.sweeper.direction=maximize looks for the highest"
    else:
        line = "highest {}; hydra.sweeper.direction=minimize looks for the lowest"
    sys.stderr.write(f"note: the sweeper looks for the {line.format(config.objective)}\n")
