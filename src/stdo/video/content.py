"""Fingerprints of files, so that a changed video is noticed."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from stdo.core.types import UserError


class Content:
    """Hash of the whole content of files, which must not change while they are in use.

    Args:
        name: What errors call it.
        files: The files, in order.
        named: Their names belong to what is hashed.

    Files are read again only when their state (device, inode, size, times) is no longer the one
    that was hashed.
    """

    def __init__(self, name: str, files: Sequence[Path], named: bool) -> None:
        self._name, self._files, self._named = name, files, named
        self._state: list[tuple[int, ...]] = []
        self._hash: str | None = None

    def hash(self) -> str:
        """32 hexadecimal digits. Raises UserError when they are not those of the first call, or
        cannot be had."""
        try:
            state = [_state(file) for file in self._files]
            if self._hash is None or state != self._state:
                found = self._read()
                if self._hash not in (None, found):
                    raise UserError(
                        f"{self._name}: changed while it was in use; give the command again"
                    )
                self._state, self._hash = state, found
        except OSError as error:
            raise UserError(f"{self._name}: can no longer be read ({error.strerror})") from error
        return self._hash

    def check(self) -> None:
        """Raise UserError when what was hashed has changed since."""
        if self._hash is not None:
            self.hash()

    def _read(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for path in self._files:
            if self._named:
                digest.update(os.fsencode(f"\0{path.name}\0{path.stat().st_size}\0"))
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()


def _state(file: Path) -> tuple[int, ...]:
    found = file.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
