"""The cache of prepared videos: list it, keep it below a size, clear it.

Whoever uses a prepared video holds a shared lock on ``in-use`` in its folder for as long as the
frames are open. The time of that file is when the video was last asked for. What is in use, or
being prepared, is never removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stdo.core.files import hold
from stdo.core.locks import BusyError, exclusive
from stdo.core.types import UserError

IN_USE = "in-use"
_LOCK = ".lock"
_OURS = ("hr.json", "hr.u8", "lr-*.json", "lr-*.u8", "lr-*.mp4", "*.npy")
"""What a prepared video's folder may hold; nothing else in it is removed."""


@dataclass(frozen=True)
class Cached:
    """A prepared video.

    Attributes:
        folder: Where it is.
        bytes: On the disk.
        used: When it was last asked for, in seconds since 1970.
    """

    folder: Path
    bytes: int
    used: float


class Use:
    """Keeps a prepared video from being removed for as long as this object or its process lives.

    Args:
        folder: Of the prepared video.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._descriptor = folder, -1
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(OSError):  # a cache that is only read, or no locks: nobody evicts
            self._descriptor = os.open(folder / IN_USE, flags, 0o666)
            os.utime(self._descriptor)
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def __reduce__(self) -> tuple[type[Use], tuple[Path]]:
        return Use, (self._folder,)  # another process has a descriptor of its own

    def __del__(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)


def listed(cache: Path) -> list[Cached]:
    """The prepared videos of a cache, and of the folders in it as a catalogue has them; the one
    that was not used for the longest time comes first."""
    found = [_cached(folder) for folder in _folders(cache)]
    return sorted((each for each in found if each.bytes), key=lambda each: each.used)


def evict(cache: Path, most: float, keep: Path | None = None) -> list[Cached]:
    """Remove prepared videos until a cache has a size, those first that were not used for long.

    Args:
        cache: The folder.
        most: Bytes that may stay.
        keep: A folder that stays in any case.

    Returns:
        What was removed.
    """
    videos = listed(cache)
    size = sum(each.bytes for each in videos)
    removed = []
    for each in videos:
        if size <= most:
            break
        if each.folder != keep and remove(each.folder):
            size -= each.bytes
            removed.append(each)
    return removed


def remove(folder: Path) -> bool:
    """Remove a prepared video. Returns False where it is in use, or nobody can tell."""
    try:
        with exclusive(folder / _LOCK, "is being prepared", wait=0) as outermost, _unused(folder):
            if not outermost:
                return False
            for path in _files(folder):
                path.unlink(missing_ok=True)
            return True
    except (BusyError, BlockingIOError, UserError, OSError):
        return False


def keep_below(cache: Path, limit: float | None, needed: int, keep: Path) -> None:
    """Make room for a video that is about to be prepared; says on stderr what went, and where the
    limit cannot be kept.

    Args:
        cache: The folder.
        limit: Its largest size in GB; None: none.
        needed: Bytes of the video that are not there yet.
        keep: Its folder.
    """
    if limit is None:
        return
    removed = evict(cache, max(0.0, limit * 1e9 - needed), keep)
    if removed:
        size = sum(each.bytes for each in removed) / 1e6
        names = ", ".join(each.folder.name for each in removed[:3])
        more = f" and {len(removed) - 3} others" if len(removed) > 3 else ""
        sys.stderr.write(f"paths.cache_limit={limit:g}: removed {size:,.1f} MB: {names}{more}\n")
    left = sum(each.bytes for each in listed(cache))
    if left + needed > limit * 1e9:
        total = (left + needed) / 1e9
        sys.stderr.write(
            f"note: the cache grows to {total:,.3f} GB, above paths.cache_limit={limit:g}: the "
            "rest is in use, or needed now\n"
        )


def screen(videos: Sequence[Cached]) -> str:
    """A line for each video, and the sum."""
    now = time.time()
    lines = [
        f"{each.folder}  {each.bytes / 1e6:>10,.1f} MB  {max(0.0, now - each.used) / 3600:>8,.1f} h"
        for each in videos
    ]
    total = sum(each.bytes for each in videos) / 1e6
    return "\n".join([*lines, f"prepared videos: {len(videos):,}, {total:,.1f} MB", ""])


def _folders(cache: Path) -> Iterator[Path]:
    for depth in ("*", "*/*"):
        for lock in cache.glob(f"{depth}/{_LOCK}"):
            if not lock.parent.is_symlink():
                yield lock.parent


def _files(folder: Path) -> list[Path]:
    found = (path for pattern in _OURS for path in folder.glob(pattern))
    return [path for path in found if path.is_file() and not path.is_symlink()]


def _cached(folder: Path) -> Cached:
    size, used = 0, 0.0
    with contextlib.suppress(OSError):  # another process may be removing it
        size = sum(path.stat().st_size for path in _files(folder))
        mark = folder / IN_USE
        used = (mark if mark.exists() else folder).stat().st_mtime
    return Cached(folder, size, used)


@contextlib.contextmanager
def _unused(folder: Path) -> Iterator[None]:
    """Nobody opens the frames within the block. Raises BlockingIOError where somebody has them
    open, or the file system has no locks to tell."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder / IN_USE, flags, 0o666)
    try:
        if not hold(descriptor):
            raise BlockingIOError
        yield
    finally:
        os.close(descriptor)
