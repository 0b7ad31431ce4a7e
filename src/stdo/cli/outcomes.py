"""What becomes of the jobs of a catalogue, in their status files and in a line."""

from __future__ import annotations

import sys
from pathlib import Path

from msgspec.structs import replace

from stdo.cli.task import BUSY, CODES, DONE, FAILED, Task
from stdo.core.foreign import printable
from stdo.core.types import UserError
from stdo.runs.catalogue import Entry, Folder, called


def queue(folder: Folder, each: Task, before: Entry | None) -> None:
    """Say that a job is to be done, unless nothing is known of it."""
    if before is None:
        return
    if each.forced or before.state == DONE:  # else its processes go on
        before = replace(before, step=0, seconds=0.0, attempts=0)
    folder.write(each.key, replace(before, state="queued", error=None))


def status_of(folder: Folder, each: Task) -> Entry | None:
    """The status of a job; a damaged one is told, and counts as none."""
    try:
        return folder.read(each.key)
    except UserError as error:
        sys.stderr.write(f"note: {error}; {each.key} is looked at again\n")
        return None


def fail(folder: Folder, each: Task, before: Entry | None, line: str) -> Entry:
    """Say that a job has failed, and why."""
    entry = before or Entry(video=called(Path(each.video)), recipe=each.recipe)
    entry = replace(entry, state="failed", error=printable(line), recipe=each.recipe)
    folder.write(each.key, entry)
    return entry


def ended_status(folder: Folder, each: Task, outcome: str) -> Entry | None:
    """The status of a task that has ended. One whose process died has failed."""
    entry = status_of(folder, each)
    if is_final(entry) or outcome in CODES:
        return entry
    return fail(folder, each, entry, f"{each.video}: {outcome}")


def is_final(entry: Entry | None) -> bool:
    """Whether a status says how a job ended."""
    return entry is not None and entry.state in (DONE, FAILED)


def line_of(key: str, entry: Entry | None, outcome: str) -> str:
    """What became of a job, for people."""
    if outcome == BUSY:
        return f"{key}: another process is at it"
    if entry is None or not is_final(entry):
        return f"{key}: {outcome}; its status file comes late"
    if entry.state == FAILED:
        return f"{key}: failed: {entry.error}"
    return f"{key}: {entry.psnr or 0:.2f} dB, {entry.bytes:,} bytes, {entry.seconds:.0f} s"
