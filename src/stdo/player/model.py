"""Build the OpenVINO model of one network for a size of padded patch, and check its cost."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as op

from stdo.core.types import F32, UserError

_OPERATIONS = {
    "Add", "Broadcast", "Clamp", "Concat", "Constant", "Convert", "Convolution",
    "ConvolutionBackpropData",
    "DepthToSpace", "Divide", "GroupConvolution", "Multiply", "PRelu", "Pad", "Parameter",
    "Relu", "Reshape", "Result",
    "Round", "ShapeOf", "Subtract", "Transpose", "VariadicSplit",
}  # fmt: skip
"""What a backbone is made of, between pixels, as OpenVINO reads it. Others are refused: packages
come from anywhere."""
TRANSPOSED = "ConvolutionBackpropData"
"""A transposed convolution."""
PICTURE = "lr"
"""Name of what the pixels become: the graph's input."""
MAX_HELD = 3 * 2**25
"""Numbers that the steps of a network may hold at once for one padded patch, whatever else a player
has; 384 MiB."""
MAX_MACS = 2**44
"""Multiply-accumulates for one frame, all its padded patches together: five minutes on one core."""


def network_model(
    core: ov.Core,
    graph: bytes,
    weights: Mapping[str, F32],
    scale: int,
    padded_patch: tuple[int, int],
) -> ov.Model:
    """The model of a network, from a padded patch to a patch: uint8 (1, h, w, 3) to uint8 (1,
    scale·h, scale·w, 3).

    Args:
        graph: ONNX; input ``lr`` (N, 3, h, w) and one for each tensor of ``weights``, by name.

    Raises:
        UserError: For a graph that is damaged or is no backbone's, and for weights that do not fit
            it.
    """
    height, width = padded_patch
    with complaints():
        model = _bound(core.read_model(graph), weights, [1, 3, height, width])
        model = _on_pixels(model, [1, height, width, 3])
        _check_steps(model)
        expected = [1, height * scale, width * scale, 3]
        if model.output(0).shape != ov.Shape(expected):
            raise UserError(
                f"graph.onnx: its result is {model.output(0).shape}: must be {expected}"
            )
        return model


@contextlib.contextmanager
def complaints() -> Iterator[None]:
    """Whatever OpenVINO says of a graph becomes one line."""
    try:
        yield
    except UserError:
        raise
    except (RuntimeError, ValueError, OverflowError) as error:  # also where its names are no text
        # A thread's stack
        if any(words in str(error) for words in ("alloc", "Resource temporarily unavailable")):
            raise MemoryError from error
        raise UserError(
            f"graph.onnx: damaged, or its weights do not fit ({_first_line(error)})"
        ) from error


def _bound(model: ov.Model, weights: Mapping[str, F32], shape: list[int]) -> ov.Model:
    """The model with its weights in place and for inputs of a fixed shape."""
    for parameter in model.get_parameters():
        name = parameter.get_friendly_name()
        if name in weights:
            array = weights[name]
            # The slopes of a PRelu
            if parameter.get_partial_shape() == ov.PartialShape([1, array.size, 1, 1]):
                array = array.reshape(1, -1, 1, 1)
            if parameter.get_partial_shape() != ov.PartialShape(array.shape):
                raise UserError(
                    f"graph.onnx: {name} is {parameter.get_partial_shape()}: must be {array.shape}"
                )
            constant = op.constant(array, name=name)
            for target in parameter.output(0).get_target_inputs():
                target.replace_source_output(constant.output(0))
            model.remove_parameter(parameter)
    left = [parameter.get_friendly_name() for parameter in model.get_parameters()]
    if left != [PICTURE] or len(model.outputs) != 1:
        raise UserError(
            f"graph.onnx: its inputs but for weights are {left}: must be [{PICTURE!r}], and "
            "one output"
        )
    model.reshape(shape)
    return model


