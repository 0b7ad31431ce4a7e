"""Harm to packages, drawn from a seed: bytes, the ZIP's own structure, and members whose digests
are mended after it.

A mended mutation is what somebody writes who knows the format and means harm: it reaches the
parsers behind the hash.
"""

import contextlib
import copy
import hashlib
import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx
from package_extremes import extreme

Members = dict[str, bytes]
Draw = random.Random

MANIFEST, GRAPH, WEIGHTS, CHUNKS = "manifest.json", "graph.onnx", "weights.bin", "chunks.bin"
WORDS = (0, 1, 2, 3, 255, 256, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)


@dataclass(frozen=True)
class Mutation:
    """A harmed package. what: how, in words. member: where. mended: its digests are right. content:
    a file's bytes, or the files of a folder; None as a file's content: a link to nowhere."""

    what: str
    member: str
    mended: bool
    content: bytes | dict[str, bytes | None]


def members_of(package: bytes) -> Members:
    """What is in a sound package, in order."""
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


EXTREMES_FROM, EXTREMES_EVERY = 20_000, 10
"""From this number on, every so many mutations keep to all ranges. Those below are what
they were."""


def mutation(seed: int, packages: dict[str, bytes]) -> tuple[str, Mutation]:
    """The mutation of a number: always the same one; and the name of the package it harmed."""
    draw = Draw(seed)
    name = draw.choice(sorted(packages))
    if seed >= EXTREMES_FROM and seed % EXTREMES_EVERY == 0:
        return name, _extreme(draw, packages[name])
    other = draw.choice([packages[each] for each in sorted(packages) if each != name])
    kind = draw.choices(
        [_bytes, _zip, _folder, _member, _manifest, _several], [10, 12, 8, 40, 25, 5]
    )[0]
    return name, kind(draw, packages[name], other)


# --- bytes ---


def _flip(draw: Draw, data: bytearray) -> None:
    for _ in range(draw.choice([1, 1, 1, 2, 8, 50])):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _cut(draw: Draw, data: bytearray) -> None:
    del data[draw.randrange(len(data)) :]


def _run(draw: Draw, data: bytearray) -> None:
    """A run becomes noise, or one byte over and over."""
    at, length = draw.randrange(len(data)), draw.choice([1, 2, 4, 16, 64, 500])
    length = min(length, len(data) - at)
    data[at : at + length] = draw.choice([draw.randbytes(length), b"\0" * length, b"\xff" * length])


def _drop(draw: Draw, data: bytearray) -> None:
    at = draw.randrange(len(data))
    del data[at : at + draw.choice([1, 3, 4, 100])]


def _insert(draw: Draw, data: bytearray) -> None:
    at, length = draw.randrange(len(data) + 1), draw.choice([1, 4, 64, 1000])
    data[at:at] = draw.choice([draw.randbytes(length), bytes(data[:length]), bytes(length)])


def _move(draw: Draw, data: bytearray) -> None:
    """A run is copied over another place."""
    length = draw.choice([4, 16, 200])
    source, target = draw.randrange(len(data)), draw.randrange(len(data))
    run = bytes(data[source : source + length])
    data[target : target + len(run)] = run


def _word(draw: Draw, data: bytearray) -> None:
    """A number of 4 bytes becomes an extreme one."""
    at = draw.randrange(max(1, len(data) - 3))
    data[at : at + 4] = struct.pack(draw.choice("<>") + "I", draw.choice(WORDS))


HARMS = (_flip, _cut, _run, _drop, _insert, _move, _word)


def _harmed(
    draw: Draw, content: bytes, harms: tuple[Callable[[Draw, bytearray], None], ...] = HARMS
) -> tuple[str, bytes]:
    harm = draw.choice(harms)
    data = bytearray(content)
    if data:
        harm(draw, data)
    else:
        data += draw.randbytes(4)
    return harm.__name__.strip("_"), bytes(data)


def _bytes(draw: Draw, package: bytes, other: bytes) -> Mutation:
    what, content = _harmed(draw, package)
    return Mutation(what, "container", False, content)


# --- the ZIP ---


