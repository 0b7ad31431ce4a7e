"""How a long video of a catalogue is split into parts.

::

    <out>/parts/<key>/plan.json             where the parts begin
    <out>/parts/<key>/status/0001.json      how far the first one is
    <out>/parts/<key>/0001.stdo             its package
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from stdo.core.checked import checked
from stdo.core.files import atomic
from stdo.core.foreign import parse_json, printable, read_below
from stdo.core.types import UserError
from stdo.runs.catalogue import Folder
from stdo.runs.schema import Natural, Seconds, Word

PLAN = "plan.json"
_MOST = 1 << 29
_Time = Annotated[str, Meta(pattern=r"^\d{1,19}(/[1-9]\d{0,18})?\Z")]
"""Seconds, as a fraction."""


class Piece(Struct):
    """A part of a video.

    Attributes:
        first: Number of its first frame.
        frames: How many it has.
        start: The setting ``video.start`` with which it begins there.
    """

    first: Natural
    frames: Annotated[int, Meta(ge=1)]
    start: Seconds


class Plan(Struct, kw_only=True):
    """plan.json.

    Attributes:
        recipe: Hash of the settings that shape the video's package.
        size: Bytes of the video.
        mtime: When the video was written, in nanoseconds.
        split: Longest part in seconds.
        rate: Frames per second.
        pts: Seconds of each frame, the first at 0; None: they are evenly spaced.
        last: Seconds that the last frame is shown; None: not known.
        pieces: The parts.
    """

    recipe: Word
    size: Natural
    mtime: int
    split: Seconds
    rate: _Time
    pts: list[_Time] | None
    last: _Time | None
    pieces: Annotated[list[Piece], Meta(min_length=1)]

    @property
    def frames(self) -> int:
        """How many the video has."""
        return self.pieces[-1].first + self.pieces[-1].frames

    def times(self) -> list[Fraction]:
        """Seconds of each frame."""
        if self.pts is not None:
            return list(map(Fraction, self.pts))
        rate = Fraction(self.rate)
        return [t / rate for t in range(self.frames)]


def folder_of(folder: Folder, key: str) -> Folder:
    """Where the parts of a video are, which are like the videos of a catalogue."""
    return Folder(folder.path / "parts" / key)


def part_key(number: int) -> str:
    """What the files of a part are called.

    >>> part_key(0)
    '0001'
    """
    return f"{number + 1:04d}"


def read_plan(folder: Folder, recipe: str, stamp: tuple[int, int], split: float) -> Plan | None:
    """The plan of a video, where there is one of this content, recipe and length of parts; a
    damaged one counts as none.

    Args:
        folder: Of its parts.
        recipe: As in `Plan`.
        stamp: Size and time of writing of the video.
        split: As in `Plan`.
    """
    place = printable(str(folder.path / PLAN))
    try:
        plan: Plan = checked(parse_json(read_below(folder.path, PLAN, _MOST), place), Plan, place)
    except (FileNotFoundError, UserError):
        return None
    made_of = plan.recipe, (plan.size, plan.mtime), plan.split
    return plan if made_of == (recipe, stamp, split) else None


def write_plan(folder: Folder, plan: Plan) -> None:
    """Replace the plan of a video."""
    folder.path.mkdir(parents=True, exist_ok=True)
    with atomic(Path(folder.path / PLAN)) as partial:
        partial.write_bytes(msgspec.json.encode(plan))
