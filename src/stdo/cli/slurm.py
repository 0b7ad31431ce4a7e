"""Jobs of Slurm: which of them wait, run and have ended, whatever the cluster keeps accounts of.

submitit asks ``sacct``, which needs an accounting database, and asks it ever more seldom: without
one a job whose process dies is waited for forever, with one up to ten minutes. ``squeue`` is there
wherever ``sbatch`` is.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType

from stdo.core.foreign import printable
from stdo.core.signals import ASKING, Stopped, heeded
from stdo.core.types import UserError

_EVERY = 15.0
"""Seconds between two questions. Jobs that end by themselves are found by their results."""

_PATIENCE = 60.0
"""Seconds that a command of Slurm's has; a busy controller takes its time."""

_TELLS = 120.0
"""Seconds without an answer after which a note says so."""

_OVER = frozenset(
    (
        "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
        "PREEMPTED", "REVOKED", "TIMEOUT",
    )
)  # fmt: skip
"""States that a job leaves no more. One that is queued again is PENDING."""

_GONE = "no longer in the queue"
"""State of a job that Slurm has forgotten; some clusters forget at once."""

_UNKNOWN = "UNKNOWN"

_NAMED = 5
"""Most jobs that a line names."""

_KEPT = ("SLURM_CONF", "SLURM_CLUSTERS")
"""Variables that say where Slurm is."""