def zipped(members: list[tuple[str, bytes]]) -> bytes:
    """The ZIP that deliver would write: stored, dated 1980."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", allowZip64=False) as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, content)
    return file.getvalue()


EVIL_NAMES = (
    "../escaped", "../../escaped", "/tmp/stdo-escaped", "a/../../escaped", "..\\escaped",
    "C:\\escaped", "lr.mp4/", "", "LR.MP4", "lr.mp4\0.sh", "./lr.mp4", "manifest.json ",
    "\N{FULLWIDTH FULL STOP}./x", "x" * 60000, "lr.mkv",
)  # fmt: skip


def _renamed(draw: Draw, members: list[tuple[str, bytes]]) -> bytes:
    at = draw.randrange(len(members))
    members[at] = (draw.choice(EVIL_NAMES), members[at][1])
    return zipped(members)


def _added(draw: Draw, members: list[tuple[str, bytes]]) -> bytes:
    members.insert(draw.randrange(len(members) + 1), (draw.choice(EVIL_NAMES), b"#!/bin/sh\n"))
    return zipped(members)


def _doubled(draw: Draw, members: list[tuple[str, bytes]]) -> bytes:
    members.insert(draw.randrange(len(members) + 1), draw.choice(members))
    return zipped(members)


def _shuffled(draw: Draw, members: list[tuple[str, bytes]]) -> bytes:
    draw.shuffle(members)
    return zipped(members)


def _less(draw: Draw, members: list[tuple[str, bytes]]) -> bytes:
    del members[draw.randrange(len(members))]
    return zipped(members)


def _compressed(draw: Draw, members: list[tuple[str, bytes]]) -> bytes:
    """Compressed members, one of them a bomb."""
    file, method = (
        io.BytesIO(),
        draw.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    )
    bomb = draw.choice([name for name, _ in members] + [None])
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, bytes(4 << 20) if name == bomb else content)
    return file.getvalue()


def _flagged(draw: Draw, members: list[tuple[str, bytes]]) -> bytes:
    """A number in a header of a member becomes another: version, flags (encrypted), method, date,
    sizes, lengths."""
    data = bytearray(zipped(members))
    local = draw.random() < 0.5
    headers = _positions(data, b"PK\3\4" if local else b"PK\1\2")
    at = draw.choice(headers) + draw.choice(range(4, 30 if local else 46, 2))
    data[at : at + 2] = struct.pack("<H", draw.choice([0, 1, 8, 9, 99, 0x800, 0x7FFF, 0xFFFF]))
    return bytes(data)


def _ended(draw: Draw, members: list[tuple[str, bytes]]) -> bytes:
    """The end record says other things, or there are bytes around the ZIP."""
    data = bytearray(zipped(members))
    end = data.rindex(b"PK\5\6")
    what = draw.randrange(4)
    if what == 0:
        at = end + draw.choice([4, 6, 8, 10, 12, 16, 20])
        data[at : at + 4] = struct.pack("<I", draw.choice(WORDS))
    elif what == 1:
        comment = draw.randbytes(draw.choice([1, 22, 300]))
        data[end + 20 : end + 22] = struct.pack("<H", len(comment))
        data += comment
    elif what == 2:
        data[:0] = draw.choice([b"MZ", b"#!/bin/sh\n", bytes(data[:100]), bytes(data)])
    else:
        data += draw.choice([b"\0", bytes(data), bytes(data[end:])])
    return bytes(data)


def _wide(draw: Draw, members: list[tuple[str, bytes]]) -> bytes:
    """With records of ZIP64, and extra fields."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.extra = draw.choice(
                [b"", struct.pack("<HHQ", 1, 8, 2**40), struct.pack("<HHI", 0x7075, 4, 0)]
            )
            with archive.open(info, "w", force_zip64=draw.random() < 0.5) as target:
                target.write(content)
    return file.getvalue()


def _positions(data: bytearray, needle: bytes) -> list[int]:
    found, at = [], data.find(needle)
    while at >= 0:
        found.append(at)
        at = data.find(needle, at + 1)
    return found


def _swapped(draw: Draw, package: Members, other: Members) -> Members:
    """One member of another package."""
    theirs, ours = list(other.items()), list(package)
    at = draw.randrange(len(ours))
    return package | {ours[at]: theirs[at][1]}


