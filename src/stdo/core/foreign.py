"""Read files that may come from a stranger: regular files, no links, bounded sizes.

A run directory or an unpacked package may come from anybody. A name in it can be a symbolic link to
a private file, a device that never ends, or a FIFO that nobody writes to. Everything that reads
such a folder goes through this module.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NoReturn

from stdo.core.types import Json, UserError

_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC
_WITHOUT_WAITING = os.O_NONBLOCK  # opening a FIFO that has no writer would wait for one
_STEERING = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_DIGITS = 300
_REFUSED = {
    errno.ELOOP: "is a symbolic link",
    errno.ENOTDIR: "is not a folder, or a symbolic link",
    errno.ENXIO: "is not a regular file",
}


def open_below(folder: Path, name: str | PurePosixPath, most: int) -> BinaryIO:
    """Open a file of a folder for reading.

    The folder itself is the user's choice and may be a link. Nothing below it is followed: no link,
    no ``..``.

    Args:
        folder: The folder, such as a run directory.
        name: Path of the file relative to the folder, such as ``crops/crops.json``.
        most: Largest size in bytes.

    Returns:
        The open file, at its beginning. The caller closes it.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: It is a link, a folder, a device or a FIFO, lies outside of the folder, is larger
            than ``most``, or cannot be read.
    """
    shown = folder / str(name)
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\0" in str(name):
        raise UserError(f"{_plain(shown)}: must lie in {folder}")
    try:
        here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts[:-1]:
                inside = os.open(part, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK, dir_fd=here)
                os.close(here)
                here = inside
            descriptor = os.open(parts[-1], os.O_RDONLY | _NO_LINK | _WITHOUT_WAITING, dir_fd=here)
        finally:
            os.close(here)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{_plain(shown)}: {_reason(error)}") from error
    return _checked(descriptor, shown, most)


def open_file(path: Path, most: int) -> BinaryIO:
    """Open a file that the user named; a link is followed, since it is his own.

    Args:
        path: The file.
        most: Largest size in bytes.

    Returns:
        The open file, at its beginning. The caller closes it.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: It is no regular file, is larger than ``most``, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | _WITHOUT_WAITING)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{_plain(path)}: {_reason(error)}") from error
    return _checked(descriptor, path, most)


def read_below(folder: Path, name: str | PurePosixPath, most: int) -> bytes:
    """The content of a file of a folder; see `open_below`. A file that grows while it is read is
    refused as well."""
    with open_below(folder, name, most) as file:
        return _whole(file, folder / str(name), most)


def read_file(path: Path, most: int) -> bytes:
    """The content of a file that the user named; see `open_file`."""
    with open_file(path, most) as file:
        return _whole(file, path, most)


def parse_json(text: bytes, what: str, constants: bool = False) -> Any:
    """Parse JSON, refusing what two readers could understand differently.

    Args:
        text: UTF-8.
        what: The file, for the message.
        constants: Whether NaN and infinities are let pass, as Python writes them.

    Returns:
        Plain values: dicts, lists, texts, numbers, booleans, None.

    Raises:
        UserError: It is not JSON, is nested too deeply, or an object has a key twice.
    """
    try:
        found = text.decode("utf-8")
        if constants:
            return json.loads(found, object_pairs_hook=_object, parse_int=_integer)
        return json.loads(
            found, object_pairs_hook=_object, parse_int=_integer, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:
        why = f" ({error})" if isinstance(error, _UnclearError) else ""
        raise UserError(f"{what}: damaged (it is not JSON){why}") from error


def printable(text: str) -> str:
    """A text without what steers a terminal: control characters, changes of direction and halves of
    surrogate pairs.

    Each becomes ``?``. Whatever comes from a file of somebody else and goes to the terminal passes
    through here.

    >>> printable("clip\\x1b[2J\\u202egpj.exe")
    'clip?[2J?gpj.exe'
    """
    return _STEERING.sub("?", text)


class _UnclearError(ValueError):
    """What is JSON, but not the same to every reader."""


def _object(pairs: Iterable[tuple[str, Any]]) -> Json:
    found: Json = {}
    for key, value in pairs:
        if key in found:
            raise _UnclearError(f"{ascii(key)[:60]} is there twice")
        found[key] = value
    return found


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise _UnclearError("a number of very many digits")
    return int(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _checked(descriptor: int, shown: Path, most: int) -> BinaryIO:
    """The file of a descriptor, which is closed where the file is refused."""
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{_plain(shown)}: is not a regular file")
        if found.st_size > most:
            raise UserError(f"{_plain(shown)}: has {found.st_size} bytes: must be at most {most}")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _whole(file: BinaryIO, shown: Path, most: int) -> bytes:
    try:
        content = file.read(most + 1)
    except OSError as error:
        raise UserError(f"{_plain(shown)}: {_reason(error)}") from error
    if len(content) > most:
        raise UserError(f"{_plain(shown)}: has more than {most} bytes")
    return content


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError):
        return "is not a path"
    return _REFUSED.get(error.errno or 0, f"cannot be read ({error.strerror})")


def _plain(path: Path) -> str:
    return printable(str(path))
