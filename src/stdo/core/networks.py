"""The networks of a run as numbers: what travels from a sharing to the weights file, the package
and the player. Arrays of NumPy and tensors of torch alike; torch is not imported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from math import prod
from typing import Any, Generic, TypeVar

MAX_RANK = 255
"""Of a low-rank difference: one byte in a package."""

Array = TypeVar("Array")


PLACES, VALUES = "places", "values"
"""The two arrays of an update, see `Delta`."""


class Delta(StrEnum):
    """What a chunk can change in the base: in its convolutions, or in single weights. The values
    name tensors of weights files.

    MODULATION: (outputs / 2, 2, 3), mixes the two outputs of each pair, see
        `stdo.models.modulated`.
    INPUTS: (inputs / 2, 2, 3), mixes the two inputs of each pair.
    LOW_RANK: (rank, height + width), the left column and the right row of each rank of a matrix
        (height, width), see `stdo.models.lowrank`. The matrix is the filters', (outputs · rows,
        inputs · columns).
    UPDATE: of single weights, on top of the updates of all networks before it, see
        `stdo.models.chain`. No convolution has a name here: ``places`` (n,), rising whole numbers,
        count the weights over all tensors in their order, and ``values`` (n,) are what to add.
    """

    MODULATION = "modulation"
    INPUTS = "inputs"
    LOW_RANK = "difference"
    UPDATE = "update"


@dataclass(frozen=True)
class Networks(Generic[Array]):
    """Networks of one architecture in the form that is least to send: each whole, or one base and
    for each network a delta.

    Attributes:
        bases: Parameter name -> array, in the order of the network's state; all have the same
            names and shapes. With deltas there is one.
        kind: Of the deltas; None: there are none.
        deltas: For each network the name of every convolution that it changes -> array of the
            shape of ``kind``. All that change anything change the same convolutions. An update
            has arrays of its own, see `Delta`.
        steps: For each base whose weights are multiples of a step already: parameter name -> step
            of each row.
    """

    bases: Sequence[Mapping[str, Array]]
    kind: Delta | None = None
    deltas: Sequence[Mapping[str, Array]] = ()
    steps: Sequence[Mapping[str, Array]] = ()

    def __post_init__(self) -> None:
        if self.kind is None:
            assert not self.deltas
        else:
            assert len(self.bases) == 1, len(self.bases)

    def __len__(self) -> int:
        return len(self.bases if self.kind is None else self.deltas)

    def whole(self) -> list[dict[str, Array]]:
        """Every network by itself, deltas folded in."""
        if self.kind is None:
            return [dict(base) for base in self.bases]
        if self.kind is Delta.UPDATE:
            chain = accumulate(self.deltas, updated, initial=self.bases[0])
            return [dict(tensors) for tensors in chain][1:]
        return [fold(self.bases[0], self.kind, delta) for delta in self.deltas]


def fold(base: Mapping[str, Any], kind: Delta, delta: Mapping[str, Any]) -> dict[str, Any]:
    """Fold a delta into the convolutions of the base.

    A modulation adds to output i of pair p ``m[p, i, 0] · out_0 + m[p, i, 1] · out_1 + m[p, i,
    2]``; one of inputs adds the same to the inputs. A low-rank difference adds the product of its
    factors: to row y and column x of the filter of output o and input i the number in row (o, y)
    and column (i, x).
    """
    folded = dict(base)
    assert kind is not Delta.UPDATE, "an update is added to the network before"
    for name, change in delta.items():
        weight = base[f"{name}.weight"]
        if kind is Delta.INPUTS:
            outputs, inputs = weight.shape[:2]
            rows = weight.reshape(outputs, inputs // 2, 2, -1)
            more = change[..., :2].swapaxes(-1, -2) @ rows
            more_bias = (rows.sum(-1) * change[..., 2]).reshape(outputs, -1).sum(-1)
            folded[f"{name}.bias"] = base[f"{name}.bias"] + more_bias
        elif kind is Delta.MODULATION:
            bias = base[f"{name}.bias"]
            rows, biases = weight.reshape(len(change), 2, -1), bias.reshape(len(change), 2, 1)
            more, more_bias = change[..., :2] @ rows, change[..., :2] @ biases + change[..., 2:]
            folded[f"{name}.bias"] = bias + more_bias.reshape(bias.shape)
        else:
            outputs, inputs, high, wide = weight.shape
            product = change[:, : outputs * high].T @ change[:, outputs * high :]
            more = product.reshape(outputs, high, inputs, wide).swapaxes(1, 2)
        folded[f"{name}.weight"] = weight + more.reshape(weight.shape)
    return folded


def updated(tensors: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """A network with an update added. Tensors that it does not change are the same objects.

    Args:
        tensors: Parameter name -> array, in the order of the network's state.
        update: ``places`` and ``values``, see `Delta`; without any, nothing changes.
    """
    changed = dict(tensors)
    if not update:
        return changed
    places, values = update[PLACES], update[VALUES]
    first = done = 0
    for name, tensor in tensors.items():
        end = int((places < first + prod(tensor.shape)).sum())
        if end > done:
            flat = tensor.reshape(-1) * 1  # a copy, of either library
            flat[places[done:end] - first] += values[done:end]
            changed[name] = flat.reshape(tensor.shape)
        first, done = first + prod(tensor.shape), end
    return changed


def sides_of(weight: Sequence[int]) -> tuple[int, int]:
    """Height and width of the matrix that a low-rank difference is: of a convolution with a weight
    of this shape."""
    outputs, inputs, rows, columns = weight
    return outputs * rows, inputs * columns


def delta_shape(kind: Delta, weight: Sequence[int], rank: int) -> tuple[int, ...]:
    """The shape of what changes a convolution.

    Args:
        kind: Of the delta.
        weight: Shape of the convolution's weight, four numbers.
        rank: Of low-rank differences; a matrix has at most its shorter side.
    """
    if kind is not Delta.LOW_RANK:
        return weight[kind is Delta.INPUTS] // 2, 2, 3
    high, wide = sides_of(weight)
    return min(rank, high, wide), high + wide