ZIPS = (
    _renamed,
    _added,
    _doubled,
    _shuffled,
    _less,
    _compressed,
    _flagged,
    _flagged,
    _ended,
    _ended,
    _wide,
)


def _zip(draw: Draw, package: bytes, other: bytes) -> Mutation:
    members = members_of(package)
    if draw.random() < 0.15:
        return Mutation(
            "swapped",
            "container",
            False,
            zipped(list(_swapped(draw, members, members_of(other)).items())),
        )
    harm = draw.choice(ZIPS)
    return Mutation(harm.__name__.strip("_"), "container", False, harm(draw, list(members.items())))


def _folder(draw: Draw, package: bytes, other: bytes) -> Mutation:
    """An unpacked package with one file harmed, missing, another's, or a link to nowhere."""
    members: dict[str, bytes | None] = dict(members_of(package))
    name = draw.choice(list(members))
    what, content = _harmed(draw, members[name] or b"")
    choice = draw.randrange(6)
    if choice == 0:
        return Mutation(
            "missing", name, False, {key: value for key, value in members.items() if key != name}
        )
    if choice == 1:
        return Mutation("a link", name, False, members | {name: None})
    if choice == 2:
        swapped = _swapped(draw, members_of(package), members_of(other))
        return Mutation("swapped", name, False, dict(swapped))
    if choice == 3:
        return Mutation(
            "one more", name, False, members | {draw.choice(["lr.mkv", "lr.mp4", "x"]): content}
        )
    return Mutation(what, name, False, members | {name: content})


# --- members behind the hash ---


def sealed(text: bytes) -> bytes:
    """A manifest's text without its last field, with the digest that belongs to it."""
    return b'%b,"sha256":"%b"}' % (text[:-1], hashlib.sha256(text).hexdigest().encode())


def unsealed(text: bytes) -> dict[str, Any]:
    """The fields of a manifest but for its digest."""
    fields: dict[str, Any] = json.loads(text)
    del fields["sha256"]
    return fields


