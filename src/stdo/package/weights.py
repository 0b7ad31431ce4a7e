"""weights.bin: the networks, quantised and range-coded.

    parts: header │ network 0 │ network 1 │ …     every network whole, or
           header │ base │ delta 0 │ delta 1 │ …  one network and what each chunk changes in it: in
                                                  the base, or, of single weights, in the network
                                                  before it (`stdo.package.updates`)

Each part is coded alone and in order, so a player that has the first bytes can use the first
networks. At 32 and 16 bits the numbers stand as they are (float32, float16). Below, every row of a
weight (all that makes one output channel) is ``symbol · step`` with a step of its own, float16, and
whole symbols of at most ``2^(bits-1) - 1`` either way; biases are float16. Symbols are range-coded;
each row names the table that codes it shortest.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, overload

import numpy as np

from stdo.core.networks import PLACES, VALUES, Networks, fold, updated
from stdo.core.types import F32, F64, I64, U8, UserError
from stdo.package import updates
from stdo.package.coding import Symbols, damaged, encoder, join, packed, split, table, unpacking
from stdo.package.delta import Layout, Params
from stdo.package.limits import BITS, MAX_NETWORKS, WEIGHTS

SPREADS = 32
"""Tables of either shape, Laplace and Gauss; a step of a quarter between two costs at most 0.5 % of
the bits."""

Tensors = dict[str, F32]
"""Parameter name -> array, in the order of the network's state."""


def params_of(tensors: Mapping[str, F32]) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a network's parameters, in order."""
    return [(name, tensor.shape) for name, tensor in tensors.items()]


def encode(networks: Networks[F32], bits: int) -> bytes:
    """Code networks with ``bits``, one of `BITS`.

    Raises:
        UserError: Other bits, or weights that these cannot hold.
    """
    if bits not in BITS:
        raise UserError(f"weights.bits={bits}: must be one of {', '.join(map(str, BITS))}")
    params = params_of(networks.bases[0])
    assert all(params_of(tensors) == params for tensors in networks.bases)
    layout = Layout.of(networks, params)
    if networks.deltas and not layout.changes:  # none changes anything: there is nothing to fold
        count = len(networks)
        networks = Networks(list(networks.bases) * count, steps=list(networks.steps) * count)
    steps = networks.steps or [{}] * len(networks.bases)
    parts = [
        _encode_tensors(tensors, bits, step)
        for tensors, step in zip(networks.bases, steps, strict=True)
    ]
    if layout.updates:
        parts += _encode_updates(networks.deltas, params, layout.bits(bits))
        return join([bytes([bits]) + layout.header(params), *parts])
    for delta in networks.deltas:
        rows = {str(i): rows for i, rows in enumerate(layout.rows(delta))}
        parts.append(_encode_tensors(rows, layout.bits(bits), {}) if rows else b"")
    return join([bytes([bits]) + layout.header(params), *parts])


def sizes(data: bytes) -> list[int]:
    """Bytes of each part of weights.bin but the header: of the networks, or of the base and then
    of each delta."""
    return [len(part) for part, _ in split(data, WEIGHTS, MAX_NETWORKS + 2)[1:]]


class Stored(Sequence[Tensors]):
    """The plain networks of weights.bin, float32, deltas folded in; each is decoded when it is
    asked for.

    A few bytes can promise thousands of networks of thousands of tensors. So only those that frames
    need are made.

    Args:
        data: The content of weights.bin.
        params: Names and shapes of one network.
        networks: How many there are.
        bits: Of a weight.
        max_bytes: As if only so many bytes of ``data`` had arrived: the networks that lie whole
            within them, possibly none. None: all.

    Raises:
        UserError: The data does not hold such networks; of the content of one, when that is asked
            for.
    """

    def __init__(
        self,
        data: bytes | memoryview,
        params: Params,
        networks: int,
        bits: int,
        max_bytes: int | None = None,
    ) -> None:
        (header, _), *parts = split(data, WEIGHTS, networks + 2) or [(memoryview(b""), 0)]
        if header[:1] != bytes([bits]):
            raise damaged(WEIGHTS, f"it is not of {bits} bits")
        layout = Layout.read(bytes(header[1:]), params)
        if len(parts) != networks + layout.changes:
            raise damaged(WEIGHTS, f"{len(parts)} parts are not {networks} networks")
        had = [part for part, end in parts if max_bytes is None or end <= max_bytes]
        self._count = len(had[1:] if layout.changes else had)
        plain = lru_cache(1 if layout.changes else _KEPT)(partial(_plain, had, params, bits))
        changed: Callable[[int], Tensors]
        if layout.updates:
            changed = _Updated(plain, had[1:], params, layout.bits(bits))
        else:
            changed = partial(_changed, plain, had[1:], layout, bits)
        self._network = lru_cache(_KEPT)(changed) if layout.changes else plain

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Tensors: ...

    @overload
    def __getitem__(self, index: slice) -> list[Tensors]: ...

    def __getitem__(self, index: int | slice) -> Tensors | list[Tensors]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._network(index)


