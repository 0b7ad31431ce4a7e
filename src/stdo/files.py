"""Files that are whole or not there at all."""

import errno
import os
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


def disk_error(error: OSError, folder: Path) -> Exception:
    """A full disk is the user's to mend; anything else is not ours to explain."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return UserError(f"{folder}: the disk is full; free some space, or set paths.cache and paths.outputs elsewhere")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
