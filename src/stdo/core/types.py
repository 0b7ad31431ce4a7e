"""Frozen values that several packages share. This module imports nothing of stdo."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]

T = TypeVar("T")

SCALES = (2, 3, 4)
"""The upscaling factors of the paper, and the ones our networks are built for."""

BICUBIC = -1
"""What stands in place of a network's number where there is none: whole frames are enlarged
bicubically."""


class UserError(ValueError):
    """A mistake that the user can mend.

    The message is one line that names the bad value and what is allowed; commands print it and exit
    with code 2.
    """


@dataclass(frozen=True, slots=True)
class Colour:
    """How YCbCr samples were turned into RGB.

    Attributes:
        matrix: ``bt601``, ``bt709``, ``bt2020``, ``fcc``, ``smpte240m``, or ``rgb`` (no
            conversion).
        range: ``limited`` (16–235) or ``full`` (0–255).
        primaries, transfer: FFmpeg's names as tagged, ``unknown`` where untagged; carried along,
            never applied.
        assumed: The file did not say, so the matrix was guessed from the height (HD is BT.709, SD
            is BT.601).
    """

    matrix: str
    range: str
    primaries: str = "unknown"
    transfer: str = "unknown"
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class Stereo:
    """How the pictures of two eyes share one frame.

    Attributes:
        layout: One of ``side_by_side``, ``top_bottom``, ``frames``, ``checkerboard``, ``rows``,
            ``columns``.
        right_first: The right eye's picture comes first.
    """

    layout: str
    right_first: bool = False


@dataclass(frozen=True, slots=True)
class Projection:
    """How a frame is laid on a sphere around the viewer (spherical video v2).

    Attributes:
        kind: ``equirectangular``, ``equirectangular_part`` (with ``bounds``) or ``cubemap``.
        angles: Yaw, pitch and roll of the viewer's first look, in degrees times 2**16.
        bounds: Left, top, right and bottom edge of the part, as shares of the whole times 2**32.
        padding: Pixels around each face of a cube map.
    """

    kind: str
    angles: tuple[int, int, int] = (0, 0, 0)
    bounds: tuple[int, int, int, int] = (0, 0, 0, 0)
    padding: int = 0


@dataclass(frozen=True, slots=True)
class Mastering:
    """The display that an HDR video was graded on (SMPTE ST 2086).

    Attributes:
        primaries: x and y of red, green, blue and white, in 1/50000.
        luminance: Least and most, in 1/10000 cd/m2.
    """

    primaries: tuple[int, int, int, int, int, int, int, int]
    luminance: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Marks:
    """What a file tells its player beside the pixels. Every writer of ours passes it on.

    Attributes:
        aspect: Width of a pixel by its height.
        light: Brightest pixel and brightest average of a frame, in cd/m2 (MaxCLL, MaxFALL).
    """

    aspect: Fraction = Fraction(1)
    stereo: Stereo | None = None
    projection: Projection | None = None
    mastering: Mastering | None = None
    light: tuple[int, int] | None = None


UNMARKED = Marks()
"""Of a flat picture of square pixels."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known of a video before its frames are decoded.

    Attributes:
        width, height: Pixels of the frames that the source yields, upright and after shrinking.
        frames: How many frames the source will yield at most, from the container's header; None
            when it does not say.
        rate: Average frames per second.
        marks: What players are told beside the pixels, for frames as the source yields them.
        notes: What a user should know (interlaced, matrix assumed, tone curve not applied), one
            line each.
    """

    name: str
    width: int
    height: int
    frames: int | None
    rate: Fraction
    colour: Colour
    bit_depth: int = 8
    chroma: str = "4:2:0"
    rotation: int = 0
    interlaced: bool = False
    marks: Marks = UNMARKED
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame.

    Attributes:
        pts: Seconds since the first frame of the source's time line, exact.
        rgb_HWC: uint8 RGB, (height, width, 3), C-contiguous.
        length: Seconds that it is shown, where the source knows.
    """

    pts: Fraction
    rgb_HWC: U8
    length: Fraction | None = None


class Frames(Protocol):
    """Frames that can be read by number: an array uint8 (T, H, W, 3), or a store on disk."""

    def __len__(self) -> int:
        """Number of frames."""
        ...

    def __getitem__(self, t: int, /) -> U8:
        """Frame ``t``, uint8 (H, W, 3)."""
        ...


class FrameSource(Protocol):
    """Anything that yields the frames of a video in presentation order, any number of times."""

    @property
    def info(self) -> VideoInfo:
        """Geometry, rate and colour, known without decoding the video."""
        ...

    def fingerprint(self) -> str:
        """Hash of the content and of every setting that shapes the frames: the key of the prepared
        video."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...


class Progress(Protocol):
    """Wraps an iterable and shows how far it is, with the time that is left."""

    def __call__(self, items: Iterable[T], total: int | None, label: str) -> Iterable[T]:
        """Yield ``items``; ``total`` is how many there are, None when unknown, ``label`` what is
        being done."""
        ...


def silent(items: Iterable[T], total: int | None, label: str) -> Iterable[T]:  # noqa: ARG001
    """Show no progress."""
    return items


Pairs = Iterable[tuple[U8, U8]]
"""LR frames uint8 (h, w, 3) with their HR frames (s·h, s·w, 3), in order."""

Upscaler = Callable[[U8], U8]
"""LR frame (h, w, 3) uint8 -> SR frame (s·h, s·w, 3) uint8."""

Json = dict[str, Any]
