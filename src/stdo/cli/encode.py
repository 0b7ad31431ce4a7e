"""One video of a catalogue, in a process of its own: train, pack, keep the status."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from stdo.core.console import prepare
from stdo.core.files import disk_error, scratch
from stdo.core.foreign import printable
from stdo.core.locks import BusyError
from stdo.core.signals import ASKING, Stopped, heeded
from stdo.core.types import Json, UserError
from stdo.runs.catalogue import Entry, Folder, called, stamp

if TYPE_CHECKING:
    from stdo.pipeline.fit import Job
    from stdo.runs.tracking.tracker import MakeTracker

DONE, FAILED, BUSY, LATER = "done", "failed", "busy", "later"
"""What becomes of a video. BUSY: another process is at it, or at its run directory. LATER: the time
of its job was over, and the next job resumes."""
CODES = {DONE: 12, FAILED: 10, BUSY: 11}
"""Exit codes of a process of its own; any other one means that it died. So does 0: own code may
have ended the process before its time."""

_BEST = 100.0
"""dB that are shown for a picture without any error."""

_EVERY = 1.0
"""Seconds between two status files of a fit."""


@dataclass(frozen=True)
class Task:
    """What a process needs to encode one video; travels to other machines.

    Attributes:
        out: Folder of the catalogue, a whole path.
        key: What the files of the video are called.
        video: Its path, a whole one.
        recipe: Hash of the settings that shape the package.
        settings: Those of stdo.train, nested, but for where the video is.
        words: Of the command of stdo.train that does the same, as far as all videos share them.
        threads: Of a process.
        own_cache: Whether the prepared video is the catalogue's own, and goes when it is done.
        forced: Of a command with ``force=true``: what it is told from others by. The first process
            that trains for it trains again; those after it resume. Else empty.
    """

    out: str
    key: str
    video: str
    recipe: str
    settings: Mapping[str, Any] = field(repr=False)
    words: tuple[str, ...] = ()
    threads: int = 1
    own_cache: bool = True
    forced: str = ""

    @property
    def cache(self) -> str:
        """Folder of the prepared video."""
        cache = str(self.settings["paths"]["cache"])
        return f"{cache}/{self.key}" if self.own_cache else cache

    def command(self) -> list[str]:
        """The words of the command of stdo.train that does the same."""
        places = {"video.path": self.video, "paths.cache": self.cache}
        places["paths.outputs"] = str(self.settings["paths"]["outputs"])
        return ["train.py", *self.words, "deliver=true", *map("=".join, places.items())]


def environment(threads: int) -> dict[str, str]:
    """The variables that keep a process to so many threads, for libraries that read them once."""
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def encode(task: Task) -> str:
    """Encode one video; the same in every engine.

    Args:
        task: The video and its settings.

    Returns:
        `DONE`, `FAILED` or `BUSY`. The status file says more.

    Raises:
        stdo.core.signals.Stopped: The process was asked to stop; the next one resumes.
    """
    folder = Folder(Path(task.out))
    os.environ.update(environment(task.threads))
    try:
        with folder.at_video(task.key), _logged(folder.log(task.key)):
            return _encode(task, Status(folder, task))
    except BusyError:
        return BUSY


def encode_in_time(task: Task) -> str:
    """`encode` for a job of a cluster, which a signal warns before its time is over, or before
    others take its place.

    Args:
        task: The video and its settings.

    Returns:
        What `encode` does; `LATER` where the warning came and the fit got further in this job; a
        line where it came and the fit did not, for then the next job would not either.
    """
    name = os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2")  # as submitit reads it
    warning = signal.Signals[f"SIG{name}"]

    def warned(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        signal.raise_signal(signal.SIGUSR1)  # which whoever is at work now heeds, or defers

    before = _step(task)
    try:
        with heeded():
            if warning not in ASKING:
                signal.signal(warning, warned)  # in place of submitit's, which ends the job
            return encode(task)
    except Stopped as stop:
        if stop.name in ("SIGINT", "SIGTERM"):  # no result: whoever ended the job may requeue it
            sys.exit(stop.exit_code)
        if _step(task) > before:
            return LATER
        return "the time of its job was over before its fit got further; see slurm.minutes"
    finally:
        signal.signal(warning, signal.SIG_IGN)


def _step(task: Task) -> int:
    """How far the fit of a video is, as its status says."""
    with suppress(UserError):
        entry = Folder(Path(task.out)).read(task.key)
        return 0 if entry is None else entry.step
    return 0


def _encode(task: Task, status: Status) -> str:
    sys.stderr.write(f"\n{printable(task.video)}\n")
    try:
        size, mtime = stamp(Path(task.video))
        status.set(state="preparing", size=size, mtime=mtime, attempts=status.entry.attempts + 1)
        made, metrics, run = _package(task, status)
        _put(made, status.folder.package(task.key))
    except BusyError as error:  # a process that is no part of this catalogue trains the same run
        status.set(state="queued", error=_line(error), seconds=status.seconds())
        raise
    except Stopped:
        status.set(state="queued", seconds=status.seconds())
        raise
    except Exception as error:
        line = _line(error)
        sys.stderr.write(f"stdo: {line}\n")
        status.set(state="failed", error=line, eta=None, seconds=status.seconds())
        _clear(task)
        return FAILED
    _clear(task)
    status.set(
        state="done", error=None, eta=None, run=str(run), seconds=status.seconds(),
        bytes=status.folder.package(task.key).stat().st_size,
        psnr=metrics["delivered"]["psnr"]["frame"],
    )  # fmt: skip
    return DONE


def _package(task: Task, status: Status) -> tuple[Path, Json, Path]:
    """Train and pack. Returns the package, metrics.json's content and the run directory."""
    import torch
    from omegaconf import OmegaConf

    from stdo.cli.deliver import delivery
    from stdo.cli.train import perform
    from stdo.config.composed import explained
    from stdo.config.plugins import activate

    torch.set_num_threads(task.threads)
    config = OmegaConf.create(dict(task.settings))
    activate(list(config.get("plugins") or ()))
    OmegaConf.update(config, "video.path", task.video)
    OmegaConf.update(config, "paths.cache", task.cache)
    OmegaConf.update(config, "force", task.forced not in ("", status.entry.forced))
    with explained():
        job, (metrics, *_) = perform(config, task.command(), status.watching)
    made = delivery(config).path(job.directory, job.data.clip.info.name)
    return made, metrics, job.directory


