"""Queue the parts of long videos while a catalogue runs, and what joins them."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from stdo.cli.outcomes import ended_status, fail, line_of, queue, status_of
from stdo.cli.parts import LATE, is_part_done, part_tasks, plan_of
from stdo.cli.submitted import Ended
from stdo.cli.task import BUSY, DONE, FAILED, SPLIT, Task
from stdo.runs.catalogue import Folder


@dataclass
class _Split:
    """A long video whose parts are under way.

    Attributes:
        left: How many of its parts have not ended.
        lines: What those that failed say.
        busy: Whether other processes are at some.
    """

    task: Task
    left: int
    lines: list[str] = field(default_factory=list)
    busy: bool = False


def whole_videos(ended: Ended, waiting: list[Task]) -> Ended:
    """What becomes of videos, of what becomes of videos and of the parts of long ones.

    Args:
        ended: Jobs as an engine ends them.
        waiting: Its queue. Parts and what joins them are put in front, so that one video is done
            before the next one begins.

    Yields:
        Videos that have ended, as engines do.
    """
    known: dict[tuple[str, str], _Split] = {}
    with closing(ended):
        for task, outcome in ended:
            if task.part:
                split = known[task.out, task.recipe]
                yield from _part_ended(split, task, outcome, waiting)
            elif outcome != SPLIT:
                yield task, outcome
            else:
                yield from _begun(known, task, waiting)


def _begun(known: dict[tuple[str, str], _Split], task: Task, waiting: list[Task]) -> Ended:
    """Queue the parts of a long video. Yields the video where that cannot be."""
    parts = _parts_in_time(task)
    if not parts or any((part.out, part.recipe) in known for part in parts):
        yield task, "its plan, or its parts, are not seen on the disk; try again"
        return
    left = [part for part in parts if not is_part_done(part)]
    split = _Split(task, len(left))
    known |= {(part.out, part.recipe): split for part in parts}
    for part in left:
        folder = Folder(Path(part.out))
        if not folder.is_worked_on(part.key):
            queue(folder, part, status_of(folder, part))
    sys.stderr.write(f"{task.key}: {len(parts)} parts, {len(parts) - len(left)} of them done\n")
    waiting[:0] = left or [task]


def _parts_in_time(task: Task) -> list[Task]:
    """The parts of a video that another machine may just have planned; none where it did not."""
    until = time.monotonic() + LATE
    while True:
        plan = plan_of(task)
        if plan is not None:
            return part_tasks(task, plan)
        if time.monotonic() > until:
            return []
        time.sleep(1.0)


def _part_ended(split: _Split, part: Task, outcome: str, waiting: list[Task]) -> Ended:
    """Take in what became of a part. After the last one, queue the video to be joined, or yield it
    where that cannot be."""
    entry = ended_status(Folder(Path(part.out)), part, outcome)
    sys.stderr.write(f"  {line_of(part.name, entry, outcome)}\n")
    split.left -= 1
    if outcome == BUSY:
        split.busy = True
    elif outcome != DONE:
        why = outcome if entry is None or not entry.error else entry.error
        split.lines.append(f"part {part.part.rpartition(' ')[2]}: {why}")
    if split.left:
        return
    video = split.task
    if split.lines:
        folder = Folder(Path(video.out))
        fail(folder, video, status_of(folder, video), "; ".join(split.lines))
        yield video, FAILED
    elif split.busy:
        yield video, BUSY
    else:
        waiting.insert(0, replace(video, joining=True))
