"""graph.onnx, read before the runtime reads it: nothing but what `deliver` writes may be in it.

ONNX can name files of the viewer's as tensors, nest graphs, and knows hundreds of operations. Ours are a list of six
operations with their weights outside. So the bytes are taken apart here field by field, as protobuf stores them, and
any other field or operation is refused before a large parser sees it.
"""

from collections.abc import Iterator

from stdo.delivery.coding import damaged
from stdo.delivery.manifest import GRAPH
from stdo.types import UserError

OPERATIONS = ("Add", "Conv", "DepthToSpace", "Pad", "Relu", "Sub")
"""What our backbones are made of, as ONNX calls it."""

MAX_NODES = 2000

_OPERATION = "operation"
_FIELDS: dict[str, dict[int, str]] = {
    "model": {1: "", 2: "", 3: "", 7: "graph", 8: "opset"},  # version, producer and its version
    "opset": {1: "", 2: ""},  # domain, version
    "graph": {1: "node", 2: "", 5: "tensor", 11: "value", 12: "value"},  # name
    "node": {1: "", 2: "", 3: "", 4: _OPERATION, 5: "attribute"},  # inputs, outputs, name
    "attribute": {1: "", 3: "", 4: "", 8: "", 20: ""},  # name, number, text, numbers, which of them
    "tensor": {1: "", 2: "", 8: "", 9: ""},  # sides, type, name, content
    "value": {1: "", 2: "type"},  # name
    "type": {1: "tensor type"},
    "tensor type": {1: "", 2: "shape"},  # type
    "shape": {1: "side"},
    "side": {1: "", 2: ""},  # number, name
}
"""onnx.proto, as far as it is needed: message -> number of a field -> the message in it; empty: a number or bytes."""


def check_graph(data: bytes) -> None:
    """Raise UserError for a graph that is damaged, or has anything in it that no backbone's graph has."""
    nodes = _check("model", data)
    if nodes > MAX_NODES:
        raise UserError(f"{GRAPH}: {nodes} steps: must be at most {MAX_NODES}")


def _check(message: str, data: bytes) -> int:
    """Check one message and those in it; returns the number of operations."""
    nodes = 0
    for field, content in _fields(data):
        inner = _FIELDS[message].get(field)
        if inner is None:
            raise UserError(f"{GRAPH}: field {field} of its {message}: no such field in a package")
        if inner == _OPERATION:
            _check_operation(content)
            nodes += 1
        elif inner:
            if content is None:
                raise damaged(GRAPH, f"its {inner} is a number")
            nodes += _check(inner, content)
    return nodes


def _check_operation(content: bytes | None) -> None:
    name = ascii((content or b"").decode("latin-1"))[1:-1]
    if name not in OPERATIONS:
        raise UserError(f"{GRAPH}: step {name[:40]}: must be one of {', '.join(OPERATIONS)}")


def _fields(data: bytes) -> Iterator[tuple[int, bytes | None]]:
    """The fields of a message of protobuf: number and content, None for a number."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        field, wire = key >> 3, key & 7
        if wire not in (0, 2):  # numbers of fixed length and groups, which our fields are not
            raise damaged(GRAPH, f"it has a field of type {wire}")
        value, at = _varint(data, at)
        if wire == 0:
            yield field, None
            continue
        if at + value > len(data):
            raise damaged(GRAPH, "it ends within a field")
        yield field, data[at : at + value]
        at += value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits per byte, and where the next one begins."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise damaged(GRAPH, "it ends within a number")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise damaged(GRAPH, "a number has no end")
