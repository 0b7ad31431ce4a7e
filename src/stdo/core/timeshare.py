"""Time-sharing of the cores by processes that each have a thread for every core.

PyTorch's threads wait for each other many times in a step, and spin while they wait. With two such
processes, threads of one wait for cores on which threads of the other only spin, and both take many
times as long as one after the other. So one process computes at a time, for a time slice: within
`timeshare` a process gives the cores away at `yield_cores`, when its slice is over.

Results stay the same to the last bit, which they do not with another number of threads.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from stdo.core.cores import usable_cores

SLICE = 0.5
"""Seconds of a time slice."""

_POLL = 0.002
_PATIENCE = 30.0
"""Seconds without a new slice of anybody after which a waiting process computes all the same: the
one that has the cores may be stopped, or wait for a network."""

_ALONE = 60.0
"""Seconds in which it then does not ask for the cores."""

_current: _TimeShare | None = None


@contextmanager
def timeshare(threads: int, folder: Path | None = None) -> Iterator[None]:
    """Share the cores with other processes of this user for the length of a block, slice by slice.
    Does nothing where there are cores enough for two such processes, and within another block.

    Args:
        threads: That compute in this process.
        folder: Of the locks; by default one of this user and machine among the temporary files.
    """
    global _current  # noqa: PLW0603 - the cores are the process's, not a thread's
    if _current is not None or threads < 2 or 2 * threads <= usable_cores():
        yield
        return
    with ExitStack() as stack:
        own = None
        with suppress(OSError):  # no place for the locks, or a file system without any
            made = _TimeShare(folder or _folder(), stack)
            made.take()
            own = made
        if own is None:
            yield
            return
        _current = own
        try:
            yield
        finally:
            _current = None
            own.leave()


def yield_cores() -> None:
    """Let another process have the cores if the time slice of this one is over, and wait for the
    next slice."""
    if _current is not None:
        _current.yield_cores()


class _TimeShare:
    """Two locks: one of the process that computes, one of the process that is next. Without the
    second, a process that gives the cores away would have them again before anybody else.

    Args:
        folder: Of the locks.
        stack: Closes them.

    Raises:
        OSError: They cannot be opened.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._next = os.open(folder / f"{_cores()}-next", flags, 0o600)
        stack.callback(os.close, self._next)
        self._work = os.open(folder / f"{_cores()}-work", flags, 0o600)
        stack.callback(os.close, self._work)
        self._held, self._since = False, 0.0
        self._slice, self._seen = 0, 0.0

    def take(self) -> None:
        """Wait for a slice, or until there is no sense in waiting. Raises OSError on a file system
        without locks."""
        self._held = self._locked(self._next) and self._locked(self._work)
        fcntl.flock(self._next, fcntl.LOCK_UN)
        if self._held:
            os.utime(self._work)
        self._since = time.monotonic()

    def leave(self) -> None:
        """Let others compute."""
        if self._held:
            fcntl.flock(self._work, fcntl.LOCK_UN)
            self._held = False

    def yield_cores(self) -> None:
        """See `stdo.core.timeshare.yield_cores`."""
        if time.monotonic() - self._since >= (SLICE if self._held else _ALONE):
            self.leave()
            self.take()

    def _locked(self, descriptor: int) -> bool:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._in_vain():
                    return False
                time.sleep(_POLL)
            else:
                return True

    def _in_vain(self) -> bool:
        """Whether the slice of the process that has the cores has lasted far too long."""
        slice_, now = os.fstat(self._work).st_mtime_ns, time.monotonic()
        if slice_ != self._slice:
            self._slice, self._seen = slice_, now
        return now - self._seen > _PATIENCE


def _cores() -> str:
    """Names the cores that this process may run on: others are no concern of those who have
    none of them."""
    if not hasattr(os, "sched_getaffinity"):
        return "all"
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    return hashlib.blake2b(cores.encode(), digest_size=6).hexdigest()


def _folder() -> Path:
    """A folder that belongs to this user alone. Raises OSError where another has its place."""
    folder = Path(tempfile.gettempdir()) / f"stdo-{os.getuid()}-{socket.gethostname()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{folder}: is not this user's alone")
    return folder
