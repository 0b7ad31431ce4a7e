"""Sweeps: the outcome of each job, kept on disk in a file of its own."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from stdo.core.files import atomic
from stdo.core.foreign import read_file
from stdo.core.types import Json, UserError
from stdo.runs.files import MAX_JSON, read_jobs

BEAT, SILENT = 20.0, 120.0
"""Seconds between two signs of life of a job, and after which one without any is dead: shared disks
tell other machines late."""

FINISHED, FAILED, BUSY, RUNNING = "finished", "failed", "busy", "running"
"""BUSY: another process, such as the same sweep started twice, is at the job; only that one records
it."""


@dataclass(frozen=True)
class Outcome:
    """One job of a sweep. command: repeats it alone. directory: of the run, where it got that far.
    error: one line. ended: seconds since 1970."""

    command: str
    directory: str | None
    status: str
    error: str | None = None
    ended: float = 0.0


class Sweep:
    """The jobs of one sweep or study, in the folder ``<outputs>/sweeps/<name>``.

    Each job has a file of its own, so any number of processes and machines may record at once. A
    job that runs again replaces its file, so a sweep that is started again, or for another video,
    completes the list. Earlier versions kept all jobs in ``<outputs>/sweeps/<name>.json``, which is
    read too.
    """

    def __init__(self, outputs: Path, name: str) -> None:
        self.path = outputs / "sweeps" / name
        self.former = outputs / "sweeps" / f"{name}.json"
        self.name = name

    def record(self, outcome: Outcome) -> None:
        """Keep what became of a job; of one that is another process's, nothing."""
        if outcome.status == BUSY:
            return
        key = hashlib.blake2b(outcome.command.encode("utf-8", "surrogateescape"), digest_size=8)
        kept = asdict(outcome) | {"ended": time.time()}
        _write(self.path / f"job-{key.hexdigest()}.json", {"study": self.name, "jobs": [kept]})

    def jobs(self) -> list[Outcome]:
        """Everything recorded so far, in the order in which it ended; of several commands for one
        run directory, the last. Raises UserError where a file is damaged."""
        seen: set[str] = set()
        kept: list[Outcome] = []
        for outcome in reversed(self._recorded()):
            names = {outcome.command, outcome.directory or outcome.command}
            if not names & seen:
                kept.append(outcome)
            seen |= names
        return kept[::-1]

    def _recorded(self) -> list[Outcome]:
        found: list[Outcome] = []
        try:
            for file in [self.former, *files_of(self.path)]:
                if file.exists():
                    found += map(_outcome, read_jobs(file, read_file(file, MAX_JSON)))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"{file}: not a list of jobs; move it away and start the sweep again"
            ) from error
        return sorted(found, key=lambda outcome: outcome.ended)


