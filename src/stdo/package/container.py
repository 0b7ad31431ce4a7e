"""The container: a ZIP whose members are stored one after the other, or a folder with the same
files.

A reader accepts exactly the ZIP that `write_package` makes, bit by bit: known names in their order,
nothing compressed, nothing between or behind them. So nothing in it can name another file, overlap,
or grow when it is read.
"""

import hashlib
import io
import os
import shutil
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from msgspec.structs import replace

from stdo.core.files import atomic, atomic_folder
from stdo.core.foreign import open_below, open_file
from stdo.core.types import UserError
from stdo.package.limits import CHUNKS, GRAPH, MANIFEST, MAX_BYTES, STREAMS, WEIGHTS
from stdo.package.manifest import Manifest, Member, from_json, to_json
from stdo.package.place import Place

SUFFIX = ".stdo"
_ORDERS = [(MANIFEST, GRAPH, WEIGHTS, CHUNKS, stream) for stream in STREAMS]
_BLOCK = 1 << 20
_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s4B4H3L5H2L")


class Package:
    """A package that is read; `open` makes one.

    Files are opened once. Each member's size is checked on opening, its SHA-256 before any of it is
    handed out for the first time; what is read of it again later must still be the same.

    Args:
        path: The file or folder, for messages.
        manifest: Checked.
        places: Where the members are.
        files: The one file, or those of a folder by name.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        places: Mapping[str, Place],
        files: Mapping[str, BinaryIO],
    ) -> None:
        self.path, self.manifest, self._places, self._files = path, manifest, places, files
        self._total = sum(Place(file, 0).bytes for file in files.values())
        self._digests: dict[str, list[bytes]] = {}

    @classmethod
    def open(cls, path: str | Path) -> "Package":
        """Open a package. Raises UserError, in one line, where it is missing, damaged or not a
        package."""
        path = Path(path)
        with complaints(path):
            return cls._of(path, _folder(path) if path.is_dir() else _file(path))

    @classmethod
    def held(cls, path: Path, descriptors: Mapping[str, int]) -> "Package":
        """A package that another process has opened, of its `descriptors`. path: for messages.
        Raises as `open`."""
        with complaints(path):
            files = {name: os.fdopen(number, "rb") for name, number in descriptors.items()}
            return cls._of(path, files)

    @property
    def descriptors(self) -> dict[str, int]:
        """Of the one open file, or of those of a folder by name; for `held`."""
        return {name: file.fileno() for name, file in self._files.items()}

    @classmethod
    def _of(cls, path: Path, files: Mapping[str, BinaryIO]) -> "Package":
        if _WHOLE in files:
            places = _zip(files[_WHOLE])
        else:
            places = {name: Place(file, 0) for name, file in files.items()}
        place = places[MANIFEST]
        _check_size(MANIFEST, place.bytes)
        manifest = from_json(place.read())
        if set(manifest.names) != set(places):
            raise UserError(
                f"holds {', '.join(sorted(places))}: must be {', '.join(sorted(manifest.names))}"
            )
        for name, member in manifest.members.items():
            if places[name].bytes != member.bytes:
                raise UserError(f"{name}: has {places[name].bytes} bytes: must be {member.bytes}")
        if not manifest.members:
            raise UserError(f"{MANIFEST}: names no members")
        return cls(path, manifest, places, files)

    def read(self, name: str) -> bytes:
        """The content of a member. Raises UserError where it is damaged."""
        with complaints(self.path):
            data = self._places[name].read()
            self._check(name, hashlib.sha256(data).hexdigest())
            return data

    def file(self, name: str) -> io.BufferedReader:
        """A member as a seekable binary file; the caller closes it.

        Raises:
            UserError: It is damaged. Reading raises OSError where it was changed since it was
                checked.
        """
        with complaints(self.path):
            place = self._places[name]
            if name not in self._digests:
                digest, blocks = place.digests()
                self._check(name, digest)
                self._digests[name] = blocks
            return place.file(self._digests[name])

    def sizes(self) -> dict[str, int]:
        """Bytes of ``lr`` (without sound), ``audio``, ``models``, ``chunks``, ``graph``,
        ``manifest`` and ``total``.

        ``total`` is the size of the file; the ZIP's own directory counts as ``manifest``.
        """
        lr, audio = self._places[self.manifest.lr.member].bytes, self.manifest.lr.audio_bytes
        sizes = {name: place.bytes for name, place in self._places.items()}
        counted = {"lr": lr - audio, "audio": audio}
        counted |= {"models": sizes[WEIGHTS], "chunks": sizes[CHUNKS], "graph": sizes[GRAPH]}
        return counted | {"manifest": self._total - sum(counted.values()), "total": self._total}

    def _check(self, name: str, digest: str) -> None:
        if digest != self.manifest.members[name].sha256:
            raise UserError(f"{name}: damaged (its SHA-256 is another)")


def write_package(
    path: str | Path,
    manifest: Manifest,
    members: Mapping[str, Path | bytes],
    unpacked: bool = False,
) -> Manifest:
    """Write a package, whole or not at all; one that exists is replaced.

    Args:
        members: Content of all members but the manifest, or the files that hold it.
        unpacked: A folder rather than a ZIP.

    Returns:
        The manifest with the members' sizes and digests.

    Raises:
        UserError: For a manifest out of range, a member that is too large, and a target that cannot
            be written.
    """
    path = Path(path)
    assert sorted(members) == sorted(manifest.names[1:]), sorted(members)
    with complaints(path):
        measured = {name: _measure(name, members[name]) for name in manifest.names[1:]}
        manifest = replace(manifest, members=measured)
        whole = {MANIFEST: to_json(manifest), **members}
        ordered = {name: whole[name] for name in manifest.names}
        (_write_folder if unpacked else _write_zip)(path, ordered)
    return manifest


@contextmanager
def complaints(path: Path) -> Iterator[None]:
    """Whatever is wrong with a package becomes one line that names it."""
    try:
        yield
    except UserError as error:
        named = str(error).startswith(f"{path}: ")
        raise error if named else UserError(f"{path}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error


def _measure(name: str, content: Path | bytes) -> Member:
    with _opened(content) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.seek(0, io.SEEK_END)
    _check_size(name, size)
    return Member(size, digest)


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES[name]:
        raise UserError(f"{name}: has {size} bytes: must be at most {MAX_BYTES[name]}")


def _opened(content: Path | bytes) -> io.BytesIO | io.BufferedReader:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def _info(name: str, size: int, crc: int = 0) -> zipfile.ZipInfo:
    """A member as we write it: stored, with a fixed date and fixed rights."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o644 << 16
    info.file_size = info.compress_size = size
    info.CRC = crc
    return info


