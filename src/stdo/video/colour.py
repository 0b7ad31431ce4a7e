"""Convert YCbCr to RGB and back with matrix and range stated explicitly.

swscale does the arithmetic (bicubic chroma at full horizontal resolution, accurate rounding); the
tests hold it to an independent conversion within one level for every matrix and range. One limit of
swscale is known: limited-range samples that mean a blue of more than twice white (luma 235 with Cb
from 248 on, luma 255 with Cb from 237 on; legal Cb ends at 240) overflow its 32-bit sums. None of
the clips that we tried comes near.

Chroma is placed where the file says it sits (H.264 and H.265: left, unless tagged); otherwise
between its luma samples.
"""

import av
import numpy as np
import numpy.typing as npt
from av.video.format import VideoFormat
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from stdo.core.types import U8, Colour, UserError

MATRICES = {
    "bt601": Colorspace.ITU601,
    "bt709": Colorspace.ITU709,
    "bt2020": Colorspace.BT2020,
    "fcc": Colorspace.FCC,
    "smpte240m": Colorspace.SMPTE240M,
}
"""The matrices that we convert, by our name."""

RANGES = {"limited": ColorRange.MPEG, "full": ColorRange.JPEG}

# Numbers of ITU-T H.273, as containers and codecs carry them.
_MATRIX_TAGS = {
    1: "bt709",
    4: "fcc",
    5: "bt601",
    6: "bt601",
    7: "smpte240m",
    9: "bt2020",
    10: "bt2020",
}
_MATRIX_NUMBERS = {"rgb": 0, "bt709": 1, "fcc": 4, "bt601": 6, "smpte240m": 7, "bt2020": 9}
_UNTAGGED = (0, 2, 3)  # "RGB" on YCbCr samples says nothing
_OTHER_MATRICES = {
    8: "YCgCo", 11: "SMPTE 2085", 12: "chroma-derived", 13: "chroma-derived", 14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re", 17: "YCgCo-Ro",
}  # fmt: skip
_PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film",
    9: "bt2020", 10: "smpte428",
    11: "smpte431", 12: "smpte432", 22: "ebu3213",
}  # fmt: skip
_TRANSFERS = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear",
    9: "log100", 10: "log316",
    11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12",
    16: "smpte2084",
    17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip

_EXACT = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)

_VECTORISED = "gbrp"
"""Where swscale writes RGB in planes it uses vector instructions: the bits of ``rgb24`` in a
quarter of its time."""


def is_grey(pixel_format: VideoFormat) -> bool:
    """Whether frames hold luma alone (and perhaps alpha)."""
    return (
        not (pixel_format.is_rgb or pixel_format.has_palette) and chroma_of(pixel_format) == "grey"
    )


def bit_depth_of(pixel_format: VideoFormat) -> int:
    """Bits of a sample of the first component."""
    return 8 if pixel_format.has_palette else pixel_format.components[0].bits


def chroma_of(pixel_format: VideoFormat) -> str:
    """``4:2:0``, ``4:2:2``, ``4:4:4``, ``4:1:1``, ``4:4:0``, ``4:1:0``, ``grey`` or ``rgb``."""
    if pixel_format.is_rgb or pixel_format.has_palette:
        return "rgb"
    if sum(not part.is_alpha for part in pixel_format.components) == 1:
        return "grey"
    across, down = 16 // pixel_format.chroma_width(16), 16 // pixel_format.chroma_height(16)
    known = {
        (1, 1): "4:4:4",
        (2, 1): "4:2:2",
        (2, 2): "4:2:0",
        (4, 1): "4:1:1",
        (1, 2): "4:4:0",
        (4, 4): "4:1:0",
    }
    return known[across, down]


def customary_matrix(height: int) -> str:
    """The matrix of video of so many rows that does not say: BT.709 from 720 on, BT.601 below."""
    return "bt709" if height >= 720 else "bt601"


