"""Networks on the viewer's device, by OpenVINO: padded patches of pixels in, patches of pixels out.
No torch here.

Padded patches go through a network one by one, each on one core: batches are no quicker, and cores
that share a padded patch wait for each other (docs/decisions/0010-runtime.md).
"""

import contextlib
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import openvino as ov

from stdo.chunks.grid import PatchGrid
from stdo.core.types import F32, SCALES, U8, UserError
from stdo.package.manifest import Range
from stdo.player.devices import usable_device
from stdo.player.graph_check import check_graph
from stdo.player.int8 import Observed, quantised, weight_levels
from stdo.player.model import (
    MAX_HELD,
    check_held,
    check_work,
    complaints,
    held,
    macs,
    network_model,
)

PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""``float32`` gives the server's pixels, to one level. ``bfloat16`` is quicker on CPUs that have
it, to a few levels. ``int8`` (convolutions alone, the rest in fp32) is quicker still, and a little
further off (docs/decisions/0021)."""

WAIT = 600.0
"""Seconds after which a network that others use counts as dead: the largest take half a minute for
each padded patch."""

RESIDENT = 128
"""Networks that are kept ready at once by default; each holds a few MB for every thread."""

_LARGE = 3 * 2**23
"""Numbers that a padded patch should hold at most, where there is a choice: 96 MiB."""

_Size = tuple[int, int]
"""Height and width in LR pixels."""


@functools.cache
def core() -> ov.Core:
    """The one of this process, kept to its end: each gives the main thread another stack for its
    signal handlers and takes it away again, and where two did not end in the reverse order, the
    next Ctrl-C was a segmentation fault."""
    return ov.Core()


class Runtime:
    """The networks of a package, made ready when they are first used. Threads may share one.

    Args:
        graph: ONNX; input ``lr`` (N, 3, h, w) and one for each tensor of ``weights``.
        weights: Of each network, by name.
        scale: 2, 3 or 4.
        threads: How many padded patches are computed at once.
        precision: One of `PRECISIONS`.
        device: OpenVINO's name of it.
        resident: How many networks stay ready.
        ranges: For each network what its convolutions read, by the name of their weights; ``int8``
            needs them.
        memory: Bytes that the steps of all networks may hold together; beyond it, fewer padded
            patches are computed at once and fewer networks stay ready.
        at_once: How many networks the frames of a part may need; None: all.

    Raises UserError for a graph that is damaged or is no backbone's, weights that do not fit it, a
    precision or a device that is not there.
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
        ranges: Sequence[Mapping[str, Range]] = (),
        memory: int = 4 * MAX_HELD,
        at_once: int | None = None,
    ) -> None:
        assert scale in SCALES and threads >= 1, (scale, threads)
        if precision not in PRECISIONS:
            raise UserError(f"precision={precision}: must be one of {', '.join(PRECISIONS)}")
        if precision == "int8" and not ranges:
            raise UserError(
                "precision=int8: the package does not tell the ranges it needs; deliver it again"
            )
        check_graph(graph)
        self._core = core()
        self._graph, self._weights, self._scale = graph, weights, scale
        self._size = sum(array.size for array in weights[0].values()) if weights else 0
        self._at_once = min(at_once or len(weights), len(weights))
        self._ranges = ranges if precision == "int8" else ()
        self._observed: Observed | None = None
        self._threads, self._resident, self._budget = threads, resident, memory // 4
        self._device, self._settings = usable_device(self._core, device, PRECISIONS[precision])
        self._levels = weight_levels(self._core, device, self._settings) if self._ranges else 0
        self._ready: OrderedDict[tuple[int, _Size], _Pool] = OrderedDict()
        self._costs_of: dict[_Size, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._weights)

    def prepare(self, index: int, padded_patch: _Size) -> None:
        """Make network ``index`` ready for padded patches of a height and width, which takes a
        tenth of a second."""
        with self._request(index, padded_patch):
            pass

    def observe(self) -> Observed:
        """From now on, keep what convolutions read. Only before the first use."""
        assert not self._ready
        self._observed = Observed()
        return self._observed

    def run(self, index: int, windows_NHWC: U8, out_NHWC: U8, members: Iterable[int]) -> None:
        """Write the patches that network ``index`` makes of some padded patches, rounded to 8 bit.

        Args:
            windows_NHWC: uint8 (N, h, w, 3).
            out_NHWC: uint8 (N, scale·h, scale·w, 3), C-contiguous as they are.
            members: Numbers of the padded patches.
        """
        with self._request(index, windows_NHWC.shape[1:3]) as request:
            # in our memory: handed over at each call it would be copied, and looked at for 0.1 ms
            for at in members:
                request.set_input_tensor(ov.Tensor(windows_NHWC[at : at + 1], shared_memory=True))
                request.set_output_tensor(0, ov.Tensor(out_NHWC[at : at + 1], shared_memory=True))
                request.infer(share_outputs=True)
                if self._observed is not None:
                    self._observed.add(index, request.get_output_tensor(1).data)

    @property
    def largest(self) -> int:
        """LR pixels of a padded patch above which the memory of one padded patch is more than
        quickness is worth."""
        side, numbers = 64, min(_LARGE, self._budget // self._threads)
        return numbers * side * side // self._steps((side, side)) if self._weights else numbers

    def check(self, grid: PatchGrid, memory: int) -> None:
        """Raise UserError for frames that take longer, or padded patches that take more memory,
        than they may.

        Args:
            grid: Of the frames.
            memory: Bytes that the steps of a network may hold for one padded patch.
        """
        if self._weights:
            numbers, work = self._costs(grid.padded_patch)
            check_held(numbers, memory)
            check_work(work * grid.patches)

    def _steps(self, padded_patch: _Size) -> int:
        """How many numbers the steps of a network hold for one padded patch of that size; all
        networks are alike in this."""
        return self._costs(padded_patch)[0]

    def _costs(self, padded_patch: _Size) -> tuple[int, float]:
        """Numbers that are held, and multiply-accumulates, for one padded patch."""
        with self._lock:
            if padded_patch not in self._costs_of:
                model = self._model(0, padded_patch)
                self._costs_of[padded_patch] = held(model), macs(model)
            return self._costs_of[padded_patch]

    def _numbers(self, padded_patch: _Size) -> int:
        """What a network holds that is made ready for one thread: steps and weights."""
        return self._steps(padded_patch) + self._size

    def _requests(self, padded_patch: _Size) -> int:
        """How many padded patches of a size may be computed at once, in every network."""
        return max(
            1,
            min(self._threads, self._budget // (self._numbers(padded_patch) * self._at_once)),
        )

    @contextlib.contextmanager
    def _request(self, index: int, padded_patch: _Size) -> Iterator[ov.InferRequest]:
        """Network ``index`` for oneself alone, for the length of a block."""
        pool = self._pool(index, padded_patch)
        request = pool.taken(functools.partial(self._made, index, padded_patch))
        try:
            yield request
        finally:
            pool.give(request)

    def _pool(self, index: int, padded_patch: _Size) -> "_Pool":
        requests = self._requests(padded_patch)
        most = self._budget // (self._numbers(padded_patch) * requests)
        with self._lock:
            pool = self._ready.setdefault((index, padded_patch), _Pool(requests))
            self._ready.move_to_end((index, padded_patch))
            if len(self._ready) > max(1, min(self._resident, most)):
                self._ready.popitem(last=False)
        return pool

    def _made(self, index: int, padded_patch: _Size) -> ov.InferRequest:
        with complaints():
            model = self._model(index, padded_patch)
            if self._ranges:
                model = quantised(model, self._ranges[index], self._levels)
            if self._observed is not None:
                model = self._observed.watched(model)
            return self._core.compile_model(
                model, self._device, self._settings
            ).create_infer_request()

    def _model(self, index: int, padded_patch: _Size) -> ov.Model:
        return network_model(
            self._core, self._graph, self._weights[index], self._scale, padded_patch
        )


class _Pool:
    """A network made ready once for each thread that asks for it at the same time, at most ``left``
    times: with one stream each, which waits for nobody."""

    def __init__(self, left: int) -> None:
        self._left = left
        self._free: list[ov.InferRequest] = []
        self._changed = threading.Condition()

    def taken(self, make: Callable[[], ov.InferRequest]) -> ov.InferRequest:
        """One that is free, a new one, or the next that is given back."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._free or self._left, WAIT):
                raise UserError(f"a network did not answer within {WAIT:g} s")
            if self._free:
                return self._free.pop()
            self._left -= 1
        try:
            return make()
        except BaseException:
            with self._changed:  # whoever waits tries it as well, and says why not
                self._left += 1
                self._changed.notify()
            raise

    def give(self, request: ov.InferRequest) -> None:
        """Give it back."""
        with self._changed:
            self._free.append(request)
            self._changed.notify()