_KEPT = 16
"""Decoded networks that are kept: several threads ask for the same ones at about the same time."""


def _plain(parts: Sequence[memoryview], params: Params, bits: int, index: int) -> Tensors:
    """A part that holds all tensors of a network."""
    names, shapes = [name for name, _ in params], [tuple(shape) for _, shape in params]
    return dict(zip(names, _decode_tensors(parts[index], shapes, bits), strict=True))


def _changed(
    plain: Callable[[int], Tensors],
    deltas: Sequence[memoryview],
    layout: Layout,
    bits: int,
    index: int,
) -> Tensors:
    """The base, which is part 0, with a delta folded in."""
    if not len(deltas[index]):
        return plain(0)
    rows = _decode_tensors(deltas[index], layout.shapes, layout.bits(bits))
    with np.errstate(all="ignore"):
        folded: Tensors = fold(plain(0), layout.kind, layout.delta(rows))
    if not all(np.isfinite(tensor).all() for tensor in folded.values()):
        raise damaged(WEIGHTS, "a delta leads to numbers that are not finite")
    return folded


class _Updated:
    """The networks of a chain of updates. In rising order each costs one update; going back starts
    again with the base."""

    def __init__(
        self,
        plain: Callable[[int], Tensors],
        updates: Sequence[memoryview],
        params: Params,
        bits: int,
    ) -> None:
        self._plain, self._updates, self._params, self._bits = plain, updates, params, bits
        self._at, self._now = -1, {}  # type: int, Tensors
        self._lock = threading.Lock()

    def __call__(self, index: int) -> Tensors:
        with self._lock:  # several threads ask
            if index < self._at or self._at < 0:
                self._at, self._now = -1, self._plain(0)
            while self._at < index:
                update = _decode_update(self._updates[self._at + 1], self._params, self._bits)
                with np.errstate(all="ignore"):
                    now: Tensors = updated(self._now, update)
                if not all(np.isfinite(tensor).all() for tensor in now.values()):
                    raise damaged(WEIGHTS, "an update leads to numbers that are not finite")
                self._at, self._now = self._at + 1, now
            return dict(self._now)


def decode(
    data: bytes, params: Params, networks: int, bits: int, max_bytes: int | None = None
) -> list[Tensors]:
    """All networks at once; see `Stored`."""
    return list(Stored(data, params, networks, bits, max_bytes))


def steps_of(rows: F32, bits: int) -> F32:
    """The step that lets the greatest weight of each row (rows, n) have the greatest symbol.

    (rows,) float32 that float16 can hold; 0 where a row is all but 0.
    """
    most = np.float32(2 ** (bits - 1) - 1)
    steps: F32 = (np.abs(rows).max(axis=1) / most).astype(np.float16).astype(np.float32)
    return steps


def quantise(rows: F32, step: F32, bits: int) -> Symbols:
    """The nearest symbols, (rows, n). step: of each row, (rows,)."""
    most = 2 ** (bits - 1) - 1
    ratio = np.divide(rows, step[:, None], out=np.zeros_like(rows), where=step[:, None] > 0)
    return np.clip(np.rint(ratio), -most, most).astype(np.int32)