class Queue:
    """The states of jobs, in place of submitit's own watcher.

    Args:
        ask: Returns a line ``<job>|<state>`` for each job of this user; raises OSError or
            subprocess.SubprocessError where Slurm does not answer.
        clock: Seconds of a clock that never goes back.
    """

    def __init__(
        self, ask: Callable[[], str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask, self._clock = ask or _squeue, clock
        self.jobs: dict[str, str] = {}
        """Job -> its state, as Slurm calls it."""
        self._absent: set[str] = set()
        self._asked = self._answered = float("-inf")
        self._told = False

    def register_job(self, job_id: str) -> None:
        """Watch a job."""
        self.jobs.setdefault(job_id, _UNKNOWN)

    def get_state(self, job_id: str, mode: str = "standard") -> str:
        """The state of a job, as Slurm calls it.

        Args:
            job_id: The job; of an array ``<array>_<number>``.
            mode: ``force``: ask now; ``cache``: do not ask; else ask where it is time.
        """
        self.register_job(job_id)
        if mode == "force" or (mode != "cache" and self._clock() - self._asked >= _EVERY):
            self.update()
        return self.jobs[job_id]

    def get_info(self, job_id: str, mode: str = "standard") -> dict[str, str]:
        """The same, as submitit's watcher tells it."""
        return {"JobID": job_id, "State": self.get_state(job_id, mode)}

    def is_done(self, job_id: str, mode: str = "standard") -> bool:
        """Whether a job has ended, in whatever way."""
        return is_over(self.get_state(job_id, mode))

    def left(self) -> int:
        """How many jobs wait or run."""
        if self._clock() - self._asked >= _EVERY:
            self.update()
        return sum(not is_over(state) for state in self.jobs.values())

    def wait(self, poll: float = 1.0) -> None:
        """Wait until all jobs have ended; what a job says of itself may come later."""
        while self.left():
            time.sleep(poll)

    def died(self) -> str:
        """Which jobs did not complete, and how Slurm calls that; empty where all did."""
        wrong = [
            f"{job} {state}"
            for job, state in self.jobs.items()
            if state not in ("COMPLETED", _GONE)
        ]
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        return f"Slurm: {', '.join(wrong[:_NAMED])}{more}" if wrong else ""

    def to_end(self) -> str:
        """A line that tells how jobs that wait or run are ended; empty where there are none."""
        left = [job for job, state in self.jobs.items() if not is_over(state)]
        if not left:
            return ""
        arrays = dict.fromkeys(job.partition("_")[0] for job in left)
        return f"note: jobs of Slurm go on; scancel {' '.join(arrays)} ends them\n"

    def update(self) -> None:
        """Ask Slurm. Where it does not answer, what is known stays."""
        if self._answered == float("-inf"):
            self._answered = self._clock()
        try:
            answer = self._ask()
        except (OSError, subprocess.SubprocessError) as error:
            self._asked = self._clock()
            self._tell(error)
            return
        self._asked = self._answered = self._clock()
        self._told = False
        found = _states(answer)
        for job, before in self.jobs.items():
            if is_over(before):
                continue
            if job in found:
                self.jobs[job] = found[job]
                self._absent.discard(job)
            elif job in self._absent:  # twice: one answer may come from before it was submitted
                self.jobs[job] = _GONE
            else:
                self._absent.add(job)

    def _tell(self, error: Exception) -> None:
        silent = self._clock() - self._answered
        if self._told or silent < _TELLS:
            return
        self._told = True
        said = getattr(error, "stderr", None) or str(error)
        sys.stderr.write(
            f"note: Slurm has not answered for {silent:.0f} s ({printable(said.strip())[:200]}); "
            "jobs that run are not lost, and are waited for\n"
        )


def is_over(state: str) -> bool:
    """Whether a job in this state has ended.

    >>> is_over("CANCELLED by 0"), is_over("COMPLETING"), is_over("PENDING")
    (True, False, False)
    """
    return state == _GONE or state.partition(" ")[0] in _OVER


def watch() -> Queue:
    """Have submitit ask a `Queue` about all jobs of Slurm that are submitted from now on."""
    from submitit.slurm.slurm import SlurmJob

    queue = Queue()
    SlurmJob.watcher = queue
    return queue


def cancel(jobs: Collection[str], seconds: float) -> None:
    """End jobs: their processes write a checkpoint. Wait so long for them."""
    if not jobs:
        return
    _scancel(*jobs)
    queue = Queue()
    for job in jobs:
        queue.register_job(job)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        queue.update()
        if not queue.left():
            return
        time.sleep(1.0)


def cancel_waiting(name: str) -> None:
    """End the jobs of this name that have not begun."""
    _scancel(f"--user={os.getuid()}", f"--name={name}", "--state=PENDING")


@contextmanager
def outside_of_job() -> Iterator[None]:
    """Within the block, a command that runs in a job of Slurm submits others as if it ran outside.

    ``sbatch`` passes the variables of the job around it on, and ``srun`` then takes them for its
    own: the number of tasks of the job around, for instance.
    """
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    found = _of_job(os.environ)
    for name in found:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(found)


@contextmanager
def in_time() -> Iterator[None]:
    """Within the block, the warning that the time of a job is nearly over first lets a fit write
    its checkpoint. Then submitit queues the job again and ends it.

    Does nothing where submitit does not run the job.

    Raises:
        UserError: The job is not queued again: that was done as often as its launcher allows.
    """
    warning = signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"]
    queued_again = signal.getsignal(warning)
    if "SUBMITIT_EXECUTOR" not in os.environ or warning in ASKING or not callable(queued_again):
        yield
        return
    came = False

    def warned(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal came
        came = True
        signal.raise_signal(signal.SIGUSR1)  # which whoever is at work now heeds, or defers

    signal.signal(warning, warned)
    try:
        with heeded():
            yield
    except Stopped:
        if not came:
            raise
        try:
            queued_again(int(warning), None)
        except Exception as error:  # submitit's own
            raise UserError(
                f"the time of its job was over ({reason(error)}); see hydra.launcher.timeout_min "
                "and max_num_timeout"
            ) from error
        raise
    finally:
        signal.signal(warning, queued_again)


def reason(error: BaseException) -> str:
    """What an error says, in one line; of ``sbatch`` what it says first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return printable(lines[0] if lines else type(error).__name__)[:200]


def _of_job(variables: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in variables.items()
        if name.startswith(("SLURM_", "SLURMD_", "SRUN_")) and name not in _KEPT
    }


def _squeue() -> str:
    words = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T"]
    # SQUEUE_… would leave out jobs, or write them in another way
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")
    }
    return subprocess.run(  # noqa: S603 - words of ours
        [*words, f"--user={os.getuid()}"],
        env=variables, capture_output=True, text=True, check=True, timeout=_PATIENCE,
    ).stdout  # fmt: skip


def _states(answer: str) -> dict[str, str]:
    """Job -> state, of lines ``<job>|<state>``.

    >>> _states("3_0|RUNNING\\n14|COMPLETED\\n")
    {'3_0': 'RUNNING', '14': 'COMPLETED'}
    """
    pairs = (line.strip().partition("|") for line in answer.splitlines())
    return {job: state.strip() for job, bar, state in pairs if bar}


def _scancel(*words: str) -> None:
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(  # noqa: S603 - words of ours
            ["scancel", *words],  # noqa: S607 - where the user has it
            capture_output=True, check=False, timeout=_PATIENCE,
        )  # fmt: skip
