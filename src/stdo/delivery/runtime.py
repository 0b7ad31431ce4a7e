"""Networks on the viewer's device, by OpenVINO: windows of pixels in, patches of pixels out. No torch here.

Windows of one network go through it `BATCH` at a time, on one core: larger batches are no quicker, batches whose size
is left open are slower, and cores that share a batch wait for each other (docs/decisions/0010-runtime.md).
"""

import contextlib
import functools
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence

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
    "GroupConvolution", "Multiply", "PRelu", "Pad", "Parameter", "Relu", "Reshape", "Result", "Round", "ShapeOf",
    "Subtract", "Transpose", "VariadicSplit",
}  # fmt: skip
"""What a backbone is made of, between pixels, as OpenVINO reads it. Others are refused: packages come from anywhere."""
_MAX_HELD = 2**27
"""Numbers that the steps of a network may hold at once for one window; 512 MiB."""
_BATCHED = 2**24
"""Numbers held by a batch up to which batches pay; where windows hold more they go one by one."""
_HELD_PER_THREAD = 2**25
"""Numbers for each thread that all networks together may hold; never less than `_MAX_HELD` in all. Beyond it, fewer
windows are computed at once and fewer networks stay ready."""
_LARGE = 2**25
"""Numbers that a window should hold at most, where there is a choice: 128 MiB."""
_MAX_MACS = 2**41
"""Multiplications for one window: half a minute on two cores."""


