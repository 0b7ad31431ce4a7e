"""The videos of a catalogue as jobs of Slurm, by submitit."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stdo.cli import slurm
from stdo.cli.encode import encode_in_time
from stdo.cli.task import CODES, LATER, Task
from stdo.core.foreign import printable
from stdo.core.types import UserError

POLL = 0.5
"""Seconds between two looks at what runs."""

GRACE = 60.0
"""Seconds in which a process that is asked to stop has written its checkpoint."""

_ARRAY = 1000
"""Most jobs of one array, and of all that are submitted at a time; Slurm's own limit is 1001 unless
it is set otherwise."""

PARALLEL = 256
"""Jobs of an array that run at the same time unless ``workers`` says otherwise."""

_WARNING = 90
"""Seconds before the time of a job is over at which Slurm warns it; less in jobs of few minutes.
Slurm may be up to a minute early."""

_RESULT = 15.0
"""Seconds after which a job that has ended without a result has died."""

_LOOKS = 100
"""Jobs whose results are looked for in a second: each is a question to a shared disk."""

Ended = Generator[tuple[Task, str], None, None]
"""Tasks as they end, with `DONE`, `FAILED`, `BUSY`, or a line that says how their process died."""


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
        shard: Of the catalogue, whose other shards may be submitted at the same time.
    """

    workers: int
    threads: int
    retries: int
    gpus: float
    slurm: Mapping[str, Any]
    shard: str = ""

    def run(self, tasks: list[Task]) -> Ended:
        """Submit all tasks, and wait for them."""
        import submitit

        cluster, out = str(self.slurm["cluster"]), Path(tasks[0].out)
        mine = os.fsencode(f"{out} {self.shard}")
        name = f"stdo-{hashlib.blake2b(mine, digest_size=4).hexdigest()}"
        try:
            executor = submitit.AutoExecutor(folder=out / "submitit" / "%j", cluster=cluster)
            executor.update_parameters(**self._parameters(cluster), name=name)
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            raise UserError(f"slurm.cluster={cluster}: {slurm.reason(error)}") from error
        if cluster == "local":
            yield from self._wait(executor, tasks, self.workers, _of_local)
            return
        if "%" in str(out):  # Slurm would put the name of the job there, or that of the machine
            raise UserError(f"out={printable(str(out))}: must have no % in it with engine=slurm")
        slurm.cancel_waiting(name)  # jobs of a command that was killed
        yield from self._wait(executor, tasks, _ARRAY, OfSlurm(slurm.watch()))

    def _parameters(self, cluster: str) -> dict[str, Any]:
        minutes = int(self.slurm["minutes"])
        found: dict[str, Any] = {
            "timeout_min": minutes,
            "cpus_per_task": self.threads,
            "gpus_per_node": int(self.gpus),
        }
        if self.gpus != int(self.gpus):
            raise UserError(f"resources.gpus={self.gpus:g}: must be a whole number on Slurm")
        if self.slurm["memory"] is not None:
            found["mem_gb"] = self.slurm["memory"]
        if cluster == "slurm":
            found["slurm_array_parallelism"] = self.workers
            found["slurm_signal_delay_s"] = min(_WARNING, minutes * 15)
            for name in ("partition", "account"):
                if self.slurm[name] is not None:
                    found[f"slurm_{name}"] = self.slurm[name]
        return found

    def _wait(
        self,
        executor: Any,
        left: list[Task],
        most: int,
        outcome_of: Callable[[Any], str | None],
    ) -> Ended:
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
                for job in list(running):
                    outcome = outcome_of(job)
                    if outcome is None:
                        continue
                    task = running.pop(job)
                    if outcome == LATER:  # no failure, however often it happens
                        outcome = "the time of its job was over"
                    elif outcome in CODES or tries[task.name] >= self.retries:
                        yield task, outcome
                        continue
                    else:
                        tries[task.name] += 1
                    say_again(task, outcome)
                    left.append(task)
                time.sleep(max(POLL, len(running) / _LOOKS))
        finally:
            if most == _ARRAY:
                slurm.cancel([job.job_id for job in running], GRACE)
            else:
                for job in running:
                    job.cancel(check=False)


def _submitted(executor: Any, tasks: Sequence[Task]) -> list[Any]:
    try:
        # submitit prints what sbatch said; the error has it too
        with slurm.outside_of_job(), redirect_stderr(io.StringIO()):
            if len(tasks) == 1:
                return [executor.submit(encode_in_time, tasks[0])]
            return list(executor.map_array(encode_in_time, tasks))
    except Exception as error:  # whatever the cluster's own commands say
        raise UserError(f"engine=slurm: {slurm.reason(error)}") from error


class OfSlurm:
    """What became of jobs of Slurm.

    Args:
        queue: Tells which have ended.
        clock: Seconds of a clock that never goes back.
    """

    def __init__(self, queue: slurm.Queue, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue, self._clock = queue, clock
        self._since: dict[str, float] = {}

    def __call__(self, job: Any) -> str | None:
        """What became of a job; None while it waits or runs, and for some seconds after a job has
        ended without a result: a shared disk may show that late."""
        folder = job.paths.folder
        with suppress(OSError):  # which makes shared disks look again
            folder.chmod(folder.stat().st_mode)
        if job.paths.result_pickle.exists():
            return _result(job)
        state = self._queue.get_state(job.job_id)
        if not slurm.is_over(state):
            self._since.pop(job.job_id, None)
            return None
        since = self._since.setdefault(job.job_id, self._clock())
        if self._clock() - since < _RESULT:
            return None
        return f"its job {job.job_id} died ({state}); see {job.paths.stderr}"


def _of_local(job: Any) -> str | None:
    """What became of a job of submitit's local executor; None while it runs."""
    return _result(job) if job.done() else None


def _result(job: Any) -> str:
    """What became of a job of submitit's that has ended."""
    try:
        return str(job.result())
    except Exception as error:  # UncompletedJobError, and whatever the job raised
        return f"its job {job.job_id} died ({job.state}: {slurm.reason(error)})"


def say_again(task: Task, how: str) -> None:
    """Tell that a task is started again, and why."""
    sys.stderr.write(f"note: {task.name}: {how}; it is started again\n")
