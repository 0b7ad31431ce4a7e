"""Range coding with integer tables, and sized blobs: shared by weights and labels.

Probabilities reach the range coder as products and sums of small numbers, never through ``exp`` or
``log``: those may differ in the last bit between two machines, and a decoder that differs in one
bit reads nonsense from there on.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from stdo.core.types import F64, UserError

Symbols = npt.NDArray[np.int32]

Coder = Any  # constriction has no types
Model = Any

TABLES: Model = constriction.stream.model.Categorical(perfect=False)
"""Coding with one row of odds per symbol."""


def table(odds: F64) -> Model:
    """Symbols 0 … n - 1 that are drawn with these odds, (n,) finite and 0 or more; not
    normalised."""
    return constriction.stream.model.Categorical(odds, perfect=False)


def uniform(count: int) -> Model:
    """Symbols 0 … ``count`` - 1, two or more, all as likely."""
    return constriction.stream.model.Uniform(count)


def encoder() -> Coder:
    """A new encoder: ``encode(symbols, model)``, in the order of decoding."""
    return constriction.stream.queue.RangeEncoder()


def packed(encoder: Coder) -> bytes:
    """What an encoder has written, little-endian, a multiple of 4 bytes."""
    return bytes(encoder.get_compressed().astype("<u4").tobytes())


@contextmanager
def unpacking(data: bytes | memoryview, name: str) -> Iterator[Coder]:
    """A decoder of ``data``; what is read in the block must be all that was written.

    Whatever the bytes are, it gives symbols of the models' alphabets or raises UserError, naming
    ``name``.
    """
    if len(data) % 4:
        raise damaged(name, f"{len(data)} bytes are no whole words")
    decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
    try:
        yield decoder
    except AssertionError as error:  # how constriction tells of data that no encoder writes
        raise damaged(name, "its codes are invalid") from error
    if not decoder.maybe_exhausted():
        raise damaged(name, "more data than symbols")


def join(blobs: Sequence[bytes]) -> bytes:
    """Blobs one after another behind their number and sizes: u32 count, count × u32 size, blobs."""
    sizes = np.array([len(blobs), *map(len, blobs)], "<u4")
    return b"".join([sizes.tobytes(), *blobs])


def split(data: bytes | memoryview, name: str, most: int) -> list[tuple[memoryview, int]]:
    """The blobs that `join` put together, each with the number of bytes of ``data`` up to its end.

    Args:
        data: What `join` made.
        name: The member, for the message.
        most: How many blobs there may be: what the manifest promises. Nothing is made for more.

    Raises:
        UserError: There are more, or the sizes do not add up.
    """
    words = len(data) // 4
    count = int(np.frombuffer(data, "<u4", 1)[0]) if words else -1
    if not 0 <= count < words:
        raise damaged(name, "its table of sizes is cut short")
    if count > most:
        raise damaged(name, f"{count} parts, where {most} belong")
    sizes = np.frombuffer(data, "<u4", count, offset=4).astype(np.int64)
    ends = 4 * (count + 1) + np.cumsum(sizes)
    if int(sizes.sum()) + 4 * (count + 1) != len(data):
        raise damaged(name, f"its parts do not add up to {len(data)} bytes")
    view = memoryview(data)  # slices of it take no memory
    return [
        (view[end - size : end], int(end))
        for size, end in zip(sizes.tolist(), ends.tolist(), strict=True)
    ]


def damaged(name: str, why: str) -> UserError:
    """The error for a member of a package that cannot be read."""
    return UserError(f"{name}: damaged ({why})")
