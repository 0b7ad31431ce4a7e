"""Notes on a video that a user should read before trusting its pixels."""

from fractions import Fraction

import av
from av.video.stream import VideoStream

from stdo.core.types import Colour
from stdo.video.colour import is_grey
from stdo.video.container import videos_of
from stdo.video.layers import Layers, has_alpha
from stdo.video.marks import lost, told_in_matroska_alone
from stdo.video.turn import Turn

_CURVES = {
    "smpte2084": "high dynamic range (PQ)",
    "arib-std-b67": "high dynamic range (HLG)",
    "linear": "linear light",
}


def notes_of(
    stream: VideoStream,
    frame: av.VideoFrame,
    colour: Colour,
    turn: Turn,
    guessed_rate: Fraction | None,
    layers: Layers,
) -> tuple[str, ...]:
    """Notes on a stream and its first decoded frame.

    Args:
        colour: How the frame is converted.
        turn: How the frame is turned.
        guessed_rate: The rate at which frames are placed where the file gives no times, None where
            it does.
        layers: What lies beside the picture in its stream.
    """
    videos = len(videos_of(stream.container))
    aspect = stream.sample_aspect_ratio or 1
    left = lost(frame, turn)
    lines = [
        (
            frame.interlaced_frame or stream.codec_context.field_order > 1,
            "interlaced: frames are used as they are stored, fields woven together; "
            "deinterlace the file first",
        ),
        (colour.assumed, _assumption(colour, frame)),
        (
            colour.transfer in _CURVES,
            f"{_CURVES.get(colour.transfer)}: code values are kept, no tone mapping is applied",
        ),
        (
            frame.colorspace == 10,
            "BT.2020 constant luminance is converted as non-constant luminance",
        ),
        (has_alpha(stream, frame, layers), "transparency (alpha) is dropped"),
        (layers.other, "a second layer of the picture, such as another eye's view, is dropped"),
        (
            not turn.exact,
            f"a rotation of {turn.degrees} degrees is not applied: only multiples of 90 are",
        ),
        (
            turn.exact and turn.degrees > 0,
            f"rotated {turn.degrees} degrees counterclockwise, as the file asks",
        ),
        (
            aspect != 1,
            f"pixels are not square (aspect {aspect}): frames keep their stored size, and "
            "players are told the aspect",
        ),
        (
            told_in_matroska_alone(frame) and not turn.degrees,
            "two eyes share a frame in a way that only Matroska can tell: MP4 files that are "
            "written do not",
        ),
        (bool(left), f"not carried to what is written: {', '.join(left)}"),
        (
            guessed_rate is not None,
            f"the file holds no time stamps: frames are placed at {guessed_rate} per second",
        ),
        (videos > 1, f"{videos} video streams: the first is used"),
    ]
    return tuple(line for holds, line in lines if holds)


def _assumption(colour: Colour, frame: av.VideoFrame) -> str:
    if is_grey(frame.format):
        return "grey without a range tag: taken as full range (0-255)"
    return (
        f"no colour matrix is tagged: {colour.matrix} and {colour.range} range assumed "
        f"for {frame.height} rows (BT.709 from 720 on, BT.601 below)"
    )
