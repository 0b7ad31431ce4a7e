"""One video of a catalogue, in a process of its own: train, pack, keep the status."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from stdo.cli.progress import Status
from stdo.cli.task import BUSY, CODES, DONE, FAILED, LATER, Task
from stdo.core.console import prepare
from stdo.core.files import disk_error, scratch
from stdo.core.foreign import printable
from stdo.core.locks import BusyError
from stdo.core.signals import ASKING, Stopped, heeded
from stdo.core.types import Json, UserError
from stdo.runs.catalogue import Folder, stamp

if TYPE_CHECKING:
    pass


def environment(threads: int) -> dict[str, str]:
    """The variables that keep a process to so many threads, for libraries that read them once."""
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def encode(task: Task) -> str:
    """Encode one video; the same in every engine.

    Args:
        task: The video and its settings.

    Returns:
        `DONE`, `FAILED`, `BUSY` or `SPLIT`. The status file says more.

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
        if task.split is not None:
            from stdo.cli.parts import advance

            outcome = advance(task, status)
            if outcome == DONE:
                _clear(task)
            if outcome is not None:
                return outcome
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
