"""Locks: one process at a time in a folder."""

import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from stdo.core.files import atomic, hold
from stdo.core.foreign import printable, read_below
from stdo.core.types import UserError

RANKS = (
    "RANK",
    "LOCAL_RANK",
    "SLURM_PROCID",
    "JSM_NAMESPACE_RANK",
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
    "PMIX_RANK",
)
"""Where torchrun, Lightning, Slurm, LSF and MPI say which process of a distributed fit this
one is."""

_POLL = 0.05
"""Seconds between two tries to get a lock."""

_OWNER_BYTES = 1000

_held: dict[tuple[str, int], int] = {}
"""How many blocks hold a lock, by its path and the thread."""

_processes = 1
"""Of the fit that is running."""


class BusyError(UserError):
    """Another process is at work there; later there will be a result.

    Attributes:
        lock: The lock file that it holds.
    """

    def __init__(self, said: str, lock: Path) -> None:
        super().__init__(said)
        self.lock = lock

    def __reduce__(self) -> tuple[type, tuple[str, Path]]:
        return type(self), (str(self), self.lock)


@contextmanager
def exclusive(lock: Path, doing: str, wait: float) -> Iterator[bool]:
    """Hold a lock file for the length of a block; blocks of one thread may be nested.

    A killed process leaves no lock behind, since the kernel holds it: only its name in
    ``<lock>.owner``, which means nothing then. On a file system without locks the block runs all
    the same, see `stdo.core.files.hold`.

    Args:
        lock: The lock file. It is made and never removed.
        doing: What the holder does, for the message, as in "is being prepared".
        wait: Seconds to wait for another process.

    Yields:
        Whether this block is the outermost.

    Raises:
        BusyError: Another process still holds it; the message names it.
        UserError: A symbolic link or something else that is no regular file has its place.
    """
    key = str(lock.absolute()), threading.get_ident()
    if key in _held:
        _held[key] += 1
        try:
            yield False
        finally:
            _held[key] -= 1
        return
    owner = lock.with_name(f"{lock.name}.owner")
    descriptor = _opened(lock)
    try:
        _acquire(descriptor, time.monotonic() + wait, lock, doing)
        with atomic(owner) as partial:
            partial.write_text(
                f"process {os.getpid()} on {socket.gethostname()} since {_now()}\n",
                encoding="utf-8",
            )
        _held[key] = 1
        try:
            yield True
        finally:
            del _held[key]
            owner.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _opened(lock: Path) -> int:
    """The lock file, open for writing."""
    if lock.is_symlink():
        raise UserError(f"{printable(str(lock))}: is a symbolic link; remove it")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(lock, flags, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{printable(str(lock))}: is not a regular file; remove it")
    return descriptor


def _acquire(descriptor: int, until: float, lock: Path, doing: str) -> None:
    while True:
        try:
            hold(descriptor)
        except BlockingIOError as error:
            left = until - time.monotonic()
            if left <= 0:
                raise BusyError(
                    f"{lock.parent}: {doing} by {_owner(lock)}; wait for it, or stop it", lock
                ) from error
            time.sleep(min(_POLL, left))
        else:
            return


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _owner(lock: Path) -> str:
    try:
        text = read_below(lock.parent, f"{lock.name}.owner", _OWNER_BYTES).decode(
            "utf-8", "replace"
        )
    except (OSError, UserError):
        return "another process"
    return printable(text.strip())


@contextmanager
def fitting(processes: int) -> Iterator[None]:
    """Say how many processes the fit of this block has; only in a fit of several do `RANKS` mean
    anything."""
    global _processes  # noqa: PLW0603 - one fit at a time in a process
    before, _processes = _processes, processes
    try:
        yield
    finally:
        _processes = before


def main_process() -> bool:
    """Whether this is the process of a distributed fit that writes; True wherever a fit has one
    process.

    A variable of `RANKS` alone proves nothing: ``srun`` sets it for independent commands, and it
    may be left over from another launcher.
    """
    if _processes == 1:
        return True
    ranks = (os.environ.get(name) for name in RANKS)
    return next((rank for rank in ranks if rank is not None), "0") == "0"
