"""Networks on the viewer's device, by OpenVINO: windows of pixels in, patches of pixels out. No torch here.

Windows of one network go through it `BATCH` at a time, on one core: larger batches are no quicker, batches whose size
is left open are slower, and cores that share a batch wait for each other (docs/decisions/0010-runtime.md).
"""

import contextlib
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import openvino as ov
from openvino import opset13 as op

from stdo.delivery.graph_check import check_graph
from stdo.types import F32, SCALES, U8, UserError

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
"""``float32`` gives the server's pixels, to one level. ``bfloat16`` is quicker on CPUs that have it, to two levels."""

WAIT = 60.0
"""Seconds after which a network that does not answer counts as dead."""

BATCH = 5
"""Windows that go through a network at once; what is left over goes one by one."""

RESIDENT = 128
"""Networks that are kept ready at once by default, each once per size of batch; each holds a few MB."""

_OPERATIONS = {
    "Add", "Broadcast", "Clamp", "Concat", "Constant", "Convert", "Convolution", "DepthToSpace", "Divide",
    "GroupConvolution", "Multiply", "Pad", "Parameter", "Relu", "Reshape", "Result", "Round", "ShapeOf", "Subtract",
    "Transpose", "VariadicSplit",
}  # fmt: skip
"""What a backbone is made of, between pixels, as OpenVINO reads it. Others are refused: packages come from anywhere."""
_MAX_OPERATIONS = 2000
_SMALL = 2**14
"""LR pixels of a window up to which batches pay; larger windows go one by one, which bounds the memory."""
_MAX_VALUES = 2**26
"""Numbers that any single step of a network may put out for one batch."""


class Networks:
    """The networks of a package, made ready when they are first used. Threads may share one.

    graph: ONNX; input ``lr`` (N, 3, h, w) and one for each tensor of ``weights``. weights: of each network, by name.
    scale: 2, 3 or 4. threads: how many windows are computed at once. precision: one of `PRECISIONS`. device: OpenVINO's
    name of it. resident: how many networks stay ready.

    Raises UserError for a graph that is damaged or is no backbone's, weights that do not fit it, a precision or a
    device that is not there.
    """

    def __init__(
        self,
        graph: bytes,
        weights: Sequence[Mapping[str, F32]],
        scale: int,
        threads: int,
        precision: str = "float32",
        device: str = "CPU",
        resident: int = RESIDENT,
    ) -> None:
        assert scale in SCALES and threads >= 1, (scale, threads)
        if precision not in PRECISIONS:
            raise UserError(f"precision={precision}: must be one of {', '.join(PRECISIONS)}")
        check_graph(graph)
        self._core = ov.Core()
        if device not in self._core.available_devices:
            raise UserError(f"device={device}: must be one of {', '.join(self._core.available_devices)}")
        self._graph, self._weights, self._scale = graph, weights, scale
        self._threads, self._device, self._resident = threads, device, resident
        self._settings: dict[str, object] = {"INFERENCE_PRECISION_HINT": PRECISIONS[precision], "NUM_STREAMS": threads}
        if device == "CPU":  # networks take turns; pinned, all would wait for the same cores
            self._settings |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
        self._ready: OrderedDict[tuple[int, _Size], _Lazy] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._weights)

    def prepare(self, index: int, count: int, window: tuple[int, int]) -> None:
        """Make network ``index`` ready for ``count`` windows of a height and width, which takes a tenth of a second."""
        for size, _ in _parts(count, *window):
            self._pool(index, size)

    def run(self, index: int, windows_NHWC: U8) -> U8:
        """Patches that network ``index`` makes of windows, rounded to 8 bit.

        windows_NHWC: uint8 (N, h, w, 3), C-contiguous. Returns uint8 (N, scale·h, scale·w, 3).
        """
        count, height, width, _ = windows_NHWC.shape
        out_NHWC = np.empty((count, height * self._scale, width * self._scale, 3), np.uint8)
        for size, starts in _parts(count, height, width):
            with self._pool(index, size).request() as request:
                for at in starts:
                    batch = slice(at, at + size[0])
                    out_NHWC[batch] = request.infer([windows_NHWC[batch]], share_inputs=True, share_outputs=True)[0]
        return out_NHWC

    def _pool(self, index: int, size: "_Size") -> "_Pool":
        with self._lock:
            lazy = self._ready.setdefault((index, size), _Lazy(partial(self._made, index, size)))
            self._ready.move_to_end((index, size))
            if len(self._ready) > self._resident:
                self._ready.popitem(last=False)
        return lazy()

    def _made(self, index: int, size: "_Size") -> "_Pool":
        batch, height, width = size
        try:
            model = _bound(self._core.read_model(self._graph), self._weights[index], [batch, 3, height, width])
            model = _on_pixels(model, [*size, 3])
            _check_steps(model)
            expected = [batch, height * self._scale, width * self._scale, 3]
            if model.output(0).shape != ov.Shape(expected):
                raise UserError(f"graph.onnx: its result is {model.output(0).shape}: must be {expected}")
            return _Pool(self._core.compile_model(model, self._device, self._settings), self._threads)
        except UserError:
            raise
        except (RuntimeError, ValueError, OverflowError) as error:  # also where its names are no text
            raise UserError(f"graph.onnx: damaged, or its weights do not fit ({_first_line(error)})") from error


