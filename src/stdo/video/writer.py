"""Write frames to a video file or to PNGs, whole or not at all."""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from fractions import Fraction
from math import lcm
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.format import VideoFormat
from av.video.stream import VideoStream

from stdo.core.files import atomic, atomic_folder
from stdo.core.types import U8, Colour, Frame, Marks, UserError
from stdo.video.codecs import codec_of
from stdo.video.colour import FromRgb, chroma_of, customary_matrix, tags_of
from stdo.video.marks import coded, tags, write_boxes
from stdo.video.packets import PacketWriter, timescale
from stdo.video.ticks import MOST, Timeline, held, ticks_of

_BLIND = 90_000
"""Ticks per second for times that nobody knows beforehand: they allow a pause of six hours
in MP4."""


class VideoWriter:
    """Writes frames; a context manager. The target appears when the block ends well, and never in
    part.

    Args:
        path: A file whose ending picks the container, replaced if it exists; with ``png`` a folder,
            new or empty, which receives ``00001.png`` and so on. MP4, MOV and NUT keep times
            exactly, Matroska rounds them to 1 ms.
        width: Pixels.
        height: Pixels.
        rate: Average frames per second, a label that players show.
        timeline: When frames will be shown; the file counts in ticks that hold these times. None:
            that is not known beforehand, times come with the frames, and are rounded to 1/90000 s.
        marks: What players are told beside the pixels.
        codec: A key of `CODECS`.
        crf: The encoder's own; None: its default. 0 is lossless in x264.
        preset: The encoder's own; None: its default.
        colour: Matrix and range to encode with, tagged in the file; None or ``rgb``: BT.709 from
            720 rows on, BT.601 below, limited range. Of no meaning where the pixel format is RGB.
        pixel_format: FFmpeg's name; None: RGB (rgb24, bgr0) for lossless and ffv1, else yuv420p,
            and yuv444p where a side is odd, which x264 and x265 cannot encode as 4:2:0 (svtav1 can,
            and knows nothing else).
        options: Further ones of FFmpeg's encoder.

    Raises UserError for an unknown codec, a crf out of range, settings that the encoder or the
    container refuse, and a target that cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        width: int,
        height: int,
        rate: Fraction,
        codec: str = "x264",
        crf: int | None = None,
        preset: str | int | None = None,
        colour: Colour | None = None,
        pixel_format: str | None = None,
        *,
        timeline: Timeline | None = None,
        marks: Marks | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._codec, self._name = codec_of(codec, crf, preset), codec
        self.path, self.width, self.height, self.rate = Path(path), width, height, Fraction(rate)
        self.pixel_format = pixel_format or self._usual_format()
        self.colour = self._usable(colour)
        self._options = dict(self._codec.options)
        self._options |= {} if crf is None else {"crf": str(crf)}
        self._options |= {} if preset is None else {"preset": str(preset)}
        self._marks = marks or Marks()
        self._options |= options or {}
        for name, value in coded(codec, self._marks).items():
            self._options[name] = ":".join(filter(None, (self._options.get(name), value)))
        self._last = (timeline and timeline.last) or 1 / self.rate
        self._ticks = ticks_of(timeline, self._last) if timeline else None
        self._frames = 0
        self._stamp: int | None = None
        self._block: AbstractContextManager[Callable[[Fraction, U8], None]]

    def __enter__(self) -> Self:
        self._block = self._pictures() if self._name == "png" else self._file()
        self._put = self._block.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._block.__exit__(kind, error, trace)

    def write(self, frame: Frame | tuple[Fraction, U8]) -> None:
        """Append a frame: time in seconds, later than the one before, and uint8 RGB (height, width,
        3)."""
        pts, rgb_HWC = (frame.pts, frame.rgb_HWC) if isinstance(frame, Frame) else frame
        assert rgb_HWC.shape == (self.height, self.width, 3), (
            rgb_HWC.shape,
            self.height,
            self.width,
        )
        self._put(Fraction(pts), rgb_HWC)
        self._frames += 1

    def _usual_format(self) -> str:
        even, odd = self._codec.formats
        return odd if self.width % 2 or self.height % 2 else even

    def _usable(self, colour: Colour | None) -> Colour:
        known = av.Codec(self._codec.encoder, "w").video_formats or []
        if self.pixel_format not in [each.name for each in known]:
            names = ", ".join(each.name for each in known)
            raise UserError(f"pixel_format={self.pixel_format}: {self._name} takes {names}")
        colour = colour or Colour("rgb", "full")
        if chroma_of(VideoFormat(self.pixel_format)) == "rgb":
            return replace(colour, matrix="rgb", range="full")
        if colour.matrix == "rgb":
            return replace(colour, matrix=customary_matrix(self.height), range="limited")
        return colour

    @contextmanager
    def _file(self) -> Iterator[Callable[[Fraction, U8], None]]:
        """A video file under a temporary name; yields what appends a frame to it."""
        # The only way to keep SVT-AV1's banner off the terminal
        os.environ.setdefault("SVT_LOG", "1")
        base = self._ticks.base if self._ticks else Fraction(1, self._blind())
        options = timescale(self.path, base)
        with _complaints(self.path, self._name), atomic(self.path) as partial:
            with av.open(str(partial), "w", container_options=options) as out:
                stream = self._stream(out, base)
                convert = FromRgb(self.colour, self.pixel_format)
                packets = PacketWriter(out, base)

                def put(pts: Fraction, rgb_HWC: U8) -> None:
                    frame = convert(rgb_HWC)
                    stamp, length = self._place(pts, base)
                    frame.time_base, frame.pts, frame.duration = base, stamp, length
                    with nullcontext() if self._frames else _scheduled_as_before():
                        made = stream.encode(frame)
                    packets.add(stamp, length)
                    packets.put(made)

                yield put
                if not self._frames:
                    raise UserError(f"{self.path}: no frame was written")
                packets.put(stream.encode(None))
                packets.end()
            write_boxes(partial, self._marks)

    def _blind(self) -> int:
        """Ticks per second where times are not known: such that frames at the average rate have
        exact ones."""
        both = lcm(_BLIND, self.rate.numerator)
        return both if both <= 10 * _BLIND else _BLIND

    def _place(self, pts: Fraction, base: Fraction) -> tuple[int, int]:
        """Tick of the next frame, and how many ticks it is shown."""
        before = self._stamp
        if self._ticks is not None:
            self._stamp = self._ticks.stamp(self._frames, before)
            return self._stamp, self._ticks.length(self._frames, self._stamp)
        self._stamp = round(pts / base) if before is None else max(round(pts / base), before + 1)
        if before is not None and self._stamp - before > MOST:
            pause = float((self._stamp - before) * base)
            raise UserError(
                f"{self.path}: a pause of {pause:g} s can only be written where times are "
                "given beforehand"
            )
        return self._stamp, max(1, round(self._last / base))

    def _stream(self, out: OutputContainer, base: Fraction) -> VideoStream:
        rate = held(min(self.rate, self._codec.fastest or self.rate))
        stream = out.add_stream(self._codec.encoder, rate=rate, options=self._options)
        assert isinstance(stream, VideoStream), stream
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = self.width, self.height, self.pixel_format
        context.time_base = stream.time_base = base
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = (
            tags_of(self.colour)
        )
        if self._marks.aspect != 1:
            context.sample_aspect_ratio = self._marks.aspect
        stream.metadata.update(tags(self._marks))
        return stream

    @contextmanager
    def _pictures(self) -> Iterator[Callable[[Fraction, U8], None]]:
        """A folder of PNG under a temporary name; yields what adds a picture to it."""
        with _complaints(self.path, self._name):
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise UserError(f"{self.path}: exists and is not an empty folder")
            convert = FromRgb(self.colour, self.pixel_format)
            with atomic_folder(self.path) as partial:

                def put(_pts: Fraction, rgb_HWC: U8) -> None:
                    (partial / f"{self._frames + 1:05d}.png").write_bytes(_png(convert(rgb_HWC)))

                yield put
                if not self._frames:
                    raise UserError(f"{self.path}: no frame was written")


@contextmanager
def _scheduled_as_before() -> Iterator[None]:
    """Take back what SVT-AV1 does where it starts as root: it makes its threads real-time, and the
    one that called it, and so every process that this one starts later. They hold the cores against
    all else on the machine."""
    if sys.platform != "linux":
        yield
        return
    tasks = Path("/proc/self/task")
    policy, priority, known = os.sched_getscheduler(0), os.sched_getparam(0), set(tasks.iterdir())
    try:
        yield
    finally:
        for thread in {*tasks.iterdir()} - known | {tasks / str(threading.get_native_id())}:
            with suppress(ProcessLookupError):
                if os.sched_getscheduler(int(thread.name)) != policy:
                    os.sched_setscheduler(int(thread.name), policy, priority)


def _png(frame: av.VideoFrame) -> bytes:
    encoder = av.VideoCodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "rgb24"
    encoder.time_base = Fraction(1, 25)
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


@contextmanager
def _complaints(path: Path, codec: str) -> Iterator[None]:
    """What FFmpeg or the file system refuse becomes one line that names the target."""
    try:
        yield
    except (FFmpegError, OSError) as error:
        raise UserError(
            f"{path}: cannot be written with codec={codec} ({error.strerror or error})"
        ) from error
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: cannot be written with codec={codec} ({error})") from error
