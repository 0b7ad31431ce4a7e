"""Files that are whole or not there at all.

What is under way has ``.partial`` in its name and is held by a lock of its process, which the kernel drops with it: so
what a killed process left is told from what another one is writing, and goes when the same thing is written again.
"""

import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from stdo.types import U8, UserError

FLUSHED = 1 << 26
"""Bytes of a stream after which they are sent to the disk."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that becomes ``path``, flushed to disk, only when the block succeeds.

    The name keeps the suffix, since writers of pictures and videos go by it. Raises UserError when the disk is full.
    """
    _forget(path.parent, f"{glob.escape(path.stem)}.*.partial{glob.escape(path.suffix)}")
    descriptor, name = tempfile.mkstemp(prefix=f"{path.stem}.", suffix=f".partial{path.suffix}", dir=path.parent)
    partial = Path(name)
    try:
        _hold(descriptor)
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    except OSError as error:
        raise disk_error(error, path.parent) from error
    finally:
        partial.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def atomic_stream(path: Path) -> Iterator[Callable[[U8], None]]:
    """`atomic` for gigabytes: yields what appends pixels to the file. The disk has most of them before the end."""
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
    """A temporary folder beside ``path`` that takes the place of ``path`` only when the block succeeds.

    Its files must lie directly in it. Raises UserError when the disk is full.
    """
    try:
        with scratch(path) as partial:
            yield partial
            for written in partial.iterdir():
                with written.open("rb") as file:
                    os.fsync(file.fileno())
            partial.chmod(0o777 & ~_umask())
            if path.exists():
                path.rename(partial / "old")
            partial.rename(path)
            shutil.rmtree(path / "old", ignore_errors=True)
    except OSError as error:
        raise disk_error(error, path.parent) from error


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """A folder beside ``path``, for what it is made of; gone after the block."""
    _forget(path.parent, f"{glob.escape(path.name)}.*.partial")
    folder = Path(tempfile.mkdtemp(prefix=f"{path.name}.", suffix=".partial", dir=path.parent))
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _hold(descriptor)
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def sweep_up(folder: Path) -> None:
    """Remove whatever killed processes left half-written in ``folder`` and below."""
    _forget(folder, "**/*.partial*")


def _forget(folder: Path, pattern: str) -> None:
    """Remove what matches and no living process holds."""
    for left in list(folder.glob(pattern)):
        try:
            descriptor = os.open(left, os.O_RDONLY)
        except OSError:
            continue
        try:
            _hold(descriptor)
        except OSError:
            continue
        finally:
            os.close(descriptor)
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _hold(descriptor: int) -> None:
    """Raises OSError where another process holds it, or the file system has no locks."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def disk_error(error: OSError, folder: Path) -> Exception:
    """A full disk is the user's to mend; anything else is not ours to explain."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return UserError(f"{folder}: the disk is full; free some space, or set paths.cache and paths.outputs elsewhere")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
