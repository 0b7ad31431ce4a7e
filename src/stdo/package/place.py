"""A stretch of an open file, such as one member of a package.

It is read by position, so that threads and processes may share the open file. What was checked once
and is read again later is compared block by block: whoever can write to the file cannot slip in
anything between.
"""

import hashlib
import io
import os
from typing import BinaryIO

_BLOCK = 1 << 20
_DIGEST = 16
"""Bytes of a block's digest: 16 MiB of them for a TiB."""


class Place:
    """Where the bytes of a member are.

    Args:
        file: Open for reading; kept open as long as this is.
        start: Position of the first byte.
        size: How many; None: to the end of the file.
    """

    def __init__(self, file: BinaryIO, start: int, size: int | None = None) -> None:
        self._file, self._start = file, start
        self.bytes = os.fstat(file.fileno()).st_size - start if size is None else size

    def read(self) -> bytes:
        """All of it."""
        return b"".join(self.block(number) for number in range(self.blocks))

    @property
    def blocks(self) -> int:
        """How many blocks of a MiB it has, the last one shorter."""
        return -(-self.bytes // _BLOCK)

    def block(self, number: int) -> bytes:
        """A block. Raises OSError where the file has become shorter."""
        at = number * _BLOCK
        wanted = min(_BLOCK, self.bytes - at)
        data = b""
        while len(data) < wanted:  # a signal may cut a read short
            more = os.pread(self._file.fileno(), wanted - len(data), self._start + at + len(data))
            if not more:
                raise OSError("it became shorter while it was read")
            data += more
        return data

    def digests(self) -> tuple[str, list[bytes]]:
        """The SHA-256 of all of it, and a digest of each block."""
        whole, parts = hashlib.sha256(), []
        for number in range(self.blocks):
            data = self.block(number)
            whole.update(data)
            parts.append(_digest(data))
        return whole.hexdigest(), parts

    def file(self, digests: list[bytes] | None = None) -> io.BufferedReader:
        """It as a seekable binary file. digests: of its blocks, where they must be as they were."""
        return io.BufferedReader(_Size(self, digests), 1 << 16)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


class _Size(io.RawIOBase):
    """The bytes of a place as a file."""

    def __init__(self, place: Place, digests: list[bytes] | None) -> None:
        super().__init__()
        self._place, self._digests = place, digests
        self._position = 0
        self._held, self._data = -1, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._place.bytes}[whence]
        if base + offset < 0:
            raise OSError("a position before the beginning")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        if self._position >= self._place.bytes:
            return 0
        number, at = divmod(self._position, _BLOCK)
        if number != self._held:
            data = self._place.block(number)
            if self._digests is not None and _digest(data) != self._digests[number]:
                raise OSError("the package was changed while it was read")
            self._held, self._data = number, data
        part = memoryview(self._data)[at : at + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)