def settled(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Jobs with those finished that were another job's of the same command: two readings of equal
    work may be one run, which jobs at the same time come to."""
    finished = {each.directory for each in outcomes if each.status == FINISHED}
    return [
        replace(each, status=FINISHED, error=None)
        if each.status == BUSY and each.directory in finished
        else each
        for each in outcomes
    ]


def finished_in(outcomes: Sequence[Outcome]) -> list[Path]:
    """The run directories of finished jobs, each once."""
    places = (each.directory for each in outcomes if each.status == FINISHED)
    return list(dict.fromkeys(Path(place) for place in places if place is not None))


def files_of(folder: Path) -> list[Path]:
    """The files of the jobs in a folder that `Sweep` wrote; empty for any other folder."""
    return sorted(folder.glob("job-*.json")) if folder.absolute().parent.name == "sweeps" else []


def _outcome(job: Json) -> Outcome:
    return Outcome(**{name: job[name] for name in Outcome.__dataclass_fields__ if name in job})


def _write(file: Path, content: Json) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic(file) as partial:
        partial.write_text(json.dumps(content, indent=1), encoding="utf-8")


class Board:
    """What becomes of the jobs of one command, wherever a launcher runs them: ``<number>.json``.

    Args:
        folder: Of this command alone, on a disk that all machines share.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, number: int, command: str) -> None:
        """Note that this process has begun a job."""
        self._note(number, Outcome(command, None, RUNNING), None)

    @contextmanager
    def at_work(self, number: int) -> Iterator[None]:
        """Within the block, other machines see that this process is at a job that has begun: its
        file is touched again and again."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(BEAT):
                with suppress(OSError):
                    os.utime(self.folder / f"{number}.json")

        thread = threading.Thread(target=beat, name="board", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def end(self, number: int, outcome: Outcome, sweep: Path) -> None:
        """Note what became of it, and the `Sweep` that it belongs to."""
        self._note(number, outcome, sweep)

    def _note(self, number: int, outcome: Outcome, sweep: Path | None) -> None:
        facts = {
            "sweep": None if sweep is None else str(sweep.absolute()),
            "host": socket.gethostname(),
            "process": os.getpid(),
        }
        content = {"study": None, "jobs": [asdict(outcome)]} | facts
        _write(self.folder / f"{number}.json", content)

    def outcomes(self, numbers: Iterable[int]) -> dict[int, Outcome]:
        """The jobs that have begun."""
        known = ((number, self._read(number)) for number in numbers)
        return {number: _outcome(found["jobs"][0]) for number, found in known if found}

    def sweeps(self, numbers: Iterable[int]) -> list[Path]:
        """Where the jobs recorded themselves, each place once."""
        known = (self._read(number).get("sweep") for number in numbers)
        return list(dict.fromkeys(Path(place) for place in known if place))

    def wait(self, numbers: Collection[int], seconds: float, poll: float = 0.5) -> None:
        """Wait until no job runs any longer, and for so many seconds more none that has not begun
        does: after a launcher lost a job, the others may still be at work.

        A job of another machine runs while its file is touched, see `at_work`.
        """
        until = time.monotonic() + seconds
        seen: dict[int, tuple[float, float]] = {}
        while time.monotonic() < until:
            found = {number: self._read(number) for number in numbers}
            if all(each and each["jobs"][0]["status"] != RUNNING for each in found.values()):
                return
            running = [n for n, each in found.items() if each and _runs(each)]
            if any(_alive(found[n]) or self._beats(n, found[n], seen) for n in running):
                until = time.monotonic() + seconds
            time.sleep(poll)

    def _beats(self, number: int, job: Json, seen: dict[int, tuple[float, float]]) -> bool:
        """Whether a job of another machine has touched its file of late. Clocks of machines
        differ, so what counts is when this process saw the file change."""
        if job["host"] == socket.gethostname():
            return False
        try:
            touched = (self.folder / f"{number}.json").stat().st_mtime
        except OSError:
            return False
        before, since = seen.get(number, (touched, time.monotonic()))
        if before != touched:
            since = time.monotonic()
        seen[number] = touched, since
        return time.monotonic() - since < SILENT

    def _read(self, number: int) -> Json:
        file = self.folder / f"{number}.json"
        try:
            found = json.loads(file.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _runs(job: Json) -> bool:
    return bool(job["jobs"][0]["status"] == RUNNING)


def _alive(job: Json) -> bool:
    """Whether a job runs, and in a process of this machine that is there."""
    if not _runs(job) or job["host"] != socket.gethostname():
        return False
    try:
        os.kill(job["process"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def job_command(
    overrides: Sequence[str], flags: Sequence[str] = (), study: str | None = None
) -> list[str]:
    """The words, as in ``sys.argv``, of the command that repeats one job of a sweep alone.

    Args:
        overrides: as the job was given them. Those of Hydra's own are dropped, but for where files
            are searched.
        flags: of Hydra's, that choose configuration files.
        study: as the user named it, for Hydra knows its name alone. Nothing else of it is swept
            again.
    """
    kept = [each for each in overrides if not _of_hydra(each)]
    if study is None:
        return ["train.py", *flags, *kept]
    others = [each for each in kept if not each.startswith("study=")]
    return ["train.py", *flags, f"study={study}", *others, "hydra.mode=RUN"]


def _of_hydra(override: str) -> bool:
    """Whether an override says how Hydra works, and not where it finds configurations."""
    name = override.partition("=")[0].lstrip("+~")
    return name.startswith(("hydra.", "hydra/")) and name != "hydra.searchpath"


def best_of(
    outcomes: Sequence[Outcome],
    objective: str,
    figure: Callable[[str | None], float | None],
    lowest: bool = False,
) -> str:
    """Name the finished job with the highest figure, and the command that repeats it.

    Args:
        outcomes: Of all jobs.
        objective: What the figure is called: ``psnr.frame``.
        figure: The figure of a run directory.
        lowest: Name the job with the lowest one.
    """
    finished = [outcome for outcome in outcomes if outcome.status == FINISHED]
    measured = [(figure(outcome.directory), outcome) for outcome in finished]
    known = [(value, outcome) for value, outcome in measured if value is not None]
    if not known:
        return f"no job has a {objective}"
    value, best = (min if lowest else max)(known, key=lambda each: each[0])
    shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    which = "lowest" if lowest else "highest"
    return f"{which} {objective}: {shown}, {best.directory}\n  {best.command}"


def failures(outcomes: Sequence[Outcome]) -> str:
    """What was not done, why, and the command of each, for the end of a sweep; empty when
    all was."""
    left = [outcome for outcome in outcomes if outcome.status != FINISHED]
    counts = (
        (sum(outcome.status == status for outcome in left), status) for status in (FAILED, BUSY)
    )
    what = " and ".join(f"{count} {status}" for count, status in counts if count)
    lines = [f"of {len(outcomes)} jobs {what}; the same command tries them again:"] if left else []
    for outcome in left:
        lines += [f"  {outcome.error}", f"    {outcome.command}"]
    return "\n".join(lines)