def _encode_tensors(tensors: Mapping[str, F32], bits: int, steps: Mapping[str, F32]) -> bytes:
    """One part. steps: of the weights that have been quantised; the others' are found here."""
    flat = np.concatenate([tensor.ravel() for tensor in tensors.values()])
    if not np.isfinite(flat).all():
        raise UserError("a network holds weights that are not finite: nothing to deliver")
    if bits == 32:
        return bytes(flat.astype("<f4").tobytes())
    if np.abs(flat).max() > np.finfo(np.float16).max:
        raise UserError(f"weights.bits={bits}: a weight of {np.abs(flat).max():g} needs 32 bits")
    if bits == 16:
        return bytes(flat.astype("<f2").tobytes())
    rows = {
        name: tensor.reshape(len(tensor), -1) for name, tensor in tensors.items() if tensor.ndim > 1
    }
    steps = {name: steps.get(name, steps_of(row, bits)) for name, row in rows.items()}
    coded = [quantise(row, steps[name], bits) for name, row in rows.items()]
    spread = np.concatenate([_spreads(symbols, bits) for symbols in coded])
    of_symbol = np.repeat(
        spread, np.concatenate([np.full(len(symbols), symbols.shape[1]) for symbols in coded])
    )
    biases = [tensor for tensor in tensors.values() if tensor.ndim <= 1]
    numbers = np.concatenate(biases + list(steps.values())).astype("<f2").tobytes()
    symbols = np.concatenate([symbols.ravel() for symbols in coded])
    return numbers + spread.tobytes() + _encode_symbols(symbols, of_symbol, bits)


def _encode_updates(deltas: Sequence[Mapping[str, Any]], params: Params, bits: int) -> list[bytes]:
    """A part for each update: places, then values; nothing for no update. What rounding does to a
    weight in one update is made up for by the next one that changes it: errors do not add up."""
    error = np.zeros(sum(math.prod(shape) for _, shape in params), np.float32)
    parts = []
    for update in deltas:
        if not update:
            parts.append(b"")
            continue
        counts, code = updates.encode(update[PLACES], params)
        wanted = update[VALUES] + error[update[PLACES]]
        values = np.split(wanted, np.cumsum(counts)[:-1])
        rows = {
            str(i): part.reshape(shape)
            for i, (part, shape) in enumerate(zip(values, _rows(counts, params), strict=True))
            if len(part)
        }
        parts.append(code + _encode_tensors(rows, bits, {}))
        decoded = _decode_update(memoryview(parts[-1]), params, bits)
        error[update[PLACES]] = wanted - decoded[VALUES]
    return parts


def _decode_update(data: memoryview, params: Params, bits: int) -> dict[str, Any]:
    """The inverse of a part of `_encode_updates`, but for rounding."""
    if not len(data):
        return {}
    counts, places, end = updates.decode(data, params)
    shapes = [shape for shape in _rows(counts, params) if shape[1]]
    values = _decode_tensors(data[end:], shapes, bits)
    return {PLACES: places, VALUES: np.concatenate([rows.ravel() for rows in values])}