def _on_pixels(model: ov.Model, shape: list[int]) -> ov.Model:
    """The model from uint8 (N, h, w, 3) to uint8 (N, scale·h, scale·w, 3), as stdo.models.pixels
    converts them."""
    pixels = op.parameter(shape, np.uint8, name="pixels")
    image = op.divide(op.convert(pixels, "f32"), op.constant(np.float32(255)))
    image = op.transpose(image, op.constant(np.array([0, 3, 1, 2])), name=PICTURE)
    for target in model.get_parameters()[0].output(0).get_target_inputs():
        target.replace_source_output(image.output(0))
    result = model.get_results()[0].input_value(0)
    levels = op.round(op.multiply(result, op.constant(np.float32(255))), "half_to_even")
    levels = op.convert(op.clamp(levels, 0.0, 255.0), "u8")
    return ov.Model(
        [op.result(op.transpose(levels, op.constant(np.array([0, 2, 3, 1]))))], [pixels], "network"
    )


def macs(model: ov.Model) -> float:
    """Multiply-accumulates for one padded patch.

    A convolution multiplies all that makes one channel by each result, a transposed one all that
    one channel makes by each number that it reads.
    """
    work = 0.0
    for step in model.get_ordered_ops():
        kind = step.get_type_name()
        if kind in (TRANSPOSED, "Convolution", "GroupConvolution"):
            read, weights = step.input_values()[:2]
            each = read if kind == TRANSPOSED else step.output(0)
            work += _count([each]) * _count([weights]) / each.shape[1]
    return work


def _check_steps(model: ov.Model) -> None:
    """Raise UserError for a graph that is none of a backbone: other operations, or more work than
    one may have."""
    for step in model.get_ordered_ops():
        if step.get_type_name() not in _OPERATIONS:
            raise UserError(
                f"graph.onnx: step {step.get_type_name()}: must be one of "
                f"{', '.join(sorted(_OPERATIONS))}"
            )
        if any(output.get_partial_shape().is_dynamic for output in step.outputs()):
            raise UserError("graph.onnx: a step's size does not follow from the padded patch's")
    check_held(held(model), 4 * MAX_HELD)
    check_work(macs(model))


def check_held(numbers: int, memory: int) -> None:
    """Raise UserError for more numbers of four bytes than fit into some bytes of memory."""
    if 4 * numbers > memory:
        raise UserError(
            f"graph.onnx: its steps hold {numbers >> 18} MiB at once for a padded patch: "
            f"must be at most {memory >> 20} MiB"
        )


def check_work(work: float) -> None:
    """Raise UserError for more multiply-accumulates than a frame may cost."""
    if work > MAX_MACS:
        raise UserError(f"graph.onnx: {work:.3g} MACs for a frame: must be at most {MAX_MACS:.3g}")


def held(model: ov.Model) -> int:
    """How many numbers are in memory at once, at most, when steps run in order. Weights are not
    counted."""
    steps = [step for step in model.get_ordered_ops() if step.get_type_name() != "Constant"]
    sources = [{value.get_node().get_name() for value in step.input_values()} for step in steps]
    last = {name: at for at, names in enumerate(sources) for name in names}
    alive: dict[str, float] = {}
    most = 0.0
    for at, (step, names) in enumerate(zip(steps, sources, strict=True)):
        done = [name for name in names if last[name] == at]
        if step.get_type_name() in ("Relu", "PRelu"):  # in place
            for name in done:
                alive.pop(name, None)
        alive[step.get_name()] = _count(step.outputs())
        most = max(most, sum(alive.values()) + _scratch(step))
        for name in done:
            alive.pop(name, None)
    return max(1, round(most))


def _scratch(step: ov.Node) -> float:
    """Numbers that a step makes beside its result.

    A transposed convolution with one output channel makes all products of a filter before it adds
    them up (measured: 684 MiB for 200x200 numbers and 65x65 weights), elsewhere and on other
    processors more of them may do so.
    """
    if step.get_type_name() != TRANSPOSED:
        return 0.0
    read, weights = step.input_values()[:2]
    return _count([read]) / float(read.shape[1]) * _count([weights]) / float(weights.shape[0])


def _count(values: Sequence[ov.Output]) -> float:
    """Of all values together. As float: sides of a hostile graph have products beyond 64 bits."""
    return float(sum(np.prod(tuple(value.get_shape()), dtype=float) for value in values))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    return "".join(each if each.isprintable() else "?" for each in last)[:160]
