"""Mutations of one file: of its bytes, or of what its format holds, so that harm reaches the code
behind the parser."""

import contextlib
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import yaml

Draw = random.Random
# In C where PyYAML has it, ten times as fast
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
NUMBERS = (
    0, 1, -1, 2, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63, 2**64,
    -(2**63), 10**30, 10**400, 0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), -float("inf"),
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, "", "x", "x" * 500, "\0", "a\nb", "\x1b[31m", "\ud800", "../../x",
    "/etc/passwd", "=1+1", "${x}", "é" * 50, [], [0], [[]], [1] * 3000, {}, {"": 0}, {"x": {}},
    *NUMBERS,
)  # fmt: skip


def mutated(draw: Draw, data: bytes, form: str) -> bytes:
    """One to four changes to a file of a form."""
    change = FORMS[form]
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        data = (
            _of_bytes(draw, data) if form == "bytes" or draw.random() < 0.3 else change(draw, data)
        )
    return data


def _of_bytes(draw: Draw, data: bytes) -> bytes:
    """Flip, cut, repeat, insert, overwrite."""
    changed = bytearray(data or b"\0")
    at = draw.randrange(len(changed))
    length = min(draw.choice((1, 2, 4, 16, 64, 500)), len(changed) - at)
    what = draw.randrange(7)
    if what == 0:
        changed[at] ^= 1 << draw.randrange(8)
    elif what == 1:
        del changed[at:]
    elif what == 2:
        del changed[at : at + length]
    elif what == 3:
        changed[at:at] = changed[at : at + length] * draw.choice((1, 2, 100))
    elif what == 4:
        changed[at : at + length] = draw.randbytes(length)
    elif what == 5:
        changed[at : at + 4] = struct.pack(
            draw.choice("<>") + "I", draw.choice((0, 1, 255, 65536, 2**31, 2**32 - 1))
        )
    else:
        changed[at:at] = draw.choice(
            (b"\xff" * length, b"0" * length, b"[" * 5 * length, b"9" * length, b"\n\r\0,")
        )
    return bytes(changed)


def _of_json(draw: Draw, data: bytes) -> bytes:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return _of_bytes(draw, data)
    return json.dumps(_of_value(draw, value)).encode("utf-8", "surrogatepass")


def _of_yaml(draw: Draw, data: bytes) -> bytes:
    with contextlib.suppress(yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError):
        value = _of_value(draw, yaml.load(data, _LOADER))
        return yaml.dump(value, Dumper=_DUMPER, allow_unicode=False).encode(
            "utf-8", "surrogatepass"
        )
    return _of_bytes(draw, data)


def _of_value(draw: Draw, value: Any) -> Any:
    """A place in nested lists and dicts gets another value, goes, or is there once more."""
    places = _places(value)
    if not places:
        return draw.choice(VALUES)
    parent, key = draw.choice(places)
    what = draw.randrange(8)
    if what == 0:
        del parent[key]
    elif what == 1 and isinstance(parent, list):
        parent[key:key] = [parent[key]] * draw.choice((1, 2, 300))
    elif what == 2 and isinstance(parent, dict):
        parent[draw.choice(("x", "", "__class__", "\x1b[2J", "a" * 300))] = draw.choice(VALUES)
    elif what == 3:
        other, there = draw.choice(places)
        parent[key] = json.loads(json.dumps(other[there], default=str))
    elif what == 4 and isinstance(parent[key], int | float):
        parent[key] = draw.choice(
            (parent[key] + 1, -parent[key], parent[key] * 2, str(parent[key]))
        )
    else:
        parent[key] = draw.choice(NUMBERS if draw.random() < 0.5 else VALUES)
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every list or dict within a value, with each of its keys."""
    found: list[tuple[Any, Any]] = []
    left = [value]
    while left:
        node = left.pop()
        keys = (
            list(node)
            if isinstance(node, dict)
            else range(len(node))
            if isinstance(node, list)
            else ()
        )
        for key in keys:
            found.append((node, key))
            left.append(node[key])
    return found


def _of_zip(draw: Draw, data: bytes) -> bytes:
    """A member of an npz is harmed and its checksum mended; now and then it is a bomb, or an array
    of another kind."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {
                info.filename: archive.read(info)
                for info in archive.infolist()
                if info.file_size < 1 << 20
            }
    except (
        zipfile.BadZipFile,
        OSError,
        ValueError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        zlib.error,
    ):
        return _of_bytes(draw, data)
    if not members:
        return _of_bytes(draw, data)
    name = draw.choice(sorted(members))
    members[name] = draw.choice((_of_bytes, _header, _header))(draw, members[name])
    if draw.random() < 0.05:
        members[name] += bytes(8 << 20)
    if draw.random() < 0.05:
        members[draw.choice(("x", "../x.npy", "labels", "/"))] = members.pop(name)
    file = io.BytesIO()
    with zipfile.ZipFile(
        file, "w", draw.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED))
    ) as archive:
        for each, content in members.items():
            # Of 1980, so always the same
            archive.writestr(zipfile.ZipInfo(each), content, archive.compression)
    return file.getvalue()


def _header(draw: Draw, member: bytes) -> bytes:
    """An npy member that says to be of another type or shape."""
    kinds = (
        b"<f8",
        b"<f4",
        b"<i2",
        b"<i8",
        b"|u1",
        b"|b1",
        b"<c16",
        b"|O",
        b"<U9",
        b"|S0",
        b"<M8[s]",
        b">f2",
        b"x",
    )
    shapes = (
        b"()",
        b"(0,)",
        b"(1,)",
        b"(2, 2)",
        b"(4, 4, 4)",
        b"(1, 1, 1)",
        b"(1073741824, 8)",
        b"(0, 0, 0)",
    )
    head = b"{'descr': '%b', 'fortran_order': %b, 'shape': %b, }"
    text = head % (draw.choice(kinds), draw.choice((b"True", b"False")), draw.choice(shapes))
    body = member[128:] if draw.random() < 0.7 else draw.randbytes(draw.choice((0, 8, 64, 512)))
    return b"\x93NUMPY\1\0" + struct.pack("<H", 118) + text.ljust(117) + b"\n" + body


FORMS: dict[str, Callable[[Draw, bytes], bytes]] = {
    "bytes": _of_bytes,
    "json": _of_json,
    "yaml": _of_yaml,
    "zip": _of_zip,
}