def _rows(counts: Sequence[int], params: Params) -> list[tuple[int, int]]:
    """The rows that the values of each tensor are coded in: its own where all of it changes, else
    one."""
    found = []
    for count, (_, shape) in zip(counts, params, strict=True):
        whole = count == math.prod(shape) and len(shape) > 1
        rows = shape[0] if whole else 1
        found.append((rows, count // rows))
    return found


def _decode_tensors(
    data: bytes | memoryview, shapes: Sequence[tuple[int, ...]], bits: int
) -> list[F32]:
    """The inverse of `_encode_tensors`, but for rounding."""
    sizes = [math.prod(shape) for shape in shapes]
    order = list(range(len(shapes)))
    if bits >= 16:
        values = _numbers(data, sum(sizes), bits)
    else:
        order.sort(key=lambda i: len(shapes[i]) > 1)  # biases first
        biases = sum(size for size, shape in zip(sizes, shapes, strict=True) if len(shape) <= 1)
        values = _decode_rows(data, biases, [shape for shape in shapes if len(shape) > 1], bits)
    parts = np.split(values, np.cumsum([sizes[i] for i in order])[:-1])
    placed = dict(zip(order, parts, strict=True))
    return [placed[i].reshape(shape) for i, shape in enumerate(shapes)]


def _decode_rows(
    data: bytes | memoryview, biases: int, shapes: Sequence[tuple[int, ...]], bits: int
) -> F32:
    """All biases, and all weights of these shapes, one after another."""
    rows = sum(shape[0] for shape in shapes)
    steps_at, spread_at = 2 * biases, 2 * (biases + rows)
    spread = np.frombuffer(data[spread_at : spread_at + rows], np.uint8)
    if len(spread) != rows or (rows and spread.max() >= 2 * SPREADS):
        raise damaged(WEIGHTS, "a row names no table")
    lengths = np.repeat(
        [math.prod(shape[1:]) for shape in shapes], [shape[0] for shape in shapes]
    ).astype(np.int64)
    symbols = _decode_symbols(data[spread_at + rows :], spread, lengths, bits)
    steps = _numbers(data[steps_at:spread_at], rows, 16)
    symbols *= np.repeat(steps, lengths)
    return np.concatenate([_numbers(data[:steps_at], biases, 16), symbols])


def _numbers(data: bytes | memoryview, count: int, bits: int) -> F32:
    """``count`` finite numbers of 32 or 16 bits."""
    if len(data) != count * bits // 8:
        raise damaged(WEIGHTS, f"{len(data)} bytes where {count * bits // 8} are needed")
    numbers = np.frombuffer(data, f"<f{bits // 8}").astype(np.float32)
    if not np.isfinite(numbers).all():
        raise damaged(WEIGHTS, "a number is not finite")
    return numbers


@lru_cache
def _tables(bits: int) -> F64:
    """Odds of the symbols for each spread, (2 · SPREADS, 2^bits - 1): first Laplace, then Gauss,
    narrow to wide.

    Made by multiplication alone, so that every machine makes the same.
    """
    most = 2 ** (bits - 1) - 1
    width = np.cumprod(np.full(SPREADS, 1.3)) * 0.05
    fall = np.repeat((width / (1 + width))[:, None], most, axis=1)
    square = (width * width / (0.5 + width * width))[:, None]
    # exp(-x²/2w²) falls by a factor from one whole number to the next, and that factor falls by a
    # fixed one itself
    steepening = np.cumprod(
        np.concatenate([square, np.repeat(square * square, most - 1, axis=1)], axis=1), axis=1
    )
    halves = np.cumprod(np.concatenate([fall, steepening]), axis=1)
    return np.concatenate([halves[:, ::-1], np.ones((2 * SPREADS, 1)), halves], axis=1)


def _spreads(symbols: Symbols, bits: int) -> U8:
    """The table that codes each row of symbols shortest, (rows,)."""
    odds = _tables(bits)
    price = -np.log2(np.maximum(odds / odds.sum(axis=1, keepdims=True), 2.0**-24)).T
    counts = np.stack(
        [np.bincount(row, minlength=odds.shape[1]) for row in symbols + odds.shape[1] // 2]
    )
    cheapest: U8 = (counts @ price).argmin(axis=1).astype(np.uint8)
    return cheapest


def _encode_symbols(symbols: Symbols, spread: U8, bits: int) -> bytes:
    """Code symbols (n,), each by its table: table after table, so that each is set up once."""
    order = np.argsort(spread, kind="stable")
    coder, at = encoder(), 0
    for number, count in enumerate(np.bincount(spread, minlength=2 * SPREADS).tolist()):
        if count:
            part = symbols[order[at : at + count]] + 2 ** (bits - 1) - 1
            coder.encode(part.astype(np.int32), table(_tables(bits)[number]))
            at += count
    return packed(coder)


def _decode_symbols(data: bytes | memoryview, spread: U8, lengths: I64, bits: int) -> F32:
    """The inverse of `_encode_symbols`, as float32. spread, lengths: table and number of symbols of
    each row."""
    odds = _tables(bits)
    cheapest = -np.log2(odds.max(axis=1) / odds.sum(axis=1))
    # Before anything is made of that size
    if 8 * len(data) + 64 < float(lengths @ cheapest[spread]):
        raise damaged(WEIGHTS, "less data than its symbols need")
    of_symbol = np.repeat(spread, lengths)
    symbols = np.empty(len(of_symbol), np.float32)
    with unpacking(data, WEIGHTS) as decoder:
        for number in np.unique(spread):  # masks rather than an order of 8 bytes per symbol
            here = of_symbol == number
            symbols[here] = decoder.decode(table(odds[number]), int(np.count_nonzero(here)))
    symbols -= np.float32(2 ** (bits - 1) - 1)
    return symbols
