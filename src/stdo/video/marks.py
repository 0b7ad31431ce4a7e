"""Pixel aspect, stereo, spherical and HDR marks: read and written.

Encoders take some of them as options; MP4 has boxes for others, which FFmpeg reads and has no
option to make (`stdo.video.boxes`).
"""

import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.stream import VideoStream

from stdo.core.types import Marks, Mastering, Projection, Stereo
from stdo.video.boxes import insert, sphere_box, stereo_box
from stdo.video.codecs import CODECS
from stdo.video.turn import Turn

MAX_ASPECT = 100
"""Most that a pixel may be wider than high, or higher than wide; what is beyond is taken for a
damaged header."""

_SIDES = 4096
"""Largest numerator and denominator of an aspect that x264 writes."""

# Numbers of FFmpeg (libavutil/stereo3d.h, spherical.h).
_LAYOUTS = {
    1: "side_by_side",
    2: "top_bottom",
    3: "frames",
    4: "checkerboard",
    6: "rows",
    7: "columns",
}
_PROJECTIONS = {0: "equirectangular", 1: "cubemap", 2: "equirectangular_part"}
_FLAT = 4  # rectilinear: an ordinary picture
_X264_PACKING = {
    "checkerboard": 0,
    "columns": 1,
    "rows": 2,
    "side_by_side": 3,
    "top_bottom": 4,
    "frames": 5,
}
_IN_MP4 = ("side_by_side", "top_bottom")
_MATROSKA = {
    "side_by_side": ("left_right", "right_left"), "top_bottom": ("top_bottom", "bottom_top"),
    "checkerboard": ("checkerboard_lr", "checkerboard_rl"),
    "rows": ("row_interleaved_lr", "row_interleaved_rl"),
    "columns": ("col_interleaved_lr", "col_interleaved_rl"), "frames": ("block_lr", "block_rl"),
}  # fmt: skip
LAYOUTS = tuple(_MATROSKA)
PROJECTIONS = tuple(_PROJECTIONS.values())


def side_data(frame: av.VideoFrame) -> dict[Type, bytes]:
    """What lies beside the pixels of a decoded frame; nothing where PyAV has no name for one of its
    kinds."""
    try:
        return {each.type: bytes(each) for each in cast(SideDataContainer, frame.side_data)}
    except ValueError:
        return {}


def marks_of(stream: VideoStream, frame: av.VideoFrame, turn: Turn, size: tuple[int, int]) -> Marks:
    """The marks of a file, for its frames as they are used.

    Args:
        stream: The video stream.
        frame: Its first decoded frame.
        turn: How frames are turned.
        size: Width and height that they are shrunk to, upright.

    Returns:
        The marks. Of a picture that is turned on its side those of two eyes and of a sphere are
        dropped.
    """
    found = side_data(frame)
    aspect = aspect_of(stream.sample_aspect_ratio, turn, (frame.width, frame.height), size)
    upright = not turn.degrees and not turn.swap
    return Marks(
        aspect=aspect,
        stereo=_stereo(found) if upright else None,
        projection=_projection(found) if upright else None,
        mastering=_mastering(found.get(Type.MASTERING_DISPLAY_METADATA)),
        light=_light(found.get(Type.CONTENT_LIGHT_LEVEL)),
    )


def aspect_of(
    told: Fraction | None, turn: Turn, stored: tuple[int, int], size: tuple[int, int]
) -> Fraction:
    """Aspect of a pixel after turning and shrinking, such that the picture keeps its shape; 1 stays
    1.

    Args:
        told: As the file says; None or 0: it does not.
        turn: How frames are turned.
        stored: Width and height of the decoded frame.
        size: Width and height in the end.
    """
    aspect = told or Fraction(1)
    if aspect == 1 or not Fraction(1, MAX_ASPECT) <= aspect <= MAX_ASPECT:
        return Fraction(1)
    if turn.swap:
        aspect = 1 / aspect
    before, after = Fraction(*turn.size(*stored)), Fraction(*size)
    return _limited(aspect * before / after)


def _limited(aspect: Fraction) -> Fraction:
    if aspect < 1:
        return 1 / _limited(1 / aspect)
    return aspect.limit_denominator(max(1, int(_SIDES / aspect)))


def told_in_matroska_alone(frame: av.VideoFrame) -> bool:
    """Whether two eyes share a frame in a way that MP4 has no number for."""
    stereo = _stereo(side_data(frame))
    return stereo is not None and (stereo.right_first or stereo.layout not in _IN_MP4)


