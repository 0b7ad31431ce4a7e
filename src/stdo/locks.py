"""One process at a time, among all that may work in the same folders."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from stdo.files import atomic
from stdo.types import UserError

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
"""Where torchrun, Lightning and Slurm say which process of a distributed fit this one is."""


class BusyError(UserError):
    """Another process is at work there; later there will be a result."""


@contextmanager
def exclusive(lock: Path, doing: str, wait: float) -> Iterator[bool]:
    """Hold a lock file for the length of a block; blocks of one process may be nested. Yields whether it is outermost.

    doing: for the message, as in "is being prepared". wait: seconds after which `BusyError` is raised, naming the
    owner. A killed process leaves no lock behind, since the kernel holds it: only its name in ``<lock>.owner``, which
    means nothing then.
    """
    owner = lock.with_name(f"{lock.name}.owner")
    held = FileLock(lock, is_singleton=True)
    try:
        held.acquire(timeout=wait)
    except Timeout as error:
        raise BusyError(f"{lock.parent}: {doing} by {_owner(owner)}; wait for it, or stop it") from error
    outermost = held.lock_counter == 1
    try:
        if outermost:
            with atomic(owner) as partial:
                partial.write_text(f"process {os.getpid()} on {socket.gethostname()} since {_now()}\n")
        yield outermost
    finally:
        if outermost:
            owner.unlink(missing_ok=True)
        held.release()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _owner(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return "another process"


def main_process() -> bool:
    """Whether this is the process of a distributed fit that writes; the only one, where there is but one."""
    ranks = (os.environ.get(name) for name in RANKS)
    return next((rank for rank in ranks if rank is not None), "0") == "0"
