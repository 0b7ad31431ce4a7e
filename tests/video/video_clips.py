"""Tiny video files for tests, made with PyAV alone, sample by sample; and an independent conversion
to RGB."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
TAGS = {"bt601": 6, "bt709": 1, "bt2020": 9, "ycgco": 8, "ipt-c2": 15, "unknown": 2}
RANGES = {"limited": 1, "full": 2, "unknown": 0}


def to_rgb(yuv, matrix: str, span: str, bits: int = 8) -> np.ndarray:
    """YCbCr planes of full resolution to RGB by the definition in BT.601, BT.709 and BT.2020, in
    float64."""
    red, blue = WEIGHTS[matrix]
    y, cb, cr = (np.asarray(plane, np.float64) for plane in yuv)
    top, step = 2**bits - 1, 2 ** (bits - 8)
    if span == "full":
        y, cb, cr = y / top, (cb - 128 * step) / top, (cr - 128 * step) / top
    else:
        y, cb, cr = (y / step - 16) / 219, (cb / step - 128) / 224, (cr / step - 128) / 224
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.rint(np.stack([r, g, b], -1) * 255), 0, 255)


def frame_of(planes, pixel_format: str) -> av.VideoFrame:
    """A frame with exactly these samples."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, samples in zip(frame.planes, planes, strict=True):
        kind = np.dtype("<u2" if "10le" in pixel_format else "u1")
        rows = np.zeros((samples.shape[0], plane.line_size // kind.itemsize), kind)
        rows[:, : samples.shape[1]] = samples
        plane.update(rows.tobytes())
    return frame


def encode(
    path: Path,
    frames,
    pixel_format: str = "yuv420p",
    codec: str = "ffv1",
    pts=None,
    base: Fraction = Fraction(1, 25),
    matrix: str = "unknown",
    span: str = "unknown",
    transfer: int = 2,
    rotation=None,
    rate: int = 25,
    container: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Frames, each a list of planes, as a file; ``pts`` in ticks of ``base``. container: options of
    the muxer."""
    with av.open(str(path), "w", options=container or {}) as out:
        stream = out.add_stream(codec, rate=rate, options=options)
        context = stream.codec_context
        context.height, context.width = frames[0][0].shape
        context.pix_fmt, context.time_base = pixel_format, base
        context.colorspace, context.color_range, context.color_trc = (
            TAGS[matrix],
            RANGES[span],
            transfer,
        )
        if rotation is not None:
            stream.set_display_rotation(*rotation)
        for index, planes in enumerate(frames):
            frame = frame_of(planes, pixel_format)
            frame.colorspace, frame.color_range, frame.color_trc = (
                TAGS[matrix],
                RANGES[span],
                transfer,
            )
            frame.pts, frame.time_base = (index if pts is None else pts[index]), base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def flat(levels, height: int = 48, width: int = 64) -> list[list[np.ndarray]]:
    """Frames of 4:2:0 without colour, one for each level of luma."""
    chroma = np.full((height // 2, width // 2), 128)
    return [[np.full((height, width), level), chroma, chroma] for level in levels]


def noise(shape, seed: int = 0) -> list[np.ndarray]:
    """Random YCbCr planes of one size within the legal limited range."""
    rng = np.random.default_rng(seed)
    return [rng.integers(16, top + 1, shape) for top in (235, 240, 240)]
