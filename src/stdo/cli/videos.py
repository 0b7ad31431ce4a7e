"""Which videos a catalogue has: those of a folder, a list or a pattern."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from stdo.core.foreign import printable, read_file
from stdo.core.types import UserError

SUFFIXES = frozenset(
    f".{name}"
    for name in (
        "3gp", "asf", "avi", "divx", "dv", "flv", "gif", "m2ts", "m2v", "m4v", "mkv", "mov", "mp4",
        "mpeg", "mpg", "mts", "mxf", "ogv", "qt", "rm", "rmvb", "ts", "vob", "webm", "wmv", "y4m",
    )
)  # fmt: skip
"""How the names of the videos of a folder end; a list and a pattern may name others."""

_MAX_LIST = 1 << 26
_PATTERN = re.compile(r"[*?\[]")

Item = TypeVar("Item")


def find_videos(asked: str) -> list[Path]:
    """The videos that are asked for, whole paths, each once, in the order of their names or as
    listed.

    Args:
        asked: A folder, a text file with a path in each line (relative to its own folder), a
            pattern as a shell has it (``**`` for folders below), or one video.

    Raises:
        UserError: There is nothing of that name, or no video in it.
    """
    path = Path(asked)
    if path.is_dir():
        found: Iterable[Path] = sorted(each for each in path.iterdir() if _is_video(each))
    elif path.is_file():
        found = _listed(path) if path.suffix.lower() in (".txt", ".lst") else [path]
    elif _PATTERN.search(asked):
        found = map(Path, sorted(glob.glob(asked, recursive=True)))  # noqa: PTH207 - any root
        found = [each for each in found if each.is_file()]
    else:
        raise UserError(f"videos={printable(asked)}: no such file or folder")
    videos = [Path(os.path.normpath(each.absolute())) for each in found]
    if not videos:
        raise UserError(f"videos={printable(asked)}: holds no video")
    return _once(videos)


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _listed(file: Path) -> list[Path]:
    try:
        lines = os.fsdecode(read_file(file, _MAX_LIST).removeprefix(b"\xef\xbb\xbf")).split("\n")
    except FileNotFoundError:
        raise UserError(f"videos={printable(str(file))}: no such file or folder") from None
    videos = []
    for line in (line.rstrip("\r") for line in lines):
        if "\0" in line:
            raise UserError(f"videos={printable(str(file))}: is no list of paths, one in each line")
        here = file.parent / line
        if line.strip() and (not line.startswith("#") or here.exists()):
            videos.append(here if here.exists() else file.parent / line.strip())
    return videos


def _once(videos: Sequence[Path]) -> list[Path]:
    """The same without those that are one file under two names; says so on stderr."""
    seen: dict[str, Path] = {}
    for video in videos:
        real = os.path.realpath(video)
        if real in seen:
            line = f"note: {video}: is the same video as {seen[real]}; it is encoded once\n"
            sys.stderr.write(printable(line.rstrip("\n")) + "\n")
        else:
            seen[real] = video
    return list(seen.values())


def of_shard(items: Sequence[Item], shard: str | None) -> list[Item]:
    """Every n-th of them: those of shard ``3/64`` begin with the third.

    >>> of_shard("abcdefg", "2/3")
    ['b', 'e']

    Raises:
        UserError: It is no such shard.
    """
    if shard is None:
        return list(items)
    which, _, of = shard.partition("/")
    if not 1 <= int(which) <= int(of):
        raise UserError(f"shard={shard}: must be from 1/{of} to {of}/{of}")
    return list(items[int(which) - 1 :: int(of)])
