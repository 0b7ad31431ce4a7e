"""What runs the videos of a catalogue: processes of this machine, Ray, or submitit.

All of them call `stdo.cli.encode.encode` in a process of its own for each video, so the packages
are the same. A process that dies is started again; its fit resumes from its last checkpoint.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from stdo.cli.encode import as_json, encode, encode_in_time, environment
from stdo.cli.task import BUSY, CODES, DONE, FAILED, LATER, Task
from stdo.core.foreign import printable
from stdo.core.types import UserError

_ENDED = {code: outcome for outcome, code in CODES.items()}
_POLL = 0.5
_GRACE = 60.0
"""Seconds in which a process that is asked to stop has written its checkpoint."""

_ARRAY = 1000
"""Most jobs of one array, and of all that are submitted at a time; Slurm's own limit is 1001 unless
it is set otherwise."""

_PARALLEL = 256
"""Jobs of an array that run at the same time unless ``workers`` says otherwise."""

Ended = Generator[tuple[Task, str], None, None]
"""Tasks as they end, with `DONE`, `FAILED`, `BUSY`, or a line that says how their process died."""


class Engine(Protocol):
    """Runs tasks."""

    def run(self, tasks: list[Task]) -> Ended:
        """Run all tasks; those whose process dies again, so often as ``retries`` says.

        Args:
            tasks: Taken from the list one by one, first to last. Whoever is told that one has
                ended may add more, in front where they matter most.
        """
        ...


def engine_of(config: Mapping[str, Any], workers: int) -> Engine:
    """The engine that a configuration asks for.

    Args:
        config: The settings ``engine``, ``threads``, ``retries``, ``resources``, ``ray`` and
            ``slurm``.
        workers: Videos at the same time where the engine leaves that to us: here, and on a cluster
            where ``workers`` is given.

    Raises:
        UserError: The engine is not installed.
    """
    name, threads, retries = config["engine"], int(config["threads"]), int(config["retries"])
    gpus = float(config["resources"]["gpus"])
    if name == "local":
        if gpus:
            raise UserError(
                f"resources.gpus={gpus:g}: must be 0 with engine=local, whose processes all see "
                "every GPU; workers=… says how many share them"
            )
        return Local(workers, threads, retries)
    package = {"ray": "ray", "slurm": "submitit"}[name]
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"engine={name}: needs the package {package}; pip install 'stdo[train,cluster]'"
        )
    if name == "ray":
        address = config["ray"]["address"] or os.environ.get("RAY_ADDRESS")
        return OnRay(config["workers"] if address else workers, threads, retries, gpus, address)
    if config["slurm"]["cluster"] == "slurm":
        workers = config["workers"] or _PARALLEL
    return Submitit(workers, threads, retries, gpus, config["slurm"])


@dataclass
class Local:
    """Processes of this machine.

    Attributes:
        workers: How many at the same time.
        threads: Of each.
        retries: How often a process that dies is started again.
    """

    workers: int
    threads: int
    retries: int
    _running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self, tasks: list[Task]) -> Ended:
        """Run all tasks. Whoever stops the loop stops the processes: they write a checkpoint."""
        with ThreadPoolExecutor(self.workers) as pool:
            futures: dict[Future[str], Task] = {}
            try:
                while tasks or futures:
                    while tasks and len(futures) < self.workers:
                        task = tasks.pop(0)
                        futures[pool.submit(self._one, task)] = task
                    for future in wait(futures, return_when=FIRST_COMPLETED).done:
                        yield futures.pop(future), future.result()
            finally:
                self._stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                self._stop()

    def _one(self, task: Task) -> str:
        """Run one task, again where its process dies."""
        for again in range(self.retries, -1, -1):
            code = self._process(task)
            if code in _ENDED:
                return _ENDED[code]
            how = _death(code)
            if self._stopping.is_set():
                return how
            if again:
                _say_again(task, how)
        return f"{how}, {self.retries + 1} times"

    def _process(self, task: Task) -> int:
        log = Path(task.out) / "logs" / f"{task.key}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "stdo.cli.encode"],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                env=os.environ | environment(self.threads),
                # Ctrl-C in the terminal is for this process, which asks the others once
                start_new_session=True,
            )
        self._running.add(process)
        if self._stopping.is_set():
            process.terminate()
        try:
            process.communicate(as_json(task))
        finally:
            self._running.discard(process)
        return process.returncode

    def _stop(self) -> None:
        for process in list(self._running):
            process.terminate()
        until = time.monotonic() + _GRACE
        for process in list(self._running):
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, until - time.monotonic()))
            process.kill()


@dataclass
class OnRay:
    """Tasks on a Ray cluster, which starts them again where a worker or a machine dies.

    Attributes:
        workers: How many at the same time; None: as many as the cluster has cores for. Where Ray is
            started here, it gets the cores for them.
        threads: Cores that a task asks for.
        retries: How often a task whose worker dies is started again.
        gpus: That a task asks for; 0.25 lets four share one.
        address: Of a cluster, or ``auto``; None: Ray is started here, for the time being.
    """

    workers: int | None
    threads: int
    retries: int
    gpus: float = 0.0
    address: str | None = None

    def run(self, tasks: list[Task]) -> Ended:
        """Run all tasks."""
        import ray

        self._connect()
        try:
            remote = ray.remote(
                num_cpus=self.threads, num_gpus=self.gpus, max_retries=self.retries, max_calls=1
            )(encode)
            waiting: dict[Any, Task] = {}
            while tasks or waiting:
                room = (self.workers or len(tasks) + len(waiting)) - len(waiting)
                waiting |= {remote.remote(task): task for task in tasks[:room]}
                del tasks[:room]
                try:
                    ended, _ = ray.wait(list(waiting), num_returns=1, timeout=_POLL)
                except (ray.exceptions.RayError, ConnectionError) as error:
                    line = f"engine=ray: the cluster is lost ({_first_line(error)})"
                    raise UserError(f"{line}; the same command goes on") from error
                for each in ended:
                    task = waiting.pop(each)
                    try:
                        outcome = str(ray.get(each))
                    except ray.exceptions.RayError as error:
                        outcome = f"Ray lost it: {_first_line(error)}"
                    yield task, outcome
        finally:
            ray.shutdown()

    def _connect(self) -> None:
        import ray

        here: dict[str, Any] = {}
        if self.address is None:
            assert self.workers is not None
            here = {"num_cpus": self.workers * self.threads, "include_dashboard": False}
        if ray.is_initialized():  # by whoever calls us from Python
            return
        try:
            ray.init(
                address=self.address,
                log_to_driver=False,
                logging_level="ERROR",
                configure_logging=True,
                **here,
            )
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            place = f"ray.address={self.address}" if self.address else "engine=ray"
            raise UserError(f"{place}: Ray cannot be reached ({_first_line(error)})") from error


@dataclass
class Submitit:
    """Jobs of Slurm, in arrays, by submitit; or of its local executor, to try the same here.

    Attributes:
        workers: How many at the same time.
        threads: Cores that a job asks for.
        retries: How often a job that dies is submitted again, or one whose time is over before
            its fit got further; one that got further is submitted again in any case.
        gpus: That a job asks for.
        slurm: The settings of ``slurm``.
    """

    workers: int
    threads: int
    retries: int
    gpus: float
    slurm: Mapping[str, Any]

    def run(self, tasks: list[Task]) -> Ended:
        """Submit all tasks, and wait for them."""
        import submitit

        cluster = str(self.slurm["cluster"])
        folder = Path(tasks[0].out) / "submitit" / "%j"
        try:
            executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
            executor.update_parameters(**self._parameters(cluster))
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            raise UserError(f"slurm.cluster={cluster}: {_first_line(error)}") from error
        yield from self._wait(executor, tasks, self.workers if cluster == "local" else _ARRAY)

    def _parameters(self, cluster: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": "stdo",
            "timeout_min": self.slurm["minutes"],
            "cpus_per_task": self.threads,
            "gpus_per_node": int(self.gpus),
        }
        if self.gpus != int(self.gpus):
            raise UserError(f"resources.gpus={self.gpus:g}: must be a whole number on Slurm")
        if self.slurm["memory"] is not None:
            found["mem_gb"] = self.slurm["memory"]
        if cluster == "slurm":
            found["slurm_array_parallelism"] = self.workers
            for name in ("partition", "account"):
                if self.slurm[name] is not None:
                    found[f"slurm_{name}"] = self.slurm[name]
        return found

    def _wait(self, executor: Any, left: list[Task], most: int) -> Ended:
        tries: Counter[str] = Counter()
        running: dict[Any, Task] = {}
        try:
            while left or running:
                room = most - len(running)
                # Few large arrays: a queue of many small ones is what schedulers suffer from
                if left and room >= min(len(left), most // 2 if most == _ARRAY else 1):
                    batch = left[:room]
                    del left[:room]
                    running |= zip(_submitted(executor, batch), batch, strict=True)
                for job in [job for job in running if job.done()]:
                    task = running.pop(job)
                    outcome = _result(job)
                    if outcome == LATER:  # no failure, however often it happens
                        outcome = "the time of its job was over"
                    elif outcome in CODES or tries[task.name] >= self.retries:
                        yield task, outcome
                        continue
                    else:
                        tries[task.name] += 1
                    _say_again(task, outcome)
                    left.append(task)
                time.sleep(_POLL)
        finally:
            for job in running:
                job.cancel(check=False)


def _submitted(executor: Any, tasks: Sequence[Task]) -> list[Any]:
    try:
        if len(tasks) == 1:
            return [executor.submit(encode_in_time, tasks[0])]
        return list(executor.map_array(encode_in_time, tasks))
    except Exception as error:  # whatever the cluster's own commands say
        raise UserError(f"engine=slurm: {_first_line(error)}") from error


def _result(job: Any) -> str:
    """What became of a job of submitit's."""
    try:
        return str(job.result())
    except Exception as error:  # UncompletedJobError, and whatever the job raised
        return f"its job {job.job_id} died ({job.state}: {_first_line(error)})"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return printable(lines[0] if lines else type(error).__name__)[:200]


def _death(code: int) -> str:
    """How a process ended that told nothing."""
    if code >= 0:
        return f"its process ended with code {code}"
    with suppress(ValueError):
        return f"its process was killed ({signal.Signals(-code).name})"
    return f"its process was killed (signal {-code})"


def _say_again(task: Task, how: str) -> None:
    sys.stderr.write(f"note: {task.name}: {how}; it is started again\n")


__all__ = ["BUSY", "DONE", "FAILED", "Engine", "engine_of"]