def colour_of(frame: av.VideoFrame, picture: bool = False) -> Colour:
    """How a decoded frame's samples become RGB: its tags, and where it has none, the custom of the
    field.

    Untagged YCbCr is BT.709 from 720 rows on and BT.601 below, limited range; untagged grey is full
    range, as FFmpeg writes it; RGB is RGB. In a picture untagged YCbCr is BT.601, as JFIF and WebP
    have it. Raises UserError for a matrix that we do not convert (YCgCo, ICtCp, Dolby Vision's
    IPT).
    """
    primaries = _PRIMARIES.get(frame.color_primaries, "unknown")
    transfer = _TRANSFERS.get(frame.color_trc, "unknown")
    if chroma_of(frame.format) == "rgb":
        return Colour("rgb", "full", primaries, transfer)
    if frame.colorspace not in (*_UNTAGGED, *_MATRIX_TAGS):
        raise UserError(
            f"colour matrix {_OTHER_MATRICES.get(frame.colorspace, frame.colorspace)} is not "
            "supported: "
            f"re-encode with one of {', '.join(MATRICES)}"
        )
    full = frame.format.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG
    grey = is_grey(frame.format)
    if grey and frame.color_range == ColorRange.UNSPECIFIED:
        return Colour("bt709", "full", primaries, transfer, assumed=True)
    untagged = frame.colorspace in _UNTAGGED
    matrix = (
        customary_matrix(0 if picture else frame.height)
        if untagged
        else _MATRIX_TAGS[frame.colorspace]
    )
    return Colour(
        matrix, "full" if full else "limited", primaries, transfer, assumed=untagged and not grey
    )


class ToRgb:
    """Turns decoded frames into RGB and, in the same pass of swscale, into the wanted size.

    Shrinking is swscale's bicubic, whose kernel widens with the ratio, so that it does not alias;
    the result is the same whatever the number of threads.

    Args:
        colour: How the samples are to be understood.
        width: Size of the result in pixels, before rotation.
        height: Size of the result in pixels, before rotation.
    """

    def __init__(self, colour: Colour, width: int, height: int) -> None:
        self.colour, self._width, self._height = colour, width, height
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> U8:
        """A decoded frame as uint8 RGB (height, width, 3), C-contiguous."""
        matrix = MATRICES.get(self.colour.matrix, Colorspace.ITU709)
        rgb_HWC: U8 = _plain(
            self._reformatter.reformat(
                frame,
                width=self._width,
                height=self._height,
                format="rgb24" if chroma_of(frame.format) == "rgb" else _VECTORISED,
                src_colorspace=matrix,
                dst_colorspace=matrix,
                src_color_range=RANGES[self.colour.range],
                dst_color_range=ColorRange.JPEG,
                interpolation=_EXACT,
            )
        )
        if self.colour.range == "limited" and is_grey(frame.format):
            return _STRETCH[rgb_HWC]  # swscale takes grey for full range whatever it is told
        return rgb_HWC


class FromRgb:
    """Turns RGB frames into frames of an encoder's pixel format, tagged with what was done.

    Args:
        colour: Matrix and range of the result; ``rgb`` for an RGB pixel format.
        pixel_format: FFmpeg's name, such as ``yuv420p``.
    """

    def __init__(self, colour: Colour, pixel_format: str) -> None:
        self._colour, self._format = colour, pixel_format
        self._reformatter = VideoReformatter()

    def __call__(self, rgb_HWC: U8) -> av.VideoFrame:
        """uint8 RGB (height, width, 3) as a frame for the encoder, its time stamp unset."""
        if self._format == "rgb24":
            return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb_HWC), format="rgb24")
        source = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(rgb_HWC), format="rgb24")
        matrix = MATRICES.get(self._colour.matrix, Colorspace.ITU709)
        frame = self._reformatter.reformat(
            source,
            format=self._format,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=ColorRange.JPEG,
            dst_color_range=RANGES[self._colour.range],
            interpolation=_EXACT,
        )
        frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc = tags_of(
            self._colour
        )
        return frame


def tags_of(colour: Colour) -> tuple[int, int, int, int]:
    """Matrix, range, primaries and transfer of ``colour`` as the numbers that files carry (ITU-T
    H.273)."""
    primaries = {name: number for number, name in _PRIMARIES.items()}
    transfers = {name: number for number, name in _TRANSFERS.items()}
    return (
        _MATRIX_NUMBERS[colour.matrix],
        int(RANGES[colour.range]),
        primaries.get(colour.primaries, 2),
        transfers.get(colour.transfer, 2),
    )


def _plain(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(frame.to_ndarray(), dtype=np.uint8)


_STRETCH: U8 = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)