def _put(made: Path, target: Path) -> None:
    """Give a package of a run directory its second name. Both are one file where the disk can do
    that."""
    with scratch(target) as folder:
        beside = folder / target.name
        try:
            os.link(made, beside)
        except OSError:
            shutil.copyfile(made, beside)
        beside.replace(target)


def _clear(task: Task) -> None:
    """Remove the prepared video, where nobody else has a part in it."""
    if task.own_cache:
        shutil.rmtree(task.cache, ignore_errors=True)


def _line(error: Exception) -> str:
    """What went wrong, in one line; what nobody foresaw is also printed with its traceback."""
    from stdo.config.errors import MISTAKES, one_line

    if isinstance(error, OSError):
        error = disk_error(error, Path(error.filename or "."))
    if isinstance(error, FileNotFoundError):
        return printable(f"{error.filename}: no such file")
    if isinstance(error, MISTAKES):
        return one_line(error)
    traceback.print_exc()
    return f"{type(error).__name__}: {one_line(error)}"


@contextmanager
def _logged(log: Path) -> Iterator[None]:
    """Append what is printed to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as file,
        redirect_stdout(file),
        redirect_stderr(file),
    ):
        yield


class Status:
    """The status file of one video, while it is encoded.

    Args:
        folder: Of the catalogue.
        task: The video.
    """

    def __init__(self, folder: Folder, task: Task) -> None:
        self.folder, self._key, self._forced = folder, task.key, task.forced
        self._began, self._written = time.monotonic(), 0.0
        self.entry = Entry(video=called(Path(task.video)), recipe=task.recipe)
        with suppress(UserError):  # a damaged one is replaced
            before = folder.read(task.key)
            if before is not None and (before.video, before.recipe) == (
                self.entry.video, task.recipe
            ):  # fmt: skip
                self.entry = before
        self._spent = self.entry.seconds

    def seconds(self) -> float:
        """What all processes of this video have taken."""
        return round(self._spent + time.monotonic() - self._began, 1)

    def set(self, **changes: Any) -> None:
        """Change the status, and write it."""
        self.entry = replace(self.entry, **changes)
        self.folder.write(self._key, self.entry)
        self._written = time.monotonic()

    def watching(self, job: Job) -> MakeTracker:
        """The job's tracker, and one that keeps the status."""
        from stdo.runs.tracking.several import Several

        return partial(Several, [job.tracker, partial(_Told, self, self._forced, job)])

    def step(self, done: int, steps: int, psnr: float, left: float) -> None:
        """Keep how far a fit is, not too often."""
        if time.monotonic() - self._written >= _EVERY or self.entry.state != "training":
            self.set(
                state="training",
                step=min(done, steps),
                steps=steps,
                psnr=round(min(psnr, _BEST), 3),
                eta=round(left, 1),
                seconds=self.seconds(),
            )


class _Told:
    """A tracker that keeps the status file."""

    def __init__(self, status: Status, forced: str, job: Job, directory: Path, _: Json) -> None:
        self._status, self._job = status, job
        self._first: tuple[int, float] | None = None
        self._steps = 0
        status.set(run=str(directory), forced=forced)  # what was there before is gone by now

    def loggers(self) -> list[Any]:
        """One that passes the curve on; the video is prepared by now."""
        import torch

        from stdo.runs.tracking.curves import CurveLogger

        job, label_N = self._job, self._job.data.labels.ravel().astype("int64")
        with torch.random.fork_rng(devices=[]):  # the fit's own networks are drawn later
            sharing = job.sharing(int(label_N.max()) + 1)
        samplers = job.samplers(label_N, sharing.learner_of(label_N))
        self._steps = sum(each.steps for each in samplers)
        return [CurveLogger("status", self._row)]

    def _row(self, metrics: Mapping[str, float], step: int) -> None:
        psnr = metrics.get("train/psnr")
        if psnr is None:
            return
        now = time.monotonic()
        first, began = self._first = self._first or (step, now)
        pace = (now - began) / max(1, step - first)
        self._status.step(step, self._steps, psnr, max(0, self._steps - step) * pace)

    def result(self, metrics: Json) -> None:  # noqa: ARG002
        """Packing comes next."""
        self._status.set(state="packing", step=self._status.entry.steps, eta=None)

    def close(self, failed: bool) -> None:
        """Nothing to do."""


def main() -> None:
    """A process of its own: a `Task` as JSON on stdin, an exit code of `CODES`."""
    prepare()
    task = Task(**json.loads(sys.stdin.buffer.read()))
    try:
        with heeded():
            sys.exit(CODES[encode(task)])
    except Stopped as stop:
        sys.exit(stop.exit_code)


def as_json(task: Task) -> bytes:
    """A task for the stdin of a process of its own; names need not be UTF-8."""
    return json.dumps(asdict(task)).encode("ascii")


if __name__ == "__main__":
    main()
