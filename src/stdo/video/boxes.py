"""MP4 boxes that FFmpeg reads but does not write: stereo and spherical video.

Spherical Video V2 (Google):
https://github.com/google/spatial-media/blob/master/docs/spherical-video-v2-rfc.md
"""

import struct
from collections.abc import Iterator, Sequence
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO

from stdo.core.types import Projection

_MOST = 256 << 20
"""Bytes of an index that is changed: that of some ten million frames."""

_WAY = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_PICTURE = 78
"""Bytes of a picture's sample entry before the boxes in it: its size in pixels and the like."""

_BEFORE_ENTRIES = 8
"""Bytes of a stsd box before its first sample entry: version, flags, and how many there are."""


def stereo_box(one_above_the_other: bool) -> bytes:
    """The box ``st3d``: left eye above, or to the left of, the right eye."""
    return _box(b"st3d", bytes(4), bytes([1 if one_above_the_other else 2]))


def sphere_box(projection: Projection) -> bytes:
    """The box ``sv3d``: how a frame is laid on a sphere."""
    left, top, right, bottom = projection.bounds
    if projection.kind == "cubemap":
        kind = _box(b"cbmp", bytes(8), struct.pack(">I", projection.padding))
    else:
        kind = _box(b"equi", bytes(4), struct.pack(">4I", top, bottom, left, right))
    pose = _box(b"prhd", bytes(4), struct.pack(">3i", *projection.angles))
    return _box(b"sv3d", _box(b"svhd", bytes(4), b"stdo\0"), _box(b"proj", pose, kind))


def insert(path: Path, boxes: Sequence[bytes]) -> bool:
    """Add boxes to the description of the first track of an MP4 or MOV, in place.

    Args:
        path: The file.
        boxes: What is added, where there is none of that name yet.

    Returns:
        Whether that was done. A file of another kind is left alone, and one whose index is vast.
    """
    with path.open("rb") as file:
        index = _index(file)
        if index is None:
            return False
        begin, size, whole = index
        file.seek(begin)
        moov = bytearray(file.read(size))
        changed = _inserted(moov, boxes, begin + size if begin + size < whole else None)
        if changed is None:
            return False
        partial = path.with_name(f"{path.name}.boxes")
        with partial.open("wb") as out:
            file.seek(0)
            _copy(file, out, begin)
            out.write(changed)
            file.seek(begin + size)
            _copy(file, out, whole - begin - size)
    partial.replace(path)
    return True


def _index(file: BinaryIO) -> tuple[int, int, int] | None:
    """Where the box ``moov`` begins, its size, and the size of the file."""
    whole = file.seek(0, SEEK_END)
    at = 0
    while at + 16 <= whole:
        file.seek(at)
        size, kind, large = struct.unpack(">I4sQ", file.read(16))
        size = large if size == 1 else size or whole - at
        if size < 8 or (at == 0 and kind != b"ftyp"):
            return None
        if kind == b"moov":
            return (at, size, whole) if size <= min(_MOST, whole - at) else None
        at += size
    return None


def _inserted(moov: bytearray, more: Sequence[bytes], moves_from: int | None) -> bytearray | None:
    """The index with more boxes in the first track's sample entry. moves_from: where what comes
    after it begins."""
    begin, end = 0, len(moov)
    sizes = []
    for name in (*_WAY, None):
        found = next((box for box in _boxes(moov, begin, end) if name in (None, box[2])), None)
        if found is None:
            return None
        begin, end, _ = found
        sizes.append(begin)
        begin += 8 + (_BEFORE_ENTRIES if name == b"stsd" else 0)
    there = {kind for _, _, kind in _boxes(moov, begin + _PICTURE, end)}
    if b"vexu" in there:  # Apple's of stereo; FFmpeg reads no file that has both
        there.add(b"st3d")
    boxes = b"".join(box for box in more if box[4:8] not in there)
    if moves_from is not None and not _move(moov, 8, len(moov), moves_from, len(boxes)):
        return None
    moov[end:end] = boxes
    for at in sizes:
        (size,) = struct.unpack_from(">I", moov, at)
        struct.pack_into(">I", moov, at, size + len(boxes))
    return moov


def _move(moov: bytearray, begin: int, end: int, moves_from: int, by: int) -> bool:
    """Add to every offset of frames that lie behind the index. Returns whether all of them still
    fit."""
    for at, until, kind in _boxes(moov, begin, end):
        if kind in _WAY and not _move(moov, at + 8, until, moves_from, by):
            return False
        if kind not in (b"stco", b"co64"):
            continue
        layout = ">I" if kind == b"stco" else ">Q"
        for place in range(at + 16, until, struct.calcsize(layout)):
            (offset,) = struct.unpack_from(layout, moov, place)
            if offset < moves_from:
                continue
            if kind == b"stco" and offset + by >= 2**32:
                return False
            struct.pack_into(layout, moov, place, offset + by)
    return True


def _boxes(content: bytearray, begin: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    """Begin, end and name of the boxes between two places."""
    while begin + 8 <= end:
        size, kind = struct.unpack_from(">I4s", content, begin)
        if not 8 <= size <= end - begin:
            return
        yield begin, begin + size, kind
        begin += size


def _copy(file: BinaryIO, out: BinaryIO, count: int) -> None:
    while count > 0 and (block := file.read(min(count, 1 << 20))):
        out.write(block)
        count -= len(block)


def _box(name: bytes, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return struct.pack(">I", 8 + len(content)) + name + content
