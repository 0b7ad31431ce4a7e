"""Fits of several processes on the same cores, one at a time.

PyTorch's threads wait for each other many times in a step, and keep their cores busy while they
wait. Where two processes have a thread for every core each, one waits for cores on which the other
only waits, and both take many times as long as one after the other. So they take turns: who
computes within `shifts` lets another one have the cores after a while, at `pass_on`.

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
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stdo.core.cores import usable_cores

TURN = 0.5
"""Seconds after which another process may have the cores."""

_POLL = 0.002
_PATIENCE = 30.0
"""Seconds without a change of hands after which who waits goes on all the same: the process that
has the cores may be stopped, or wait for a network."""

_ALONE = 60.0
"""Seconds in which it then asks nobody."""

_current: _Shifts | None = None


@contextmanager
def shifts(threads: int, folder: Path | None = None) -> Iterator[None]:
    """Have the cores in turn with other processes of this user for the length of a block. Nothing
    happens where two such processes have enough cores, and within another such block.

    Args:
        threads: That compute in this process.
        folder: Of the locks; by default one of this user and machine among the temporary files.
    """
    global _current  # noqa: PLW0603 - the cores are the process's, not a thread's
    if _current is not None or threads < 2 or 2 * threads <= usable_cores():
        yield
        return
    with ExitStack() as stack:
        try:
            own = _Shifts(folder or _folder(), stack)
        except OSError:  # no such place, or no locks: everyone for himself, as ever
            own = None
        if own is None:
            yield
            return
        own.take()
        _current = own
        try:
            yield
        finally:
            _current = None
            own.leave()


def pass_on() -> None:
    """Let another process have the cores where this one has had them for a while, and wait for
    them. Costs next to nothing otherwise."""
    if _current is not None:
        _current.pass_on()


class _Shifts:
    """Two locks: of who computes, and of who is next. Without the second, who has just left would
    be back before anybody else.

    Args:
        folder: Of the locks.
        stack: Closes them.

    Raises:
        OSError: They cannot be opened, or the file system has no locks.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._next, self._work = (
            os.open(folder / f"{_cores()}-{name}", flags, 0o600) for name in ("next", "work")
        )
        stack.callback(os.close, self._next)
        stack.callback(os.close, self._work)
        self._held, self._since, self._changed = False, 0.0, 0

    def take(self) -> None:
        """Wait until it is this process's turn, or there is no sense in waiting."""
        self._began = time.monotonic()
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

    def pass_on(self) -> None:
        """See `stdo.core.shifts.pass_on`."""
        if time.monotonic() - self._since >= (TURN if self._held else _ALONE):
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
        """Whether the cores have been in the same hands for long."""
        changed, now = os.fstat(self._work).st_mtime_ns, time.monotonic()
        if changed != self._changed:
            self._changed, self._began = changed, now
        return now - self._began > _PATIENCE


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