def _write_zip(path: Path, members: Mapping[str, Path | bytes]) -> None:
    try:
        with atomic(path) as partial, zipfile.ZipFile(partial, "w", allowZip64=False) as archive:
            for name, content in members.items():
                size = len(content) if isinstance(content, bytes) else content.stat().st_size
                with _opened(content) as source, archive.open(_info(name, size), "w") as target:
                    shutil.copyfileobj(source, target, _BLOCK)
    except zipfile.LargeZipFile:
        raise UserError(
            "is larger than 2 GiB, which a ZIP of ours cannot be: use unpacked=true"
        ) from None


def _write_folder(path: Path, members: Mapping[str, Path | bytes]) -> None:
    if path.exists() and not (path / MANIFEST).is_file():
        raise UserError("exists and is not an unpacked package")
    with atomic_folder(path) as partial:
        for name, content in members.items():
            with _opened(content) as source, (partial / name).open("wb") as target:
                shutil.copyfileobj(source, target, _BLOCK)


_WHOLE = ""
"""What the one file of a package goes by, where members of a folder go by their names."""


def _folder(path: Path) -> dict[str, BinaryIO]:
    """The members of an unpacked package, opened; other files in it are not looked at."""
    files: dict[str, BinaryIO] = {}
    for name in MAX_BYTES:
        with suppress(FileNotFoundError):
            files[name] = open_below(path, name, MAX_BYTES[name])
    if MANIFEST not in files:
        raise UserError(f"is not an unpacked package (no {MANIFEST} in it)")
    return files


def _file(path: Path) -> dict[str, BinaryIO]:
    try:
        return {_WHOLE: open_file(path, sum(MAX_BYTES.values()))}
    except FileNotFoundError:
        raise UserError("no such file") from None


def _zip(file: BinaryIO) -> dict[str, Place]:
    """Where the members of a ZIP are, after every byte around them has been compared with what we
    write."""
    whole = Place(file, 0)
    reader = whole.file()  # with a position of its own, where processes share the open file
    directory = _directory(reader, whole.bytes)
    try:
        infos = zipfile.ZipFile(reader).infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise UserError("damaged (its ZIP directory cannot be read)") from error
    names = tuple(info.orig_filename for info in infos)
    if names not in _ORDERS:
        shown = ", ".join(ascii(name)[1:41] for name in names)
        raise UserError(f"holds {shown}: must be {', '.join(_ORDERS[0])}, in this order")
    places, entries, position = {}, b"", 0
    for info in infos:
        own = _info(info.filename, info.file_size, info.CRC)
        header = own.FileHeader(zip64=False)
        reader.seek(position)
        if reader.read(len(header)) != header:
            raise UserError(f"{info.filename}: damaged (its ZIP header is not as packages have it)")
        places[info.filename] = Place(file, position + len(header), info.file_size)
        entries += _entry(own, position)
        position += len(header) + info.file_size
    if entries != directory:
        raise UserError("damaged (its ZIP directory is not as packages have it)")
    return places


def _directory(file: BinaryIO, size: int) -> bytes:
    """The ZIP's directory, which the end record says where to find: small, and at the end of the
    file."""
    file.seek(max(0, size - _END.size))
    tail = file.read(_END.size)
    if len(tail) < _END.size or tail[:4] != b"PK\5\6":
        raise UserError("is not a package, or cut short (it does not end as a ZIP does)")
    _, disk, first, here, entries, length, start, comment = _END.unpack(tail)
    lengths = {sum(_ENTRY.size + len(name) for name in names) for names in _ORDERS}
    whole = (disk, first, here, entries, comment) == (0, 0, len(_ORDERS[0]), len(_ORDERS[0]), 0)
    if not whole or length not in lengths or start + length + _END.size != size:
        raise UserError(
            "damaged, or a ZIP that is not a package (its end is not as packages have it)"
        )
    file.seek(start)
    return file.read(length)


def _entry(info: zipfile.ZipInfo, position: int) -> bytes:
    """A member in the directory (APPNOTE 4.3.12): written by Unix, version 2.0, stored, no flags,
    on 1980-01-01."""
    name, size, rights = info.filename.encode(), info.file_size, info.external_attr
    sizes = (info.CRC, size, size, len(name), 0, 0)
    return (
        _ENTRY.pack(b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 0x21, *sizes, 0, 0, rights, position) + name
    )