_Size = tuple[int, int, int]
"""Windows that go through a network at once, their height and width."""


def _parts(count: int, height: int, width: int) -> list[tuple[_Size, range]]:
    """How ``count`` windows are divided: sizes of batches, and where those begin."""
    most = BATCH if height * width <= _SMALL else 1
    batched = count - count % most
    parts = [((most, height, width), range(0, batched, most)), ((1, height, width), range(batched, count))]
    return [(size, starts) for size, starts in parts if starts]


class _Pool:
    """A network made ready, with as many requests as threads may use it at once."""

    def __init__(self, compiled: ov.CompiledModel, threads: int) -> None:
        self._requests: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()
        for _ in range(threads):
            self._requests.put(compiled.create_infer_request())

    @contextlib.contextmanager
    def request(self) -> Iterator[ov.InferRequest]:
        """A request of one's own for the length of a block."""
        request = self._requests.get(timeout=WAIT)
        try:
            yield request
        finally:
            self._requests.put(request)


class _Lazy:
    """A network that is made ready by the first thread that asks for it, while others make other ones."""

    def __init__(self, make: Callable[[], _Pool]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._pool: _Pool | None = None

    def __call__(self) -> _Pool:
        with self._lock:
            self._pool = self._pool or self._make()
            return self._pool


def _bound(model: ov.Model, weights: Mapping[str, F32], shape: list[int]) -> ov.Model:
    """The model with its weights in place and for inputs of a fixed shape."""
    for parameter in model.get_parameters():
        name = parameter.get_friendly_name()
        if name in weights:
            if parameter.get_partial_shape() != ov.PartialShape(weights[name].shape):
                raise UserError(f"graph.onnx: {name} is {parameter.get_partial_shape()}: must be {weights[name].shape}")
            constant = op.constant(weights[name])
            for target in parameter.output(0).get_target_inputs():
                target.replace_source_output(constant.output(0))
            model.remove_parameter(parameter)
    left = [parameter.get_friendly_name() for parameter in model.get_parameters()]
    if left != ["lr"] or len(model.outputs) != 1:
        raise UserError(f"graph.onnx: its inputs but for weights are {left}: must be ['lr'], and one output")
    model.reshape(shape)
    return model


def _on_pixels(model: ov.Model, shape: list[int]) -> ov.Model:
    """The model from uint8 (N, h, w, 3) to uint8 (N, scale·h, scale·w, 3), as stdo.models.pixels converts them."""
    pixels = op.parameter(shape, np.uint8, name="pixels")
    image = op.divide(op.convert(pixels, "f32"), op.constant(np.float32(255)))
    image = op.transpose(image, op.constant(np.array([0, 3, 1, 2])))
    for target in model.get_parameters()[0].output(0).get_target_inputs():
        target.replace_source_output(image.output(0))
    result = model.get_results()[0].input_value(0)
    levels = op.round(op.multiply(result, op.constant(np.float32(255))), "half_to_even")
    levels = op.convert(op.clamp(levels, 0.0, 255.0), "u8")
    return ov.Model([op.result(op.transpose(levels, op.constant(np.array([0, 2, 3, 1]))))], [pixels], "network")


def _check_steps(model: ov.Model) -> None:
    """Raise UserError for a graph that is none of a backbone: other operations, or more values than one may have."""
    steps = model.get_ordered_ops()
    for step in steps:
        if step.get_type_name() not in _OPERATIONS:
            raise UserError(f"graph.onnx: step {step.get_type_name()}: must be one of {', '.join(sorted(_OPERATIONS))}")
        if any(output.get_partial_shape().is_dynamic for output in step.outputs()):
            raise UserError("graph.onnx: a step's size does not follow from the window's")
        if any(np.prod(tuple(output.shape), dtype=float) > _MAX_VALUES for output in step.outputs()):
            raise UserError(f"graph.onnx: a step has more than {_MAX_VALUES} values")
    if len(steps) > _MAX_OPERATIONS:
        raise UserError(f"graph.onnx: {len(steps)} steps: must be at most {_MAX_OPERATIONS}")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    shown = "".join(each if each.isprintable() else "?" for each in lines[-1]) if lines else type(error).__name__
    return shown[:160]
