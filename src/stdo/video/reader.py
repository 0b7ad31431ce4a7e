"""Read any video that FFmpeg decodes as upright RGB frames in display order."""

import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from stdo.core.types import Colour, Frame, UserError, VideoInfo
from stdo.video.ahead import ahead
from stdo.video.clock import Clock
from stdo.video.colour import ToRgb, bit_depth_of, chroma_of, colour_of
from stdo.video.container import (
    MAX_PIXELS,
    complaints,
    decoded,
    local_file,
    name_of,
    opened,
    packets,
)
from stdo.video.content import Content
from stdo.video.layers import layers_of
from stdo.video.marks import marks_of
from stdo.video.notes import notes_of
from stdo.video.span import Span
from stdo.video.turn import turn_of

FORMAT = "frames-2"
"""Part of every fingerprint; changed whenever the same input would give other pixels or times than
before."""

_EXACT_LENGTH = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""Containers whose headers say when the video ends; others are estimated by FFmpeg."""

_SLACK = 512
"""Pixels by which a later frame may be wider or higher than the first before its decoder refuses
it. Less would refuse what decoders allocate around their frames; and a change of the size is better
named with both sizes."""

_SEEK_MARGIN = 1
"""Seconds that we seek ahead of the start, since indices count in the order of decoding."""


class VideoFile:
    """The frames of a video file, decoded anew at each iteration.

    Times are those of the container, exact, moved so that the first frame yielded is at 0; variable
    rates are kept. Frames that carry no time follow at the average rate. A time that is repeated or
    goes backwards is mended (see `Clock`), and ``info.notes`` says so after the iteration that met
    it.

    Args:
        path: An existing local file; URLs are refused.
        start: Seconds on the file's own time line, counted from its first frame.
        duration: Seconds; None: to the end.
        every: Take each ``every``-th frame.
        max_frames: At most so many frames.
        height: Shrink to so many rows; the width keeps its proportion, made even.

    Raises UserError for a path, a file or a setting that cannot be used; while iterating, for a
    file that is damaged or shorter than its header says, and for frames that change their size.
    """

    def __init__(
        self,
        path: str | Path,
        start: float = 0.0,
        duration: float | None = None,
        max_frames: int | None = None,
        height: int | None = None,
        every: int = 1,
    ) -> None:
        self._path = local_file(path)
        self._content = Content(f"video.path={self._path}", [self._path], named=False)
        self._span = Span.of(start, duration, max_frames, height, every)
        with complaints(self._path), opened(self._path) as (container, stream):
            frame = next(decoded(container, stream), None)
            if frame is None:
                raise UserError(
                    "no frame of it can be decoded: it is cut short, damaged, or its frames "
                    "have more than "
                    f"{MAX_PIXELS // 10**6} million pixels"
                )
            self._stored = (frame.width, frame.height)
            self._most = min(MAX_PIXELS, (frame.width + _SLACK) * (frame.height + _SLACK))
            self._turn = turn_of(frame)
            # AVI keeps no times of presentation, and those that FFmpeg makes up go wrong with
            # B-frames.
            self._by_dts = container.format.name == "avi"
            self._first = None if self._by_dts else frame.pts
            self._info = self._describe(stream, frame)

    @property
    def info(self) -> VideoInfo:
        """What the header and the first frame tell; ``rotation``: degrees counterclockwise that
        were applied.

        Where the header does not count the frames, the file's packets are counted once, without
        decoding.
        """
        return self._info

    def fingerprint(self) -> str:
        """Hash of the file's content (not its name or date) and of the settings: 32 hexadecimal
        digits."""
        key = f"{FORMAT} file {self._span.key()} {self._content.hash()}"
        return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()

    @property
    def path(self) -> Path:
        """The file, absolute."""
        return self._path

    def stretch(self) -> tuple[Fraction, bool]:
        """Where the frames lie on the clock that all streams of the file share.

        Returns the time in seconds of the first frame, and whether frames after the last one are
        left out.
        """
        stamp = self._first or 0
        with complaints(self._path), opened(self._path) as (_, stream):
            begin = stamp * (stream.time_base or Fraction(0))
        begin += self.origin()
        return begin, self._span.duration is not None or self._span.max_frames is not None

    def origin(self) -> Fraction:
        """When the first frame of the span is shown, in seconds since the first of the file."""
        if not self._span.start:
            return Fraction(0)
        with complaints(self._path):
            return next((frame.pts for frame in self._timed()), self._span.start)

    def length(self) -> Fraction | None:
        """How many seconds the frames of the span last, by the times of the file's packets.

        Nothing is decoded, and no header is believed: Matroska without a duration tells any rate.

        Returns:
            Seconds; of what is damaged, about so many. None: the packets carry no times.
        """
        span = self._span
        with complaints(self._path), opened(self._path) as (container, stream):
            if self._first is None or stream.time_base is None:
                return None
            stamps = [p.pts for p in packets(container, stream) if p.size and p.pts is not None]
            ticks, base = sorted(stamps), stream.time_base
        times = [(tick - self._first) * base for tick in ticks]
        end = times[-1] if span.end is None else span.end
        inside = [time for time in times if span.start <= time <= end]
        taken = inside[:: span.every][: span.max_frames]
        if not taken:
            return Fraction(0)
        interval = (times[-1] - times[0]) / max(1, len(times) - 1)
        return taken[-1] - taken[0] + interval * span.every

    def __iter__(self) -> Iterator[Frame]:
        with complaints(self._path):
            yield from self._span.select(self._timed(), 1 / (self._info.rate * self._span.every))
            self._content.check()

    def _describe(self, stream: VideoStream, frame: av.VideoFrame) -> VideoInfo:
        width, height = self._span.size(*self._turn.size(*self._stored))
        stamped = self._first is not None
        likely = stream.guessed_rate or stream.base_rate or Fraction(25)
        rate = (stream.average_rate or likely) if stamped else likely
        colour = colour_of(frame)
        return VideoInfo(
            name=name_of(self._path),
            width=width,
            height=height,
            frames=self._span.count(
                self._stored_frames(stream), rate, steady=rate == stream.base_rate
            ),
            rate=rate / self._span.every,
            colour=colour,
            bit_depth=bit_depth_of(frame.format),
            chroma=chroma_of(frame.format),
            rotation=self._turn.degrees if self._turn.exact else 0,
            interlaced=frame.interlaced_frame or stream.codec_context.field_order > 1,
            marks=marks_of(stream, frame, self._turn, (width, height)),
            notes=notes_of(
                stream,
                frame,
                colour,
                self._turn,
                None if stamped or self._by_dts else rate,
                layers_of(self._path),
            ),
        )

    def _stored_frames(self, stream: VideoStream) -> int | None:
        if stream.frames:
            return stream.frames - sum(entry.is_discard for entry in stream.index_entries)
        if self._span.max_frames is not None:
            return None
        with opened(self._path) as (container, other):
            return sum(packet.size > 0 for packet in packets(container, other))

    def _timed(self) -> Iterator[Frame]:
        """Frames at their times since the first of the file, from some moment at or before the
        start of the span.

        Each has the length that the file gives it; that of the last one counts, and is what the
        header promises.
        """
        with opened(self._path, self._most) as (container, stream):
            with ahead(self._from_key_frame(container, stream)) as frames:
                rate = self._info.rate * self._span.every
                clock = Clock(rate, stream.time_base or 1 / rate, self._first)
                last: Frame | None = None
                wrong: UserError | None = None
                count = _Count()
                try:
                    for frame in self._converted(frames, clock, count):
                        if last is not None:
                            yield last
                        last = frame
                    self._complete(stream, clock, rate, count)
                except UserError as error:
                    wrong = error  # the frames before it are good
            if last is not None:
                exact = container.format.name in _EXACT_LENGTH and wrong is None
                promised = _promised_end(stream, self._first) if exact else None
                yield (
                    last
                    if promised is None
                    else replace(last, length=clock.until(promised) or last.length)
                )
            if wrong is not None:
                raise wrong

    def _converted(
        self, frames: Iterator[av.VideoFrame], clock: Clock, count: "_Count"
    ) -> Iterator[Frame]:
        """Decoded frames from the start of the span on, as upright RGB."""
        to_rgb = self._converter(self._info.colour)
        try:
            for frame in frames:
                time = clock(frame.dts if self._by_dts else frame.pts, frame.duration)
                if time < self._span.start:
                    continue
                self._check(frame, count.wanted, clock)
                if colour_of(frame) != to_rgb.colour:
                    to_rgb = self._converter(colour_of(frame))
                    count.changes += 1
                yield Frame(time, self._turn(to_rgb(frame)), clock.length)
                count.wanted += 1
        except FFmpegError as error:
            raise self._damaged(count.wanted, clock, isinstance(error, EOFError)) from error

    def _complete(self, stream: VideoStream, clock: Clock, rate: Fraction, count: "_Count") -> None:
        """Note what was mended in all frames of the file. Raises UserError where its header
        promises more of them."""
        self._admit(
            clock.mended,
            "time stamps were repeated or ran backwards and were moved behind the one before",
        )
        self._admit(
            count.changes,
            "times the colour tags change on the way: each frame is converted by its own",
        )
        promised = _promised_end(stream, self._first) or clock.end
        missing = round((promised - clock.end) * rate)
        if missing > max(2, 0.02 * promised * rate):
            what = f"cut short, about {missing} frames that its header promises are missing"
            raise self._short(count.wanted, what)

    def _from_key_frame(
        self, container: InputContainer, stream: VideoStream
    ) -> Iterator[av.VideoFrame]:
        """Decode from at or before the start of the span; from the very beginning where seeking
        does not work."""
        target = self._span.start - _SEEK_MARGIN
        if target <= 0 or self._first is None or stream.time_base is None:
            yield from decoded(container, stream)
            return
        frames = decoded(container, stream)
        first = None
        with contextlib.suppress(FFmpegError):
            container.seek(self._first + int(target / stream.time_base), stream=stream)
            first = next(frames, None)
        limit = self._first + self._span.start / stream.time_base
        if first is not None and first.pts is not None and first.pts <= limit:
            yield first
            yield from frames
            return
        with opened(self._path, self._most) as (fresh, fresh_stream):
            yield from decoded(fresh, fresh_stream)

    def _converter(self, colour: Colour) -> ToRgb:
        return ToRgb(colour, *self._turn.size(self._info.width, self._info.height))

    def _check(self, frame: av.VideoFrame, wanted: int, clock: Clock) -> None:
        if (frame.width, frame.height) != self._stored:
            before, after = "{}x{}".format(*self._stored), f"{frame.width}x{frame.height}"
            raise self._short(wanted, f"the frames change from {before} to {after} pixels")
        if frame.is_corrupt:  # the decoder hides what it could not read behind other pixels
            raise self._damaged(wanted, clock)

    def _damaged(self, wanted: int, clock: Clock, torn: bool = False) -> UserError:
        return self._short(
            wanted, f"{'cut short' if torn else 'damaged'} at about {float(clock.end):.2f} s"
        )

    def _short(self, wanted: int, reason: str) -> UserError:
        use = f"; video.max_frames={wanted} uses the frames before that" if wanted else ""
        return UserError(f"{reason} ({wanted} frames could be decoded){use}")

    def _admit(self, count: int, what: str) -> None:
        note = f"{count} {what}"
        if count and note not in self._info.notes:
            self._info = replace(self._info, notes=(*self._info.notes, note))


@dataclass(slots=True)
class _Count:
    """Of one pass through a file: frames from the start of the span on, and changes of their colour
    tags."""

    wanted: int = 0
    changes: int = 0


def _promised_end(stream: VideoStream, first: int | None) -> Fraction | None:
    """When the header says the video ends, in seconds since its first frame; None when it does not
    say."""
    if first is None or stream.time_base is None:
        return None
    origin = first * stream.time_base
    if stream.duration:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base - origin
    # Matroska
    written = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if written is None:
        return None
    hours, minutes, seconds = (Fraction(part) for part in written.groups())
    return hours * 3600 + minutes * 60 + seconds - origin
