"""Table of the codecs that stdo writes. Standard library alone."""

from dataclasses import dataclass
from fractions import Fraction

from stdo.core.types import UserError


@dataclass(frozen=True, slots=True)
class MarkOptions:
    """How an encoder is told the marks of a stream (`stdo.video.marks`).

    Attributes:
        name: FFmpeg's option, which holds all others.
        mastering, light: Of the mastering display, and of the light levels.
        decimals: Whether the display is told in decimals, else in whole numbers.
        packing: Whether it takes the packing of stereo frames.
    """

    name: str
    mastering: str
    light: str
    decimals: bool = False
    packing: bool = False


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec by the name that settings and packages have for it.

    Attributes:
        encoder: What FFmpeg calls its encoder.
        stream: What FFmpeg calls the kind of video that it writes.
        crf: The values that ``crf`` may have.
        presets: The values that ``preset`` may have.
        options: Of the encoder, always the same.
        packed: Whether the LR video of a package may be of it.
        lossy: Whether pixels are not as they were.
        fastest: Highest rate that the encoder takes; a label, since every frame has its own time.
        marks: How the encoder is told marks; None: not at all.
        formats: Pixel formats that it is given: for even sizes, and where a side is odd.
    """

    encoder: str
    stream: str
    crf: range = range(0)
    presets: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    packed: bool = True
    lossy: bool = True
    fastest: Fraction | None = None
    marks: MarkOptions | None = None
    formats: tuple[str, str] = ("yuv420p", "yuv444p")


_X26_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower",
    "veryslow", "placebo",
)  # fmt: skip
_RGB = ("rgb24", "rgb24")
_X264_MARKS = MarkOptions("x264-params", "mastering-display", "cll", packing=True)

CODECS = {
    "x264": Codec("libx264", "h264", range(52), _X26_PRESETS, marks=_X264_MARKS),
    "x265": Codec(
        "libx265",
        "hevc",
        range(52),
        _X26_PRESETS,
        (("x265-params", "log-level=none"),),
        marks=MarkOptions("x265-params", "master-display", "max-cll"),
    ),
    "svtav1": Codec(
        "libsvtav1",
        "av1",
        range(64),
        tuple(map(str, range(14))),
        fastest=Fraction(240),
        marks=MarkOptions("svtav1-params", "mastering-display", "content-light", decimals=True),
        formats=("yuv420p", "yuv420p"),
    ),
    "lossless": Codec(
        "libx264rgb",
        "h264",
        range(0),
        _X26_PRESETS,
        (("qp", "0"),),
        lossy=False,
        marks=_X264_MARKS,
        formats=_RGB,
    ),
    "ffv1": Codec(
        "ffv1",
        "ffv1",
        options=(("level", "3"), ("slicecrc", "1")),
        packed=False,
        lossy=False,
        formats=("bgr0", "bgr0"),
    ),
    "png": Codec("png", "png", packed=False, lossy=False, formats=_RGB),
}
"""``lossless`` is x264 in RGB, which fits into MP4."""

PACKED = tuple(name for name, codec in CODECS.items() if codec.packed)
LOSSY = tuple(name for name, codec in CODECS.items() if codec.lossy)


def codec_of(name: str, crf: int | None = None, preset: str | int | None = None) -> Codec:
    """The codec of that name. Raises UserError for an unknown codec, and a crf or preset that it
    does not have."""
    if name not in CODECS:
        raise UserError(f"codec={name}: must be one of {', '.join(CODECS)}")
    codec = CODECS[name]
    if crf is not None and crf not in codec.crf:
        raise UserError(f"crf={crf}: must be {_span_of(codec.crf)} for codec={name}")
    if preset is not None and str(preset) not in codec.presets:
        allowed = f"one of {', '.join(codec.presets)}" if codec.presets else "left out"
        raise UserError(f"preset={preset}: must be {allowed} for codec={name}")
    return codec


def _span_of(values: range) -> str:
    return f"{values[0]} to {values[-1]}" if values else "left out"
