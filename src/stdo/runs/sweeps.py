"""Sweeps: the outcome of each job, kept on disk."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from stdo.core.files import atomic
from stdo.core.foreign import read_file
from stdo.core.locks import exclusive
from stdo.core.types import UserError
from stdo.runs.files import MAX_JSON, read_jobs

FINISHED, FAILED, BUSY = "finished", "failed", "busy"
"""BUSY: another process, such as the same sweep started twice, is at the job; only that one records
it."""

LOCK_SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    """One job of a sweep. command: repeats it alone. directory: of the run, where it got that far.
    error: one line."""

    command: str
    directory: str | None
    status: str
    error: str | None = None


class Sweep:
    """The jobs of one sweep or study, in ``<outputs>/sweeps/<name>.json``.

    Several processes may record into it. A job that ran before is replaced, so a sweep that is
    started again, or for another video, completes the list.
    """

    def __init__(self, outputs: Path, name: str) -> None:
        self.path = outputs / "sweeps" / f"{name}.json"
        self.name = name

    def record(self, outcome: Outcome) -> None:
        """Keep what became of a job; of one that is another process's, nothing."""
        if outcome.status == BUSY:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(
            self.path.with_suffix(".lock"), "its list of jobs is being written", LOCK_SECONDS
        ):
            jobs = [job for job in self.jobs() if not _same(job, outcome)]
            jobs.append(outcome)
            with atomic(self.path) as partial:
                listed = {"study": self.name, "jobs": [asdict(job) for job in jobs]}
                partial.write_text(json.dumps(listed, indent=1), encoding="utf-8")

    def jobs(self) -> list[Outcome]:
        """Everything recorded so far. Raises UserError where the file is damaged."""
        if not self.path.exists():
            return []
        try:
            return [Outcome(**job) for job in read_jobs(self.path, read_file(self.path, MAX_JSON))]
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"{self.path}: not a list of jobs; move it away and start the sweep again"
            ) from error


def _same(old: Outcome, new: Outcome) -> bool:
    return old.command == new.command or (
        old.directory is not None and old.directory == new.directory
    )


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


def best_of(outcomes: Sequence[Outcome], psnr: Callable[[str | None], float | None]) -> str:
    """Name the finished job with the highest PSNR, and the command that repeats it."""
    known = [
        (psnr(outcome.directory) or -math.inf, outcome)
        for outcome in outcomes
        if outcome.status == FINISHED
    ]
    value, best = max(known, key=lambda each: each[0])
    return f"best PSNR (frame): {value:.2f} dB, {best.directory}\n  {best.command}"


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
