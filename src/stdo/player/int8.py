"""Convolutions in 8 bits: inputs in 256 levels of their range, weights in 127 either way.

x86 processors without VNNI add pairs of products in 16 bits, which overflow; there weights have 63
steps. The server has seen every frame there is, so the ranges in a package are no estimates: they
hold all that is read in fp32.
"""

import threading
from collections.abc import Mapping, Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as op

from stdo.core.types import F32, UserError
from stdo.package.manifest import Range, Ranges
from stdo.player.model import PICTURE, TRANSPOSED, complaints

LEVELS = 256
WEIGHT_LEVELS, FEWER_LEVELS = 255, 127
_LEAST = 1e-12
"""Rows of weights that are all zero have a step nevertheless."""
_PICTURE: Range = (0.0, 1.0)
"""Of pixels: their 256 levels stay as they are."""


class Observed:
    """What the convolutions of networks read, gathered while they run; threads may share one."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._ends: dict[int, F32] = {}
        self._lock = threading.Lock()

    def watched(self, model: ov.Model) -> ov.Model:
        """The model with a second result, for `add`. All models have the same convolutions."""
        convolutions = _convolutions(model)
        self._names = [name for name, _ in convolutions]
        sources = [_reads(each).get_source_output() for _, each in convolutions]
        axes, one = op.constant(np.arange(4)), op.constant(np.array([1]))
        ends = [
            op.reshape(end(each, axes), one, False).output(0)
            for each in sources
            for end in (op.reduce_min, op.reduce_max)
        ]
        results = [model.get_results()[0], op.result(op.concat(ends, 0))]
        return ov.Model(results, model.get_parameters(), model.get_friendly_name())

    def add(self, network: int, ends: F32) -> None:
        """ends: smallest and largest number of each convolution in turn."""
        with self._lock:
            seen = self._ends.setdefault(network, ends.copy())
            np.minimum(seen[::2], ends[::2], out=seen[::2])
            np.maximum(seen[1::2], ends[1::2], out=seen[1::2])

    def ranges(self, networks: int, names: Sequence[str]) -> Ranges:
        """Of so many networks' convolutions with these weights, to six digits; (0, 0) where one was
        never used, or is none of those that int8 rounds."""
        return tuple(
            tuple(self._range(network, name) for name in names) for network in range(networks)
        )

    def _range(self, network: int, name: str) -> Range:
        if network not in self._ends or name not in self._names:
            return 0.0, 0.0
        low, high = self._ends[network].reshape(-1, 2)[self._names.index(name)].tolist()
        return float(f"{low:.6g}"), float(f"{high:.6g}")


def weight_levels(core: ov.Core, device: str, settings: Mapping[str, object]) -> int:
    """How many levels weights may have there so that sums of products are right: tried on the
    largest ones."""
    right = np.allclose(_largest_sums(core, device, settings, WEIGHT_LEVELS), _SUM, rtol=0.01)
    return WEIGHT_LEVELS if right else FEWER_LEVELS


_SUM = 16 * 3 * 3


def _largest_sums(core: ov.Core, device: str, settings: Mapping[str, object], levels: int) -> F32:
    """Sums of the largest weights times the largest numbers, as they come out there; each should be
    `_SUM`."""
    ones = np.ones((1, 16, 8, 8), np.float32)
    read, weights = (
        op.parameter(ones.shape, np.float32),
        op.constant(np.ones((16, 16, 3, 3), np.float32), name="w"),
    )
    convolution = op.convolution(read, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    model = quantised(
        ov.Model([op.result(convolution)], [read], "largest"), {"w": (0.0, 1.0)}, levels
    )
    with complaints():
        sums: F32 = core.compile_model(model, device, dict(settings))([ones])[0]
    return sums


def quantised(model: ov.Model, ranges: Mapping[str, Range], levels: int) -> ov.Model:
    """The model with convolutions in 8 bits, in place.

    Args:
        ranges: By the name of a convolution's weights.
        levels: Of weights, see `weight_levels`.
    """
    convolutions = _convolutions(model)
    reads = [_reads(each) for _, each in convolutions]
    # All of them first: two may read through one padding
    sources = [read.get_source_output() for read in reads]
    for (name, convolution), read, source in zip(convolutions, reads, sources, strict=True):
        low, high = (
            _PICTURE if source.get_node().get_friendly_name() == PICTURE else _found(ranges, name)
        )
        read.replace_source_output(_rounded(source, *_around_zero(low, high), LEVELS))
        weight = convolution.input_value(1)
        outputs = 1 if convolution.get_type_name() == TRANSPOSED else 0
        others = tuple(axis for axis in range(4) if axis != outputs)
        furthest = np.maximum(np.abs(weight.get_node().data).max(others, keepdims=True), _LEAST)
        convolution.input(1).replace_source_output(_rounded(weight, -furthest, furthest, levels))
    model.validate_nodes_and_infer_types()
    return model


def _convolutions(model: ov.Model) -> list[tuple[str, ov.Node]]:
    """Each with the name of its weights. Bicubic enlargement is none: it is a group convolution."""
    steps = (
        step
        for step in model.get_ordered_ops()
        if step.get_type_name() in ("Convolution", TRANSPOSED)
    )
    return [(step.input_value(1).get_node().get_friendly_name(), step) for step in steps]


def _reads(convolution: ov.Node) -> ov.Input:
    """Where what a convolution reads comes in, before its edges are repeated."""
    read = convolution.input(0)
    while read.get_source_output().get_node().get_type_name() == "Pad":
        read = read.get_source_output().get_node().input(0)
    return read


def _found(ranges: Mapping[str, Range], name: str) -> Range:
    if name not in ranges:
        raise UserError(
            f"graph.onnx: {ascii(name)[1:-1]:.40}: a convolution whose range the package does "
            "not tell"
        )
    return ranges[name]


def _around_zero(low: float, high: float) -> Range:
    """The range with 0 in it, moved by half a step at most so that 0 is a level: as what surrounds
    a padded patch is."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / (LEVELS - 1) or 1.0
    below = round(-low / step)
    return -below * step, (LEVELS - 1 - below) * step


def _rounded(value: ov.Output, low: float | F32, high: float | F32, levels: int) -> ov.Output:
    ends = [
        op.constant(np.asarray(end, np.float32).reshape(np.shape(end) or (1, 1, 1, 1)))
        for end in (low, high)
    ]
    return op.fake_quantize(value, *ends, *ends, levels).output(0)
