"""Labels and networks of a package in parts, numbered through as if it were one.

::

    chunks.bin: part 0 │ part 1 │ …     each as a package of that part alone has it
    weights.bin: part 0 │ part 1 │ …    likewise

One part is held at a time, so that a package of thousands of parts takes no more memory than one.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol, overload

from stdo.core.types import I16
from stdo.package.coding import damaged, split
from stdo.package.labels import Labels
from stdo.package.limits import CHUNKS, WEIGHTS
from stdo.package.manifest import Manifest
from stdo.package.weights import Stored, Tensors


class SomeLabels(Protocol):
    """The chunks of every frame's patches: ``labels[t]`` is int16 (rows, cols)."""

    def __len__(self) -> int: ...

    def __getitem__(self, t: int) -> I16: ...


def labels_of(data: bytes, manifest: Manifest) -> SomeLabels:
    """The labels of a package.

    Args:
        data: The content of chunks.bin.
        manifest: Of the package.

    Raises:
        UserError: At once or when they are first needed, where the data does not hold them.
    """
    grid = manifest.patch_grid
    if not manifest.parts:
        shape = manifest.source.frames, grid.rows, grid.cols
        return Labels(data, shape, len(manifest.network.network_of))
    return _PartLabels(data, manifest)


def networks_of(data: bytes, manifest: Manifest, max_bytes: int | None = None) -> Sequence[Tensors]:
    """The networks of a package, each decoded when it is asked for.

    Args:
        data: The content of weights.bin.
        manifest: Of the package.
        max_bytes: As if only so many bytes of ``data`` had arrived; None: all.

    Raises:
        UserError: The data does not hold them; of the content of one, when that is asked for.
    """
    if not manifest.parts:
        network, bits = manifest.network, manifest.quantiser.bits
        return Stored(data, network.params, network.networks, bits, max_bytes)
    return _PartNetworks(data, manifest, max_bytes)


class _PartLabels:
    """Labels of all parts. A part's chunks are numbered behind those of the parts before."""

    def __init__(self, data: bytes, manifest: Manifest) -> None:
        grid, parts = manifest.patch_grid, manifest.sections
        self._sides = grid.rows, grid.cols
        self._firsts = [part.first for part in parts]
        self._ends = [*self._firsts[1:], manifest.source.frames]
        self._chunks = [part.chunks for part in parts]
        self._offsets = [0, *accumulate(self._chunks)]
        self._blobs = [blob for blob, _ in _split(data, CHUNKS, len(parts))]
        for number in range(len(parts)):
            self._part(number)
        self._held = 0, self._part(0)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, t: int) -> I16:
        if not 0 <= t < len(self):
            raise IndexError(t)
        number = bisect_right(self._firsts, t) - 1
        if number != self._held[0]:
            self._held = number, self._part(number)
        labels: I16 = self._held[1][t - self._firsts[number]] + self._offsets[number]
        return labels

    def _part(self, number: int) -> Labels:
        frames = self._ends[number] - self._firsts[number]
        return Labels(self._blobs[number], (frames, *self._sides), self._chunks[number])


class _PartNetworks(Sequence[Tensors]):
    """Networks of all parts, those of a part behind those of the parts before."""

    def __init__(self, data: bytes, manifest: Manifest, max_bytes: int | None) -> None:
        parts, self._bits = manifest.sections, manifest.quantiser.bits
        self._params, self._networks = manifest.network.params, [part.networks for part in parts]
        self._offsets = [0, *accumulate(self._networks)]
        self._blobs = _split(data, WEIGHTS, len(parts))
        self._max_bytes = max_bytes
        had = [len(self._part(number)) for number in range(len(parts))]
        # What has arrived of parts behind one that has not is of no use yet
        whole = next((n for n in range(len(parts)) if had[n] < self._networks[n]), len(parts))
        self._count = self._offsets[whole] + (had[whole] if whole < len(parts) else 0)
        self._held = 0, self._part(0)

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
        number = bisect_right(self._offsets, index) - 1
        held, networks = self._held
        if number != held:  # threads may be at two parts: each takes what it made itself
            networks = self._part(number)
            self._held = number, networks
        return networks[index - self._offsets[number]]

    def _part(self, number: int) -> Stored:
        blob, end = self._blobs[number]
        arrived = None if self._max_bytes is None else self._max_bytes - (end - len(blob))
        return Stored(blob, self._params, self._networks[number], self._bits, arrived)


def _split(data: bytes, name: str, parts: int) -> list[tuple[memoryview, int]]:
    blobs = split(data, name, parts)
    if len(blobs) != parts:
        raise damaged(name, f"{len(blobs)} parts, where {parts} belong")
    return blobs
