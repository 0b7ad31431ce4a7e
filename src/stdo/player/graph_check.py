"""Check graph.onnx before the runtime reads it: only operations that `deliver` writes.

ONNX can name files of the viewer's as tensors, nests graphs, and knows hundreds of operations;
OpenVINO reads it in native code, which ends the process where a convolution has no weights. Ours
are lists of a few operations with their weights outside. So the bytes are taken apart here, as
protobuf stores them, and anything else is refused.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stdo.core.types import UserError
from stdo.package.coding import damaged
from stdo.package.limits import GRAPH

INPUT = "lr"
MAX_NODES = 2000


@dataclass(frozen=True)
class _Operation:
    """An operation of ONNX. inputs: how many it may have. computed: how many of them may come from
    other steps. attributes: name -> the whole numbers, or the one with a fraction, from least to
    most, or the text that it may have."""

    inputs: tuple[int, ...]
    computed: int
    attributes: Mapping[str, "_Allowed"]


_Allowed = tuple[int, int] | tuple[float, float] | bytes


OPERATIONS = {
    "Add": _Operation((2,), 2, {}),
    "Conv": _Operation(
        (2, 3), 1,
        {"group": (1, 2**20), "pads": (0, 64), "auto_pad": b"NOTSET", "strides": (1, 1),
            "dilations": (1, 1),
         "kernel_shape": (1, 65)},
    ),
    "ConvTranspose": _Operation(
        (2, 3), 1,
        {"group": (1, 1), "pads": (0, 64), "auto_pad": b"NOTSET", "strides": (1, 4),
            "dilations": (1, 1),
         "kernel_shape": (1, 65), "output_padding": (0, 3)},
    ),
    "DepthToSpace": _Operation((1,), 1, {"blocksize": (2, 4), "mode": b"CRD"}),
    "LeakyRelu": _Operation((1,), 1, {"alpha": (0.0, 1.0)}),
    "Pad": _Operation((2,), 1, {"mode": b"edge"}),
    "PRelu": _Operation((2,), 1, {}),
    "Relu": _Operation((1,), 1, {}),
    "Sub": _Operation((2,), 2, {}),
}  # fmt: skip
"""What our backbones are made of."""

_Message = dict[int, list["int | bytes | _Message"]]
"""Number of a field -> its values: numbers, bytes, or messages."""

_FIELDS: dict[str, dict[int, str]] = {
    "model": {1: "", 2: "", 3: "", 7: "graph", 8: "opset"},  # version, producer and its version
    "opset": {1: "", 2: ""},  # domain, version
    "graph": {
        1: "node",
        2: "",
        5: "tensor",
        11: "value",
        12: "value",
    },  # name; inputs and outputs are values
    "node": {1: "", 2: "", 3: "", 4: "", 5: "attribute"},  # inputs, outputs, name, operation
    "attribute": {
        1: "",
        2: "",
        3: "",
        4: "",
        8: "",
        20: "",
    },  # name, fraction, number, text, numbers, which of them
    "tensor": {1: "", 2: "", 8: "", 9: ""},  # sides, type, name, content
    "value": {1: "", 2: "type"},  # name
    "type": {1: "tensor type"},
    "tensor type": {1: "", 2: "shape"},  # type
    "shape": {1: "side"},
    "side": {1: "", 2: ""},  # number, name
}
"""onnx.proto, as far as it is needed: message -> number of a field -> the message in it; empty: a
number or bytes."""


def check_graph(data: bytes) -> None:
    """Raise UserError for a graph that is damaged, or has anything in it that no backbone's graph
    has."""
    model = _parse("model", data)
    graphs = _messages(model, 7)
    if len(graphs) != 1:
        raise damaged(GRAPH, f"it holds {len(graphs)} graphs")
    nodes, (graph,) = _messages(graphs[0], 1), graphs
    if not 1 <= len(nodes) <= MAX_NODES:
        raise UserError(f"{GRAPH}: {len(nodes)} steps: must be from 1 to {MAX_NODES}")
    constants = [_text(tensor, 8) for tensor in _messages(graph, 5)] + [
        _text(each, 1) for each in _messages(graph, 11)
    ]
    computed = {INPUT}
    given = set(constants) - computed
    if len(set(constants)) != len(constants) or b"" in map(str.encode, constants):
        raise damaged(GRAPH, "a tensor has no name of its own")
    for node in nodes:
        result = _check_node(node, computed, given)
        if result in computed | given:
            raise damaged(GRAPH, "a value is made twice")
        computed.add(result)


def _check_node(node: _Message, computed: set[str], given: set[str]) -> str:
    """Check one step; returns the name of its result."""
    name = _text(node, 4)
    if name not in OPERATIONS:
        raise UserError(
            f"{GRAPH}: step {ascii(name)[1:-1][:40]}: must be one of {', '.join(OPERATIONS)}"
        )
    operation, inputs, outputs = OPERATIONS[name], _texts(node, 1), _texts(node, 2)
    if len(inputs) not in operation.inputs or len(outputs) != 1:
        raise damaged(GRAPH, f"a {name} has {len(inputs)} inputs and {len(outputs)} outputs")
    free = all(each in computed | given for each in inputs[: operation.computed])
    if not (
        free
        and inputs[0] in computed
        and all(each in given for each in inputs[operation.computed :])
    ):
        raise damaged(GRAPH, f"a {name} takes what is not there yet, or not an input")
    attributes = {_text(each, 1): each for each in _messages(node, 5)}
    if len(attributes) != len(node.get(5, [])) or not set(attributes) <= set(operation.attributes):
        raise damaged(
            GRAPH, f"a {name} has other attributes than {', '.join(operation.attributes) or 'none'}"
        )
    for key, attribute in attributes.items():
        _check_attribute(f"{key} of a {name}", attribute, operation.attributes[key])
    return outputs[0]


def _check_attribute(what: str, attribute: _Message, allowed: _Allowed) -> None:
    values = [value for field in (2, 3, 4, 8) for value in attribute.get(field, [])]
    if isinstance(allowed, bytes):
        good, shown = values == [allowed], allowed.decode()
    elif isinstance(allowed[0], float):
        (least, most), fraction = allowed, attribute.get(2, [])
        good = values == fraction and len(fraction) == 1 and least <= _fraction(fraction[0]) <= most
        shown = f"from {least:g} to {most:g}"
    else:
        good = bool(values) and all(
            isinstance(each, int) and allowed[0] <= each <= allowed[1] for each in values
        )
        shown = f"from {allowed[0]} to {allowed[1]}"
    if not good:
        raise UserError(f"{GRAPH}: {what}: must be {shown}")


def _fraction(value: "int | bytes | _Message") -> float:
    return (
        float(struct.unpack("<f", value)[0])
        if isinstance(value, bytes) and len(value) == 4
        else math.nan
    )


def _messages(message: _Message, field: int) -> list[_Message]:
    return [each for each in message.get(field, []) if isinstance(each, dict)]


def _texts(message: _Message, field: int) -> list[str]:
    return [each.decode("latin-1") for each in message.get(field, []) if isinstance(each, bytes)]


def _text(message: _Message, field: int) -> str:
    """The one text in a field. Raises UserError where there is another number of them."""
    texts = _texts(message, field)
    if len(texts) != 1:
        raise damaged(GRAPH, f"it has {len(texts)} names where one belongs")
    return texts[0]


def _parse(kind: str, data: bytes) -> _Message:
    """A message of a kind in `_FIELDS`. Raises UserError where it is damaged, or has a field that
    is not there."""
    message: _Message = {}
    for field, content in _fields(data):
        inner = _FIELDS[kind].get(field)
        if inner is None:
            raise UserError(f"{GRAPH}: field {field} of its {kind}: no such field in a package")
        if inner and isinstance(content, int):
            raise damaged(GRAPH, f"its {inner} is a number")
        value = _parse(inner, content) if inner and isinstance(content, bytes) else content
        message.setdefault(field, []).append(value)
    return message


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message as protobuf stores them: each one's number and content."""
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        field, wire = key >> 3, key & 7
        if wire not in (0, 2, 5):  # numbers of eight bytes and groups, which our fields are not
            raise damaged(GRAPH, f"it has a field of type {wire}")
        value, at = (4, at) if wire == 5 else _number(data, at)
        if wire == 0:
            yield field, value
            continue
        if at + value > len(data):
            raise damaged(GRAPH, "it ends within a field")
        yield field, data[at : at + value]
        at += value


def _number(data: Sequence[int], at: int) -> tuple[int, int]:
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
