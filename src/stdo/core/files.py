"""Atomic files: whole or not there.

What is under way lies in a private folder beside its target, ``.stdo-<random>.partial``, under its
final name. The folder holds an owner file with a fixed content, locked by the process that writes.
The kernel drops the lock with the process, so what a killed process left is told from what another
one is writing, and both from a user's own files: only a folder of that name whose owner file is
ours and not locked is removed.
"""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

from stdo.core.types import U8, UserError

FLUSHED = 1 << 26
"""Bytes of a stream after which they are sent to the disk."""

OWNER = ".stdo-owner"
"""The file in a private folder that its process holds locked."""

CONTENT = (
    b"stdo: a process that writes here holds this file locked; "
    b"without one the folder can be removed\n"
)
"""What the owner file holds. A folder whose owner file holds anything else is not ours."""

_PREFIX, _SUFFIX = ".stdo-", ".partial"
_NAME = re.compile(rf"{re.escape(_PREFIX)}[a-z0-9_]{{8}}{re.escape(_SUFFIX)}")
_DEPTH = 2
"""Folders below a run directory that half-written files can lie in: ``network-0/crops`` is the
deepest."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write a file that replaces ``path``, flushed to disk, only when the block succeeds.

    Args:
        path: The target. A symbolic link in its place is replaced, not followed.

    Yields:
        The path to write to: an empty file of the same name in a private folder beside the target.

    Raises:
        UserError: The disk is full.
    """
    try:
        with _private(path.parent) as folder:
            partial = folder / path.name
            partial.touch(exist_ok=False)
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
    except OSError as error:
        raise disk_error(error, path.parent) from error


@contextmanager
def atomic_stream(path: Path) -> Iterator[Callable[[U8], None]]:
    """`atomic` for gigabytes: yields what appends pixels to the file. The disk has most of them
    before the end."""
    with atomic(path) as partial, partial.open("wb") as file, ThreadPoolExecutor(1) as flusher:
        begun = 0
        flushed: Future[None] = flusher.submit(lambda: None)

        def append(pixels: U8) -> None:
            nonlocal begun, flushed
            file.write(np.ascontiguousarray(pixels).data)
            if (end := file.tell()) - begun >= FLUSHED and flushed.done():
                flushed.result()  # an error of the disk is told once, and to nobody else
                file.flush()
                begun, flushed = end, flusher.submit(os.fsync, file.fileno())

        yield append
        flushed.result()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a folder that takes the place of ``path`` only when the block succeeds.

    Args:
        path: The target. What lies there is removed; a symbolic link is replaced, not followed.

    Yields:
        The folder to write into. Its files must lie directly in it.

    Raises:
        UserError: The disk is full.
    """
    try:
        with _private(path.parent) as folder:
            partial = folder / path.name
            partial.mkdir()
            yield partial
            for written in partial.iterdir():
                with written.open("rb") as file:
                    os.fsync(file.fileno())
            _take_place(partial, path, folder / f"{OWNER}.old")
    except OSError as error:
        raise disk_error(error, path.parent) from error


def _take_place(partial: Path, path: Path, old: Path) -> None:
    """Rename a folder; what lay there before is moved out of the way, and back again where that
    fails."""
    replaced = os.path.lexists(path)
    if replaced:
        path.rename(old)
    try:
        partial.rename(path)
    except OSError:
        if replaced:
            old.rename(path)
        raise


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """A folder beside ``path``, for what it is made of; gone after the block."""
    with _private(path.parent) as folder:
        yield folder


def sweep_up(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder and the folders in it; links are
    not followed."""
    _sweep(folder, _DEPTH)


def _sweep(folder: Path, depth: int) -> None:
    _forget(folder)
    if depth == 0:
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for inside in [
            Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)
        ]:
            if not _NAME.fullmatch(inside.name):
                _sweep(inside, depth - 1)


@contextmanager
def _private(parent: Path) -> Iterator[Path]:
    """A folder of this process alone, gone after the block; those of killed processes beside it are
    removed first."""
    _forget(parent)
    made = None
    while made is None:
        made = _made(parent)
    folder, descriptor = made
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _made(parent: Path) -> tuple[Path, int] | None:
    """A new private folder and its owner file, open and locked; None where another process removed
    it meanwhile.

    The content is written under the lock. So whoever cleans up either fails to lock the file and
    leaves it, or is first, and then the file is gone when it is looked for here.
    """
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, suffix=_SUFFIX, dir=parent))
    descriptor = -1
    try:
        descriptor = os.open(
            folder / OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
        )
        hold(descriptor)
        os.write(descriptor, CONTENT)
        (folder / OWNER).stat()
        return folder, descriptor
    except (FileNotFoundError, BlockingIOError):
        pass
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor >= 0:
            os.close(descriptor)
        raise
    if descriptor >= 0:
        os.close(descriptor)
    return None


def _forget(folder: Path) -> None:
    """Remove the private folders of killed processes from a folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        left = [Path(entry.path) for entry in entries if _NAME.fullmatch(entry.name)]
        for each in left:
            _forget_one(each)


def _forget_one(folder: Path) -> None:
    """Remove a private folder unless a process holds it, or it is not ours."""
    try:
        here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        owner = os.open(
            OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here
        )
    except FileNotFoundError:
        # Killed before it made the owner file: empty, or not ours
        with contextlib.suppress(OSError):
            folder.rmdir()
        return
    except OSError:
        return
    finally:
        os.close(here)
    with contextlib.suppress(OSError):
        if stat.S_ISREG(os.fstat(owner).st_mode) and hold(owner):
            content = os.read(owner, len(CONTENT) + 1)
            killed_early = content == b"" and [path.name for path in folder.iterdir()] == [OWNER]
            if content == CONTENT or killed_early:
                shutil.rmtree(folder, ignore_errors=True)
    os.close(owner)


def hold(descriptor: int, shared: bool = False) -> bool:
    """Lock an open file for this process, without waiting.

    Args:
        descriptor: Of a file that is open for writing; network file systems lock no others.
        shared: Only keep others from locking it for themselves alone.

    Returns:
        Whether it is locked. False where the file system has no locks, which is said once on
        stderr.

    Raises:
        BlockingIOError: Another process holds it.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        _say_without_locks(error.strerror or "unknown error")
        return False
    return True


@cache
def _say_without_locks(_reason: str) -> None:
    sys.stderr.write("note: this file system has no locks: run one process at a time\n")


def disk_error(error: OSError, folder: Path) -> Exception:
    """A full disk and a name that is too long are the user's to mend; anything else is not ours to
    explain."""
    if error.errno == errno.ENAMETOOLONG:
        return UserError(f"{error.filename or folder}: a name that is too long for this disk")
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return UserError(
        f"{folder}: the disk is full; free some space, or set paths.cache and paths.outputs "
        "elsewhere"
    )