def written(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode("utf-8", "surrogatepass")


def mended(members: Members, fields: dict[str, Any] | None = None) -> bytes:
    """The package of these members, every size and digest right."""
    fields = unsealed(members[MANIFEST]) if fields is None else fields
    for name, content in members.items():
        if isinstance(fields.get("members"), dict) and isinstance(
            fields["members"].get(name), dict
        ):
            fields["members"][name] = {
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
    return zipped([*(members | {MANIFEST: sealed(written(fields))}).items()])


def _table(draw: Draw, data: bytearray) -> None:
    """The number of parts, or the size of one, in weights.bin and chunks.bin."""
    at = 4 * draw.randrange(min(6, max(1, len(data) // 4)))
    data[at : at + 4] = struct.pack("<I", draw.choice([*WORDS, len(data), len(data) - 4]))


def _split_again(draw: Draw, data: bytearray) -> None:
    """Bytes go from one part to the next, and the sizes still add up."""
    count = struct.unpack_from("<I", data)[0]
    if count >= 2 and len(data) >= 4 + 4 * count:
        at = 4 + 4 * draw.randrange(count - 1)
        one, two = struct.unpack_from("<II", data, at)
        moved = min(draw.choice([1, 2, 4, 8, 100]), one)
        struct.pack_into("<II", data, at, one - moved, two + moved)


BOXES = (
    b"ftyp", b"moov", b"mvhd", b"trak", b"tkhd", b"mdia", b"mdhd", b"hdlr", b"minf", b"stbl",
    b"stsd", b"stts", b"stss", b"ctts", b"stsc", b"stsz", b"stco", b"edts", b"elst", b"avcC",
    b"hvcC", b"av1C", b"avc1", b"hev1", b"hvc1", b"av01", b"colr", b"pasp", b"btrt", b"dinf",
    b"dref", b"url ", b"udta", b"meta", b"mdat", b"esds", b"mp4a", b"vmhd", b"smhd",
)  # fmt: skip
OTHER_BOXES = (
    *BOXES, b"co64", b"moof", b"mvex", b"trex", b"sidx", b"cmov", b"rmra", b"alis", b"free",
    b"skip", b"uuid", b"senc", b"mp4v", b"jpeg", b"png ", b"gif ", b"tiff", b"rle ", b"raw ",
    b"cvid", b"SVQ3", b"vp09", b"apch", b"dvh1", b"text", b"\0\0\0\0",
)  # fmt: skip


def _box(draw: Draw, data: bytearray) -> None:
    """A box of an MP4: its size, its name, or a number in it; in Matroska simply a word."""
    found = [at for name in BOXES for at in _positions(data, name)]
    if not found:
        _word(draw, data)
        return
    at, what = draw.choice(found), draw.randrange(4)
    if what == 0:
        data[max(0, at - 4) : at] = struct.pack(">I", draw.choice(WORDS))
    elif what == 1:
        data[at : at + 4] = draw.choice(OTHER_BOXES)
    else:
        place = at + 4 + draw.randrange(100)
        if place + 4 <= len(data):
            data[place : place + 4] = struct.pack(">I", draw.choice([*WORDS, draw.getrandbits(32)]))


STRANGERS = (
    b"", b"\0" * 5000, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0", b"GIF89a" + b"\1" * 50,
    b"ffconcat version 1.0\nfile '/etc/passwd'\n", b"<html>", b"\x7fELF", b"\x80\x04\x95.",
    b"\x1aE\xdf\xa3" + b"\xff" * 60, b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", b"%PDF-1.4",
    b"PK\5\6" + bytes(18), b"\x93NUMPY\1\0",
)  # fmt: skip


def _evil_graph(draw: Draw, content: bytes) -> tuple[str, bytes]:
    """ONNX that is well-formed and means harm."""
    model = onnx.load_from_string(content)
    harm = draw.choice(GRAPH_HARMS)
    harm(draw, model)
    return harm.__name__.strip("_"), model.SerializeToString()


def _other_operation(draw: Draw, model: onnx.ModelProto) -> None:
    draw.choice(model.graph.node).op_type = draw.choice(
        ["Relu", "Conv", "Add", "Mul", "Pad", "Concat", "If", "Loop", "Scan", "Sin", "Resize",
         "Expand", "Tile", "Range", "NonZero", "Reshape", "Transpose", "DepthToSpace",
         "SpaceToDepth", "Gather", "Where", "ConstantOfShape", "", "x" * 999]
    )  # fmt: skip


def _other_number(draw: Draw, model: onnx.ModelProto) -> None:
    """An attribute: pads, strides, groups, block sizes."""
    attributes = [each for node in model.graph.node for each in node.attribute]
    numbers = [0, 1, -1, 2, 3, 7, 1000, 2**20, 2**31, -(2**31), 2**62, -(2**63)]
    attribute = draw.choice(attributes)
    if attribute.ints:
        attribute.ints[draw.randrange(len(attribute.ints))] = draw.choice(numbers)
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = draw.choice(numbers)
    else:
        attribute.s = draw.choice([b"", b"reflect", b"CRD", b"\xff\xfe", b"x" * 5000])


def _other_shape(draw: Draw, model: onnx.ModelProto) -> None:
    """A side of a tensor, or of an input."""
    if model.graph.initializer and draw.random() < 0.5:
        tensor = draw.choice(model.graph.initializer)
        if tensor.dims:
            tensor.dims[draw.randrange(len(tensor.dims))] = draw.choice(
                [0, 1, -1, 2**20, 2**31, 2**62, -(2**63)]
            )
        return
    value = draw.choice([*model.graph.input, *model.graph.output])
    side = draw.choice(value.type.tensor_type.shape.dim)
    side.dim_value = draw.choice([0, 1, -1, 5, 2**20, 2**62])


def _other_type(draw: Draw, model: onnx.ModelProto) -> None:
    if model.graph.initializer and draw.random() < 0.5:
        draw.choice(model.graph.initializer).data_type = draw.randrange(25)
    else:
        draw.choice(
            [*model.graph.input, *model.graph.output]
        ).type.tensor_type.elem_type = draw.randrange(25)


def _rewired(draw: Draw, model: onnx.ModelProto) -> None:
    """An edge goes elsewhere: cycles, values that nobody makes, values made twice."""
    names = [name for node in model.graph.node for name in (*node.input, *node.output)] + [
        "",
        "nowhere",
        "lr",
    ]
    node = draw.choice(model.graph.node)
    edges = node.input if draw.random() < 0.6 and node.input else node.output
    edges[draw.randrange(len(edges))] = draw.choice(names)


def _node_gone(draw: Draw, model: onnx.ModelProto) -> None:
    del model.graph.node[draw.randrange(len(model.graph.node))]


def _node_again(draw: Draw, model: onnx.ModelProto) -> None:
    """A chain of many steps, each as wide as the last."""
    last = model.graph.output[0].name
    operation = draw.choice(["Relu", "Concat", "Add", "Identity"])
    for step in range(draw.choice([1, 20, 3000])):
        inputs = [last] if operation in ("Relu", "Identity") else [last, last]
        name = f"more{step}"
        axis = {"axis": 1} if operation == "Concat" and step < 40 else {}
        model.graph.node.append(onnx.helper.make_node(operation, inputs, [name], **axis))
        last = name
    model.graph.output[0].name = last


def _outside(draw: Draw, model: onnx.ModelProto) -> None:
    """A tensor that lies in a file of the viewer's."""
    places = [
        "/etc/passwd",
        "/dev/zero",
        "manifest.json",
        "../in/secret.bin",
        "secret.bin",
        "in/secret.bin",
        "",
        ".",
    ]
    tensor = onnx.TensorProto(
        name="secret", data_type=1, dims=[3], data_location=onnx.TensorProto.EXTERNAL
    )
    for key, value in (
        ("location", draw.choice(places)),
        ("length", draw.choice(["12", "99999999999", "-1", "x"])),
    ):
        tensor.external_data.add(key=key, value=value)
    shape = onnx.helper.make_tensor("secret_shape", onnx.TensorProto.INT64, [4], [1, 3, 1, 1])
    model.graph.initializer.extend([tensor, shape])
    last = model.graph.output[0].name
    model.graph.node.append(
        onnx.helper.make_node("Reshape", ["secret", "secret_shape"], ["secret_4"])
    )
    model.graph.node.append(onnx.helper.make_node("Add", [last, "secret_4"], ["told"]))
    model.graph.output[0].name = "told"


def _wide_graph(draw: Draw, model: onnx.ModelProto) -> None:
    """Steps that grow."""
    last, count = "lr", draw.choice([2, 6, 12, 24])
    for step in range(count):
        model.graph.node.append(
            onnx.helper.make_node("Concat", [last] * draw.choice([2, 8]), [f"wide{step}"], axis=1)
        )
        last = f"wide{step}"


def _nested(draw: Draw, model: onnx.ModelProto) -> None:
    """A graph in a graph in a graph."""
    for _ in range(draw.choice([1, 50, 300])):
        inner = onnx.GraphProto()
        inner.CopyFrom(model.graph)
        del model.graph.node[1:]
        model.graph.node[0].attribute.append(onnx.helper.make_attribute("then_branch", inner))
        if model.ByteSize() > 100_000:
            break


GRAPH_HARMS = (
    _other_operation, _other_number, _other_number, _other_shape, _other_type, _rewired, _node_gone,
    _node_again, _outside, _wide_graph, _nested,
)  # fmt: skip


def _member(draw: Draw, package: bytes, other: bytes) -> Mutation:
    """One member harmed, and its digest mended."""
    members = members_of(package)
    names = list(members)
    name = draw.choices(names[1:], [30, 25, 15, 30])[0]
    what, content = _of_member(draw, name, members[name], members_of(other))
    return Mutation(what, name, True, mended(members | {name: content}))


def _of_member(draw: Draw, name: str, content: bytes, other: Members) -> tuple[str, bytes]:
    if draw.random() < 0.08:
        theirs = (
            other.get(name, other.get("lr.mp4", b""))
            if draw.random() < 0.6
            else draw.choice(STRANGERS)
        )
        return "another's", theirs
    if name == GRAPH and draw.random() < 0.6:
        return _evil_graph(draw, content)
    if name in (WEIGHTS, CHUNKS):
        return _harmed(draw, content, (*HARMS, _table, _split_again))
    return _harmed(draw, content, (*HARMS, _box, _box, _box) if name.startswith("lr.") else HARMS)


def _extreme(draw: Draw, package: bytes) -> Mutation:
    """Everything in range, and as much of it as a range allows."""
    members = members_of(package)
    fields = unsealed(members[MANIFEST])
    what = extreme(draw, fields, members)
    return Mutation(what, "ranges", True, mended(members, fields))


# --- the manifest ---

HUGE = 10**4000
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, -1, 3, 7, 255, 256, 4096, 16384, 32767, 32768, 65536, 2**20, 2**25,
    2**31 - 1, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, HUGE, -HUGE, 0.0, -0.0, 1.0, 0.5,
    1e-320, 1e308, float("nan"), float("inf"), -float("inf"), "", "0", "1", "nan", "x", "x" * 401,
    "x" * 100_000, "\0", "a\nb", "\x1b[31m", "\ud800", "\u202e", "../../escaped", "/etc/passwd",
    "lr.mkv", "lr.mp4", "stdo", "bt709", "x264", "__class__", "{0}", "%s", "é" * 50, [], [0],
    [1, 1], [0, 0], [1, 0], [2**31, 1], [[]], [[["x"]]], [1] * 5000, ["x"] * 300, {}, {"": 0},
    {"x": {}}, {"__class__": "os.system"}, {"time_base": [1, 100], "ticks": [0, 1, 2, 3]},
    {"time_base": [1, 1], "ticks": [0, 2**62, 1, 2]},
)  # fmt: skip


def _paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, the value itself left out."""
    items = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    found = []
    for key, child in items:
        found += [(*path, key), *_paths(child, (*path, key))]
    return found


def _at(fields: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        fields = fields[key]
    return fields


def _value(draw: Draw, fields: dict[str, Any]) -> str:
    """A field gets another value: of a list, near the old one, or of another field."""
    path = draw.choice(_paths(fields))
    parent, old = _at(fields, path[:-1]), _at(fields, path)
    fraction = float(old) if type(old) is int and abs(old) < 2**1000 else 0.5
    near = [old + 1, old - 1, old * 2, -old, fraction, str(old)] if type(old) is int else []
    near += [old[:-1], old + old, old * 100] if isinstance(old, str | list) else []
    others = [_at(fields, draw.choice(_paths(fields)))]  # which may be a field that holds this one
    # A copy: further harms may change it, and VALUES are of all mutations.
    parent[path[-1]] = copy.deepcopy(draw.choice([*near, *others, *draw.sample(VALUES, 6)]))
    return ".".join(map(str, path))


def _without(draw: Draw, fields: dict[str, Any]) -> str:
    path = draw.choice(_paths(fields))
    del _at(fields, path[:-1])[path[-1]]
    return f"no {path[-1]}"


def _with(draw: Draw, fields: dict[str, Any]) -> str:
    parents = [
        fields,
        *(_at(fields, path) for path in _paths(fields) if isinstance(_at(fields, path), dict)),
    ]
    value = copy.deepcopy(draw.choice(VALUES))
    parent = draw.choice(parents)
    name = draw.choice(["", "x", "sha256", "width", "__proto__", "x" * 5000, "\n", "\ud800"])
    parent[name] = value
    return "one more"


def _larger(draw: Draw, fields: dict[str, Any]) -> str:
    """Geometry that agrees with itself, and with nothing else. Another harm may have come first."""
    with contextlib.suppress(
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        ValueError,
        ZeroDivisionError,
        OverflowError,
    ):
        return _resized(draw, fields)
    return "nothing"


def _resized(draw: Draw, fields: dict[str, Any]) -> str:
    source, lr, grid = fields["source"], fields["lr"], fields["grid"]
    what = draw.choice(
        ["frame", "frames", "patch", "halo", "networks", "chunks", "params", "scale", "codec"]
    )
    if what == "frame":
        source["width"], source["height"] = draw.choice(
            [(1, 1), (16384, 2048), (5792, 5792), (3, 16384), (131, 71)]
        )
        lr["width"], lr["height"] = (
            -(-source[side] // fields["scale"]) for side in ("width", "height")
        )
        grid["patch_w"], grid["patch_h"] = (
            min(grid["patch_w"], lr["width"]),
            min(grid["patch_h"], lr["height"]),
        )
    elif what == "frames":
        source["frames"] = draw.choice([1, 3, 5, 6, 100_000, 10_000_000])
    elif what == "patch":
        grid["patch_w"], grid["patch_h"] = (
            draw.choice([1, 2, lr["width"]]),
            draw.choice([1, 3, lr["height"]]),
        )
    elif what == "halo":
        grid["halo"] = draw.choice([1, 7, 30, 500, 4000])
    elif what == "networks":
        fields["network"]["networks"] = draw.choice([1, 2, 3, 4, 100, 4096])
    elif what == "chunks":
        fields["network"]["network_of"] = [0] * draw.choice([1, 2, 3, 5, 256, 32767])
    elif what == "params":
        draw.shuffle(fields["network"]["params"])
        draw.choice(fields["network"]["params"])[1] = draw.choice(
            [[], [1], [2**20], [64, 2**20], [4, 3, 3, 3], [1] * 5]
        )
    elif what == "scale":
        fields["scale"] = draw.choice([2, 3, 4])
        lr["width"], lr["height"] = (
            -(-source[side] // fields["scale"]) for side in ("width", "height")
        )
    else:
        lr["codec"], fields["quantiser"]["bits"] = (
            draw.choice(["x264", "x265", "svtav1"]),
            draw.choice([4, 6, 8, 16, 32]),
        )
    return what


def _manifest(draw: Draw, package: bytes, other: bytes) -> Mutation:
    """The manifest says something else, and its own digest is right."""
    members = members_of(package)
    if draw.random() < 0.2:
        what, text = _text(draw, members[MANIFEST])
        return Mutation(what, MANIFEST, True, zipped([*(members | {MANIFEST: text}).items()]))
    fields = unsealed(members[MANIFEST])
    harms = draw.choices(
        [_value, _without, _with, _larger], [6, 1, 1, 3], k=draw.choice([1, 1, 1, 2, 4])
    )
    what = ", ".join(harm(draw, fields) for harm in harms)
    return Mutation(
        what, MANIFEST, True, zipped([*(members | {MANIFEST: sealed(written(fields))}).items()])
    )


def _text(draw: Draw, text: bytes) -> tuple[str, bytes]:
    """JSON that is odd as a text."""
    body = text[: text.rindex(b',"sha256"')] + b"}"
    where = body.index(b":") + 1
    odd = {
        "deep": b'{"format":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "deeper": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        "a key twice": body[:-1] + b',"scale":2,"scale":3}',
        "another key twice": b'{"format":"x",' + body[1:],
        "a long number": body.replace(b'"scale":', b'"scale":' + b"9" * 100_000, 1),
        "a long fraction": body.replace(b'"frame":', b'"frame":0.' + b"1" * 100_000, 1),
        "a great exponent": body.replace(b'"frame":', b'"frame":1e999999', 1),
        "NaN": body[:where] + b"NaN" + body[where:],
        "BOM": b"\xef\xbb\xbf" + body,
        "UTF-16": body.decode().encode("utf-16"),
        "not UTF-8": body.replace(b"tiny", b"ti\xffy", 1),
        "no object": b"[" + body + b"]",
        "spaces": body.replace(b",", b" ,\n\t"),
        "a comment": b"/**/" + body,
        "half an escape": body.replace(b"tiny", b"\\u12", 1),
        "half a pair": body.replace(b"tiny", b"\\ud800", 1),
        "an escaped line end": body.replace(b"tiny", b"\\u000a", 1),
        "a separator of lines": body.replace(b"tiny", b"a\\u2028b\\u0085c", 1),
        "empty": b"",
    }  # fmt: skip
    what = draw.choice(sorted(odd))
    return what, sealed(odd[what])


def _several(draw: Draw, package: bytes, other: bytes) -> Mutation:
    """Two or three members at once, all mended."""
    members, theirs = members_of(package), members_of(other)
    fields = unsealed(members[MANIFEST])
    if draw.random() < 0.5:
        _larger(draw, fields)
    for name in draw.sample(list(members)[1:], draw.choice([2, 3, 4])):
        members[name] = _of_member(draw, name, members[name], theirs)[1]
    return Mutation("several", "several", True, mended(members, fields))
