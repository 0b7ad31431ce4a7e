"""Which single weights an update changes, as bytes and back.

    count of each tensor (u32) │ bytes of the code (u32) │ code

The code says of every weight of a tensor, in order, whether it changes. Its two symbols are
range-coded with the tensor's own odds, ``size - count`` to ``count``; a tensor of which nothing or
everything changes has none. That is within a per cent of the least that says it:
``log2(size choose count)`` bits.
"""

from collections.abc import Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from stdo.core.types import F64
from stdo.package.coding import damaged, encoder, packed, table, unpacking
from stdo.package.limits import WEIGHTS

Params = Sequence[tuple[str, Sequence[int]]]
_CHANGED, _KEPT = 1, 0


def encode(places_N: npt.NDArray[np.integer], params: Params) -> tuple[list[int], bytes]:
    """Code the numbers of the weights that change.

    Args:
        places_N: Rising, counted over all tensors in their order.
        params: Names and shapes of the tensors.

    Returns:
        How many there are of each tensor, and the bytes.
    """
    sizes = [prod(shape) for _, shape in params]
    changed = np.zeros(sum(sizes), np.int32)
    changed[places_N] = _CHANGED
    parts = np.split(changed, np.cumsum(sizes)[:-1])
    counts = [int(part.sum()) for part in parts]
    coder = encoder()
    for part, count in zip(parts, counts, strict=True):
        if 0 < count < len(part):
            coder.encode(part, table(_odds(len(part), count)))
    code = packed(coder)
    return counts, np.array([*counts, len(code)], "<u4").tobytes() + code


def decode(data: memoryview, params: Params) -> tuple[list[int], npt.NDArray[np.int32], int]:
    """The inverse of `encode`: counts, places, and where in ``data`` they end.

    Raises UserError for data that no `encode` has made.
    """
    sizes = [prod(shape) for _, shape in params]
    head = 4 * (len(sizes) + 1)
    if len(data) < head:
        raise damaged(WEIGHTS, "an update is cut short")
    *counts, length = np.frombuffer(data[:head], "<u4").tolist()
    end = head + length
    if end > len(data):
        raise damaged(WEIGHTS, "an update is cut short")
    if any(count > size for count, size in zip(counts, sizes, strict=True)) or not any(counts):
        raise damaged(WEIGHTS, "an update changes more weights than there are, or none")
    places, first = [], 0
    with unpacking(data[head:end], WEIGHTS) as decoder:
        for size, count in zip(sizes, counts, strict=True):
            if count == size:
                places.append(np.arange(first, first + size, dtype=np.int32))
            elif count:
                here = np.flatnonzero(decoder.decode(table(_odds(size, count)), size))
                if len(here) != count:
                    raise damaged(WEIGHTS, "an update changes more or fewer weights than it says")
                places.append((first + here).astype(np.int32))
            first += size
    return counts, np.concatenate(places), end


def _odds(size: int, count: int) -> F64:
    odds = np.empty(2)
    odds[_KEPT], odds[_CHANGED] = size - count, count
    return odds
