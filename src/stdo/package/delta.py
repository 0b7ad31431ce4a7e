"""Deltas of a package as rows of numbers, and back.

`stdo.core.networks` says what deltas are. All of a package are of one kind and change the same
convolutions, or nothing; all low-rank differences are of one rank, as far as a matrix has it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from stdo.core.networks import Delta, Networks, sides_of
from stdo.core.types import F32
from stdo.package.coding import damaged
from stdo.package.limits import WEIGHTS

MODULATION_BITS = 8
"""At least: a modulation is under 1 % of its network and multiplies all of it, no place to save
bits."""

LOWRANK_BITS = 4
"""At most: fewer bits for more ranks are worth more (docs/decisions/0018)."""

UPDATE_BITS = 6
"""At most: what an update adds is a small part of a weight, whose own step is about as large."""

Params = Sequence[tuple[str, Sequence[int]]]
"""Name and shape of every parameter of one plain network."""


@dataclass(frozen=True)
class Layout:
    """What the deltas of a package change.

    Attributes:
        convs: Name and shape of the weight of each convolution; none where there are no deltas.
        rank: Of low-rank differences, up to 255; 0: they are modulations.
        of_inputs: Whether modulations change what convolutions see.
        updates: Whether single weights change instead, see `stdo.package.updates`.
    """

    convs: Params = ()
    rank: int = 0
    of_inputs: bool = False
    updates: bool = False

    @classmethod
    def of(cls, networks: Networks[F32], params: Params) -> "Layout":
        """That of the deltas of some networks."""
        some = next((delta for delta in networks.deltas if delta), {})
        if networks.kind is Delta.UPDATE:
            return cls(updates=bool(some))
        low_rank = networks.kind is Delta.LOW_RANK
        rank = max(map(len, some.values()), default=0) if low_rank else 0
        convs = [conv for conv in _convs(params) if conv[0] in some]
        return cls(convs, rank, networks.kind is Delta.INPUTS)

    @property
    def changes(self) -> bool:
        """Whether there are deltas."""
        return self.updates or bool(self.convs)

    @property
    def kind(self) -> Delta:
        """Of the deltas, where there are any."""
        if self.updates:
            return Delta.UPDATE
        if self.rank:
            return Delta.LOW_RANK
        return Delta.INPUTS if self.of_inputs else Delta.MODULATION

    @classmethod
    def read(cls, header: bytes, params: Params) -> "Layout":
        """The inverse of `header`. Raises UserError where there are no such convolutions, or cannot
        be such deltas."""
        flags = -(-len(params) // 8)
        if len(header) not in (0, flags, flags + 1):
            raise damaged(WEIGHTS, f"its header is not that of {len(params)} tensors")
        mask = (
            np.unpackbits(np.frombuffer(header, np.uint8, min(flags, len(header))))
            .astype(bool)
            .tolist()
        )
        rank, of_inputs = sum(header[flags:]), header[flags:] == b"\0"
        if of_inputs and not any(mask):
            return cls(updates=True)
        shapes = {name: tuple(shape) for name, shape in params}
        convs = [conv for conv, changed in zip(_convs(params), mask, strict=False) if changed]
        for name, _ in convs:
            weight = shapes.get(f"{name}.weight") or (1,)
            bias = shapes.get(f"{name}.bias")
            if rank:  # transposed convolutions have their outputs second
                good = len(weight) == 4 and bias in (weight[:1], weight[1:2])
            else:
                good = bias == weight[:1] and weight[0] % 2 == 0
                if of_inputs:
                    good = len(weight) == 4 and bias == weight[:1] and weight[1] % 2 == 0
            if not good:
                raise damaged(WEIGHTS, f"{name} cannot be {'changed' if rank else 'modulated'}")
        return cls(convs, rank, of_inputs)

    def header(self, params: Params) -> bytes:
        """Nothing without deltas; else a bit for each of ``params``, and a byte with the rank, or
        0 for modulations of inputs. Updates have no bit set and 0."""
        changed = {f"{name}.weight" for name, _ in self.convs}
        mask = np.packbits([name in changed for name, _ in params]).tobytes()
        more = bytes([self.rank] if self.rank or self.of_inputs or self.updates else [])
        return mask + more if self.changes else b""

    def bits(self, bits: int) -> int:
        """The bits of a delta's numbers where weights have ``bits``."""
        if bits >= 16:
            return bits
        if self.updates:
            return min(bits, UPDATE_BITS)
        return min(bits, LOWRANK_BITS) if self.rank else max(bits, MODULATION_BITS)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Of each part of `rows`: rows and their length."""
        return list(chain(*(self._shapes(weight) for _, weight in self.convs)))

    def rows(self, delta: Mapping[str, F32]) -> list[F32]:
        """A delta as rows of numbers; those of one row are of one kind and share a step. An empty
        one has none."""
        return (
            list(chain(*(self._rows(delta[name], weight) for name, weight in self.convs)))
            if delta
            else []
        )

    def delta(self, rows: Sequence[F32]) -> dict[str, F32]:
        """The inverse of `rows`."""
        left = iter(rows)
        return {
            name: self._change([next(left) for _ in self._shapes(weight)])
            for name, weight in self.convs
            if rows
        }

    def _rows(self, change: F32, weight: Sequence[int]) -> list[F32]:
        if not self.rank:
            return [change.reshape(len(change), 6).T]
        return np.split(change, [sides_of(weight)[0]], axis=1)

    def _change(self, rows: Sequence[F32]) -> F32:
        if not self.rank:
            return rows[0].T.reshape(-1, 2, 3)
        return np.concatenate(rows, axis=1)

    def _shapes(self, weight: Sequence[int]) -> list[tuple[int, int]]:
        if not self.rank:
            return [(6, weight[self.of_inputs] // 2)]
        high, wide = sides_of(weight)
        rank = min(self.rank, high, wide)
        return [(rank, high), (rank, wide)]


def _convs(params: Params) -> list[tuple[str, Sequence[int]]]:
    """Every parameter as if it were a convolution's weight: the convolution's name, and the
    shape."""
    return [(name.removesuffix(".weight"), shape) for name, shape in params]
