"""Files that are whole or not there at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stdo.types import UserError


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that becomes ``path``, flushed to disk, only when the block succeeds.

    The name keeps the suffix, since writers of pictures and videos go by it. Raises UserError when the disk is full.
    """
    descriptor, name = tempfile.mkstemp(prefix=f"{path.stem}.", suffix=f".partial{path.suffix}", dir=path.parent)
    os.close(descriptor)
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    except OSError as error:
        raise disk_error(error, path.parent) from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` that takes the place of ``path`` only when the block succeeds.

    Its files must lie directly in it. Raises UserError when the disk is full.
    """
    partial = Path(tempfile.mkdtemp(prefix=f"{path.name}.", suffix=".partial", dir=path.parent))
    try:
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
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def disk_error(error: OSError, folder: Path) -> Exception:
    """A full disk is the user's to mend; anything else is not ours to explain."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return UserError(f"{folder}: the disk is full; free some space, or set paths.cache and paths.outputs elsewhere")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
