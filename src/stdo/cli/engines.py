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
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from stdo.cli import slurm
from stdo.cli.encode import as_json, encode, environment
from stdo.cli.submitted import GRACE, PARALLEL, POLL, Ended, Submitit, say_again
from stdo.cli.task import BUSY, CODES, DONE, FAILED, Task
from stdo.core.types import UserError

_ENDED = {code: outcome for outcome, code in CODES.items()}


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
        workers = config["workers"] or PARALLEL
    return Submitit(workers, threads, retries, gpus, config["slurm"], config["shard"] or "")


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
                say_again(task, how)
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
        until = time.monotonic() + GRACE
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
                    ended, _ = ray.wait(list(waiting), num_returns=1, timeout=POLL)
                except (ray.exceptions.RayError, ConnectionError) as error:
                    line = f"engine=ray: the cluster is lost ({slurm.reason(error)})"
                    raise UserError(f"{line}; the same command goes on") from error
                for each in ended:
                    task = waiting.pop(each)
                    try:
                        outcome = str(ray.get(each))
                    except ray.exceptions.RayError as error:
                        outcome = f"Ray lost it: {slurm.reason(error)}"
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
            raise UserError(f"{place}: Ray cannot be reached ({slurm.reason(error)})") from error


def _death(code: int) -> str:
    """How a process ended that told nothing."""
    if code >= 0:
        return f"its process ended with code {code}"
    with suppress(ValueError):
        return f"its process was killed ({signal.Signals(-code).name})"
    return f"its process was killed (signal {-code})"


__all__ = ["BUSY", "DONE", "FAILED", "Engine", "engine_of"]