@functools.cache
def core() -> ov.Core:
    """The one of this process, kept to its end: each gives the main thread another stack for its signal handlers and
    takes it away again, and where two did not end in the reverse order, the next Ctrl-C was a segmentation fault."""
    return ov.Core()


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
        self._core = core()
        if device not in self._core.available_devices:
            raise UserError(f"device={device}: must be one of {', '.join(self._core.available_devices)}")
        self._graph, self._weights, self._scale = graph, weights, scale
        self._threads, self._device, self._resident = threads, device, resident
        self._settings: dict[str, object] = {"INFERENCE_PRECISION_HINT": PRECISIONS[precision]}
        if device == "CPU":  # networks take turns; pinned, all would wait for the same cores
            self._settings |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
        self._ready: OrderedDict[tuple[int, _Size], _Lazy] = OrderedDict()
        self._numbers_of: dict[tuple[int, int], int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._weights)

    def prepare(self, index: int, count: int, window: tuple[int, int]) -> None:
        """Make network ``index`` ready for ``count`` windows of a height and width, which takes a tenth of a second."""
        for size, _ in self._parts(count, *window):
            self._pool(index, size)

    def run(self, index: int, windows_NHWC: U8) -> U8:
        """Patches that network ``index`` makes of windows, rounded to 8 bit.

        windows_NHWC: uint8 (N, h, w, 3), C-contiguous. Returns uint8 (N, scale·h, scale·w, 3).
        """
        count, height, width, _ = windows_NHWC.shape
        out_NHWC = np.empty((count, height * self._scale, width * self._scale, 3), np.uint8)
        for size, starts in self._parts(count, height, width):
            with self._pool(index, size).request() as request:
                for at in starts:
                    batch = slice(at, at + size[0])
                    out_NHWC[batch] = request.infer([windows_NHWC[batch]], share_inputs=True, share_outputs=True)[0]
        return out_NHWC

    @property
    def largest(self) -> int:
        """LR pixels of a window above which the memory of one window is more than quickness is worth."""
        side = 64
        return _LARGE * side * side // self._numbers(side, side) if self._weights else _LARGE

    def _parts(self, count: int, height: int, width: int) -> list[tuple["_Size", range]]:
        """How ``count`` windows are divided: sizes of batches, and where those begin."""
        most = BATCH if BATCH * self._numbers(height, width) <= _BATCHED else 1
        batched = count - count % most
        parts = [((most, height, width), range(0, batched, most)), ((1, height, width), range(batched, count))]
        return [(size, starts) for size, starts in parts if starts]

    def _numbers(self, height: int, width: int) -> int:
        """What a network holds for one window of that size; all networks are alike in this."""
        with self._lock:
            if (height, width) not in self._numbers_of:
                self._numbers_of[height, width] = _held(self._model(0, (1, height, width)))
            return self._numbers_of[height, width]

    def _requests(self, size: "_Size") -> int:
        """How many windows or batches of a size may be computed at once, in every network."""
        batch, height, width = size
        return max(1, min(self._threads, self._budget // (batch * self._numbers(height, width) * len(self._weights))))

    @property
    def _budget(self) -> int:
        return max(_MAX_HELD, self._threads * _HELD_PER_THREAD)

    def _pool(self, index: int, size: "_Size") -> "_Pool":
        batch, height, width = size
        most = self._budget // (batch * self._numbers(height, width) * self._requests(size))
        with self._lock:
            lazy = self._ready.setdefault((index, size), _Lazy())
            self._ready.move_to_end((index, size))
            if len(self._ready) > max(1, min(self._resident, most)):
                self._ready.popitem(last=False)
        return lazy(functools.partial(self._made, index, size))

    def _made(self, index: int, size: "_Size") -> "_Pool":
        model, requests = self._model(index, size), self._requests(size)
        with _complaints():
            settings = self._settings | {"NUM_STREAMS": requests}
            return _Pool(self._core.compile_model(model, self._device, settings), requests)

    def _model(self, index: int, size: "_Size") -> ov.Model:
        """Network ``index`` for windows of that size, checked."""
        batch, height, width = size
        with _complaints():
            model = _bound(self._core.read_model(self._graph), self._weights[index], [batch, 3, height, width])
            model = _on_pixels(model, [*size, 3])
            _check_steps(model)
            expected = [batch, height * self._scale, width * self._scale, 3]
            if model.output(0).shape != ov.Shape(expected):
                raise UserError(f"graph.onnx: its result is {model.output(0).shape}: must be {expected}")
            return model


@contextlib.contextmanager
def _complaints() -> Iterator[None]:
    """Whatever OpenVINO says of a graph becomes one line."""
    try:
        yield
    except UserError:
        raise
    except (RuntimeError, ValueError, OverflowError) as error:  # also where its names are no text
        raise UserError(f"graph.onnx: damaged, or its weights do not fit ({_first_line(error)})") from error


_Size = tuple[int, int, int]
"""Windows that go through a network at once, their height and width."""


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

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: _Pool | None = None

    def __call__(self, make: Callable[[], _Pool]) -> _Pool:
        with self._lock:
            self._pool = self._pool or make()
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
    """Raise UserError for a graph that is none of a backbone: other operations, or more work than one may have."""
    work = 0.0
    for step in model.get_ordered_ops():
        if step.get_type_name() not in _OPERATIONS:
            raise UserError(f"graph.onnx: step {step.get_type_name()}: must be one of {', '.join(sorted(_OPERATIONS))}")
        if any(output.get_partial_shape().is_dynamic for output in step.outputs()):
            raise UserError("graph.onnx: a step's size does not follow from the window's")
        if step.get_type_name().endswith("Convolution"):
            results, (_, weights) = _count(step.outputs()), step.input_values()
            work += results * _count([weights]) / step.output(0).shape[1]
    batch = model.input(0).shape[0]
    if _held(model) > batch * _MAX_HELD:
        raise UserError(f"graph.onnx: its steps hold more than {_MAX_HELD} numbers at once for a window")
    if work > batch * _MAX_MACS:
        raise UserError(f"graph.onnx: {work / batch:.3g} multiplications for a window: must be at most {_MAX_MACS:.3g}")


def _held(model: ov.Model) -> int:
    """How many numbers are in memory at once, at most, when steps run in order. Weights are not counted."""
    steps = [step for step in model.get_ordered_ops() if step.get_type_name() != "Constant"]
    sources = [{value.get_node().get_name() for value in step.input_values()} for step in steps]
    last = {name: at for at, names in enumerate(sources) for name in names}
    held: dict[str, float] = {}
    most = 0.0
    for at, (step, names) in enumerate(zip(steps, sources, strict=True)):
        done = [name for name in names if last[name] == at]
        if step.get_type_name() in ("Relu", "PRelu"):  # in place
            for name in done:
                held.pop(name, None)
        held[step.get_name()] = _count(step.outputs())
        most = max(most, sum(held.values()))
        for name in done:
            held.pop(name, None)
    return max(1, round(most))


def _count(values: Sequence[ov.Output]) -> float:
    """Of all values together. As float: sides of a hostile graph have products beyond 64 bits."""
    return float(sum(np.prod(tuple(value.get_shape()), dtype=float) for value in values))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    shown = "".join(each if each.isprintable() else "?" for each in lines[-1]) if lines else type(error).__name__
    return shown[:160]