def lost(frame: av.VideoFrame, turn: Turn) -> list[str]:
    """What a file tells players and nobody carries on, in words for a note."""
    found = side_data(frame)
    turned = bool(turn.degrees or turn.swap)
    stereo = _numbers(found.get(Type.STEREO3D), "<2i")
    sphere = _numbers(found.get(Type.SPHERICAL), "<i")
    words = [
        (
            bool(stereo) and stereo[0] != 0 and (turned or stereo[0] not in _LAYOUTS),
            "how two eyes share a frame",
        ),
        (
            bool(sphere) and sphere[0] != _FLAT and (turned or sphere[0] not in _PROJECTIONS),
            "how a frame is laid on a sphere",
        ),
        (
            Type.DYNAMIC_HDR_PLUS in found or Type.DYNAMIC_HDR_VIVID in found,
            "HDR marks that change with each frame",
        ),
        (Type.DOVI_METADATA in found or Type.DOVI_RPU_BUFFER in found, "Dolby Vision's marks"),
        (Type.ICC_PROFILE in found, "an ICC profile"),
        (Type.AMBIENT_VIEWING_ENVIRONMENT in found, "the light around the viewer"),
        (Type.A53_CC in found, "closed captions within the picture's stream"),
    ]
    return [what for holds, what in words if holds]


def coded(codec: str, marks: Marks) -> dict[str, str]:
    """Options of an encoder that write the marks into its stream; of codecs that have none,
    nothing."""
    told = CODECS[codec].marks
    if told is None:
        return {}
    parts: list[str] = []
    if marks.mastering:
        text = _as_decimals(marks.mastering) if told.decimals else _as_text(marks.mastering)
        parts.append(f"{told.mastering}={text}")
    if marks.light:
        parts.append("{}={},{}".format(told.light, *marks.light))
    if told.packing and marks.stereo and not marks.stereo.right_first:
        parts.append(f"frame-packing={_X264_PACKING[marks.stereo.layout]}")
    return {told.name: ":".join(parts)} if parts else {}


def tags(marks: Marks) -> dict[str, str]:
    """Metadata of a video stream by which FFmpeg's Matroska is told the marks."""
    stereo = marks.stereo
    return {"stereo_mode": _MATROSKA[stereo.layout][stereo.right_first]} if stereo else {}


def write_boxes(path: Path, marks: Marks) -> None:
    """Write the marks of two eyes and of a sphere into a finished MP4 or MOV; other files are left
    as they are."""
    stereo = marks.stereo
    boxes = []
    if stereo and not stereo.right_first and stereo.layout in _IN_MP4:
        boxes.append(stereo_box(stereo.layout == "top_bottom"))
    if marks.projection:
        boxes.append(sphere_box(marks.projection))
    if boxes:
        insert(path, boxes)


def _numbers(content: bytes | None, layout: str) -> tuple[int, ...]:
    return (
        struct.unpack_from(layout, content)
        if content and len(content) >= struct.calcsize(layout)
        else ()
    )


def _stereo(found: Mapping[Type, bytes]) -> Stereo | None:
    told = _numbers(found.get(Type.STEREO3D), "<2i")
    return Stereo(_LAYOUTS[told[0]], bool(told[1] & 1)) if told and told[0] in _LAYOUTS else None


def _projection(found: Mapping[Type, bytes]) -> Projection | None:
    told = _numbers(found.get(Type.SPHERICAL), "<4i5I")
    if not told or told[0] not in _PROJECTIONS:
        return None
    kind, yaw, pitch, roll, left, top, right, bottom, padding = told
    return Projection(_PROJECTIONS[kind], (yaw, pitch, roll), (left, top, right, bottom), padding)


def _mastering(content: bytes | None) -> Mastering | None:
    told = _numbers(content, "<22i")
    if not told or not (told[20] and told[21]) or not all(told[1:20:2]):
        return None
    values = [Fraction(*told[at : at + 2]) for at in range(0, 20, 2)]
    primaries = tuple(min(max(round(value * 50_000), 0), 50_000) for value in values[:8])
    least, most = (min(max(round(value * 10_000), 0), 2**31 - 1) for value in values[8:])
    return Mastering(
        cast("tuple[int, int, int, int, int, int, int, int]", primaries), (least, most)
    )


def _light(content: bytes | None) -> tuple[int, int] | None:
    told = _numbers(content, "<2I")
    return (min(told[0], 65_535), min(told[1], 65_535)) if told and any(told) else None


def _as_text(mastering: Mastering) -> str:
    """As x264 and x265 take it: green, blue, red, white, and the most luminance before the
    least."""
    (rx, ry, gx, gy, bx, by, wx, wy), (least, most) = mastering.primaries, mastering.luminance
    return f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({most},{least})"


def _as_decimals(mastering: Mastering) -> str:
    """As SVT-AV1 takes it."""
    rx, ry, gx, gy, bx, by, wx, wy = (f"{each / 50_000:.5f}" for each in mastering.primaries)
    least, most = (f"{each / 10_000:.4f}" for each in mastering.luminance)
    return f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({most},{least})"
