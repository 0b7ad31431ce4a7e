"""The state of a catalogue as a screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from stdo.core.types import UserError
from stdo.runs.catalogue import WORKING, Entry, Folder, Listing
from stdo.runs.parts import folder_of, part_key

_MOST = 100
"""Videos of which each has a line; of more, those that are done or queued are only counted."""


_ORDER = ("done", "queued", "preparing", "training", "packing", "parts", "failed")
"""States in the order of a screen, of which a terminal shows the end."""


def shown(folder: Folder, listing: Listing) -> str:
    """A line for each video, what needs attention last, and the totals."""
    found = [(video.key, _entry(folder, video.key, video.video)) for video in listing.videos]
    entries = dict(sorted(found, key=lambda each: _ORDER.index(each[1].state)))
    told: dict[str, Entry] = {}
    for key, entry in entries.items():
        if len(entries) <= _MOST or entry.state not in ("done", "queued"):
            told[key] = entry
            told |= parts_of(folder, key, entry) if entry.state == "parts" else {}
    width = max(map(len, told), default=0)
    lines = [
        f"{key:<{width}}  {entry.state:<11}  {_what(entry)}".rstrip() for key, entry in told.items()
    ]
    return "\n".join([*lines, *([""] if lines else []), _sum(entries.values()), ""])


def totals(folder: Folder, keys: Sequence[str]) -> tuple[str, int]:
    """The line of totals and those that failed, and how many failed."""
    entries = {key: _entry(folder, key, key) for key in keys}
    failed = {key: entry for key, entry in entries.items() if entry.state == "failed"}
    lines = [f"failed: {key}: {entry.error}" for key, entry in failed.items()]
    return "\n".join([*lines, _sum(entries.values()), ""]), len(failed)


def _entry(folder: Folder, key: str, video: str) -> Entry:
    """The status of a video as it is now: work that no process is at is interrupted."""
    try:
        entry = folder.read(key)
    except UserError as error:
        return Entry(video=video, recipe="unknown", error=f"{error}; the same command mends it")
    if entry is None:
        return Entry(video=video, recipe="unknown")
    if entry.state == "parts":
        parts = parts_of(folder, key, entry)
        if not any(part.state in WORKING for part in parts.values()):
            done = sum(part.state == "done" for part in parts.values())
            return replace(entry, state="queued", error=f"{done} of {len(parts)} parts are done")
    if entry.state in WORKING and not folder.is_worked_on(key):
        return replace(entry, state="queued", error="was interrupted")
    return entry


def parts_of(folder: Folder, key: str, entry: Entry) -> dict[str, Entry]:
    """The parts of a long video as they are now, by what people call them."""
    inside = folder_of(folder, key)
    return {
        f"{key} {number + 1}/{entry.parts}": _entry(inside, part_key(number), entry.video)
        for number in range(entry.parts)
    }


def _what(entry: Entry) -> str:
    if entry.error is not None:
        return entry.error
    if entry.state == "parts":
        return f"{entry.parts} parts"
    if entry.state == "training":
        left = "" if entry.eta is None else f"  {_time(entry.eta)} left"
        left = "  being measured" if entry.step >= entry.steps else left
        return f"step {entry.step} of {entry.steps}  {entry.psnr or 0:.2f} dB{left}"
    if entry.state == "done":
        size, took = f"{entry.bytes:,} bytes", _time(entry.seconds)
        return f"{entry.psnr or 0:.2f} dB  {size:>16}  {took}"
    return ""


def _sum(entries: Iterable[Entry]) -> str:
    found = list(entries)
    working = (*WORKING, "parts")
    count = Counter("at work" if each.state in working else each.state for each in found)
    states = [
        f"{count[state]:,} {state}"
        for state in ("done", "at work", "queued", "failed")
        if count[state] or state == "done"
    ]
    line = f"{videos_of(len(found))}: {', '.join(states)}"
    done = [each for each in found if each.state == "done"]
    if done:
        size = sum(each.bytes for each in done) / 1e6
        mean = sum(each.psnr or 0 for each in done) / len(done)
        took = sum(each.seconds for each in done)
        line += f"; {size:,.2f} MB, mean {mean:.2f} dB, {_time(took)} of work"
    return line


def videos_of(count: int) -> str:
    """So many videos.

    >>> videos_of(1), videos_of(2000)
    ('1 video', '2,000 videos')
    """
    return f"{count:,} video{'s' if count != 1 else ''}"


def _time(seconds: float) -> str:
    """Seconds for people.

    >>> _time(34.2), _time(600), _time(90_000)
    ('34 s', '10 min', '25.0 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
