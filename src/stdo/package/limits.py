"""Names of a package's members, how much of anything there may be, and the types that its manifest
is written with."""

from fractions import Fraction
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from stdo.core.checked import allowed

MANIFEST, GRAPH, WEIGHTS, CHUNKS = "manifest.json", "graph.onnx", "weights.bin", "chunks.bin"
STREAMS = ("lr.mp4", "lr.mkv")
BITS = (32, 16, 8, 6, 4)

# Limits keep a hostile package from filling memory: together they allow for well under 1 GiB.
MAX_SIDE = 16_384
MAX_PIXELS = 2**25  # a frame of 7680x4320; 100 MB as RGB
MAX_FRAMES = 10_000_000
# Three years: what is shown later overflows the 64 bits that containers count ticks with
MAX_SECONDS = 10**8
MAX_CHUNKS = 32_767  # labels are int16
MAX_NETWORKS = 4096
MAX_TENSORS = 4096
# Of all networks together; 128 MiB as float32; the runtime has a budget of its own
MAX_WEIGHTS = 2**25
MAX_RANGE = 1e6  # of what convolutions read, either way
MAX_RANGES = 2**17  # networks times convolutions
MAX_PART_TENSORS = 2**17  # parts times tensors of a network
MAX_PATCHES = 2**27  # of the whole video; 256 MiB of labels
MAX_WINDOWS = 2**26  # HR pixels of all padded patches of one frame; 200 MB as RGB
MAX_BYTES = {
    MANIFEST: 2**24,
    GRAPH: 2**20,
    WEIGHTS: 5 * MAX_WEIGHTS,
    CHUNKS: 2**28,
    **dict.fromkeys(STREAMS, 2**40),
}

Side = Annotated[int, Meta(ge=1, le=MAX_SIDE)]
Rule = tuple[bool, str, object, str]
"""Whether fields agree with each other; where they do not: a field, its value, what is allowed."""
_Ratio = tuple[Annotated[int, Meta(ge=1, le=2**31 - 1)], Annotated[int, Meta(ge=1, le=2**31 - 1)]]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An object in the manifest: what fields it has, in their order, each with its range."""


def matching(pattern: str) -> Meta:
    """The range of a text that is wholly of a pattern."""
    return Meta(pattern=rf"^{pattern}\Z")


def ratio_of(_: type, told: Any) -> Fraction:
    """A fraction, which the manifest holds as numerator and denominator. Raises ValueError with
    what is allowed."""
    try:
        return Fraction(*msgspec.convert(told, _Ratio))
    except msgspec.ValidationError as error:
        raise ValueError(allowed(_Ratio)) from error
