"""A job of a catalogue, and what may become of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DONE, FAILED, BUSY, LATER, SPLIT = "done", "failed", "busy", "later", "split"
"""What becomes of a video. BUSY: another process is at it, or at its run directory. LATER: the time
of its job was over, and the next job resumes. SPLIT: it is long, and its parts come first."""
CODES = {DONE: 12, FAILED: 10, BUSY: 11, SPLIT: 13}
"""Exit codes of a process of its own; any other one means that it died. So does 0: own code may
have ended the process before its time."""


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
        split: Longest part in seconds of a video; None: it is not split.
        part: Of a part: how people call it.
        joining: Whether all parts are known to be done: a disk that does not show it yet is late.
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
    split: float | None = None
    part: str = ""
    joining: bool = False
    forced: str = ""

    @property
    def name(self) -> str:
        """How people call it."""
        return self.part or self.key

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
