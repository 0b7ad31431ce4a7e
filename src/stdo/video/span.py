"""Span: which frames of a source are used, and at what size."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from stdo.core.types import Frame, UserError

MIN_HEIGHT = 16
"""Least ``video.height``: less leaves nothing to cut patches from."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a video's time line, and the height that its frames are shrunk to.

    Attributes:
        start, duration: Seconds, exact; frames with ``start <= time < start + duration`` are taken,
            None: to the end.
        every: Take each ``every``-th of these frames: 1 takes all, 6 a sixth of them, over the
            whole stretch.
        max_frames: At most so many frames, None: all.
        height: Rows after shrinking, None: as stored.
    """

    start: Fraction = Fraction(0)
    duration: Fraction | None = None
    max_frames: int | None = None
    height: int | None = None
    every: int = 1

    @classmethod
    def of(
        cls,
        start: float = 0.0,
        duration: float | None = None,
        max_frames: int | None = None,
        height: int | None = None,
        every: int = 1,
    ) -> "Span":
        """Check settings as a user wrote them. Decimals are taken as written: 0.1 is one tenth.

        Raises UserError for a negative start, a duration that is not above zero, less than one
        frame, and a height under `MIN_HEIGHT`.
        """
        first = _seconds("start", start)
        if first < 0:
            raise UserError(f"video.start={start}: must be 0 or more seconds")
        length = None if duration is None else _seconds("duration", duration)
        if length is not None and length <= 0:
            raise UserError(f"video.duration={duration}: must be more than 0 seconds")
        stride = _whole("every", every, 1)
        if stride is None:
            raise UserError("video.every=None: must be a whole number, 1 or more")
        return cls(
            first,
            length,
            _whole("max_frames", max_frames, 1),
            _whole("height", height, MIN_HEIGHT),
            stride,
        )

    @property
    def end(self) -> Fraction | None:
        """First moment after the stretch, seconds; None: the video's end."""
        return None if self.duration is None else self.start + self.duration

    def key(self) -> str:
        """The settings in one line, for fingerprints."""
        stride = f" every={self.every}" if self.every > 1 else ""
        return (
            f"start={self.start} duration={self.duration} max_frames={self.max_frames} "
            f"height={self.height}{stride}"
        )

    def count(self, frames: int | None, rate: Fraction, steady: bool = True) -> int | None:
        """How many of ``frames`` frames the span holds at most, None when neither it nor the source
        limits them.

        Args:
            steady: Frames are evenly spaced, so that a time says how many frames come before it.
        """
        limits = [] if frames is None else [frames]
        if steady and frames is not None:
            limits.append(max(frames - math.floor(self.start * rate), 0))
        if steady and self.duration is not None:
            # Stamps may be rounded by the container
            limits.append(math.ceil(self.duration * rate) + 1)
        limits = [-(-limit // self.every) for limit in limits]
        if self.max_frames is not None:
            limits.append(self.max_frames)
        return min(limits) if limits else None

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after shrinking a frame of ``width`` x ``height``; the width becomes
        even.

        Raises UserError for a height above the source's.
        """
        if self.height is None or self.height == height:
            return width, height
        if self.height > height:
            raise UserError(
                f"video.height={self.height}: must be {MIN_HEIGHT} to {height}, the height of "
                "the source; "
                "frames are shrunk, never enlarged"
            )
        return max(2, 2 * round(Fraction(width * self.height, 2 * height))), self.height

    def select(self, frames: Iterable[Frame], interval: Fraction = Fraction(0)) -> Iterator[Frame]:
        """The frames of the span, out of ``frames`` in order of time; the first one taken is at
        time 0.

        Each is shown until the next one taken is; the last one as long as in the source, or to the
        end of the span.

        Args:
            frames: From the source's beginning, or from some moment at or before the start of the
                span.
            interval: Seconds that a frame is shown at least, even where the span ends before: the
                average.

        Raises:
            UserError: There is none.
        """
        held: Frame | None = None
        origin = Fraction(0)
        end: Fraction | None = None  # of what was seen, as far as the source knows
        seen = taken = 0
        try:
            for frame in frames:
                if frame.pts < self.start:
                    continue
                over = self.end is not None and frame.pts >= self.end
                wanted = seen % self.every == 0
                if over or (wanted and taken == self.max_frames):
                    end = frame.pts
                    break
                seen += 1
                end = None if frame.length is None else frame.pts + frame.length
                if not wanted:
                    continue
                if held is None:
                    origin = frame.pts
                else:
                    yield Frame(held.pts - origin, held.rgb_HWC, frame.pts - held.pts)
                held = frame
                taken += 1
        except UserError:
            # Else what is damaged comes after the last frame that is wanted
            if taken != self.max_frames:
                raise
        if held is None:
            raise self.nothing()
        yield Frame(held.pts - origin, held.rgb_HWC, self._length(held.pts, end, interval))

    def _length(self, begin: Fraction, end: Fraction | None, interval: Fraction) -> Fraction | None:
        """How long a last frame is shown that begins and ends at such times; see `select`."""
        if end is None or self.end is None:
            return None if end is None else end - begin
        return min(end - begin, max(self.end - begin, interval))

    def nothing(self) -> UserError:
        """The error for a span that holds no frame."""
        length = "" if self.duration is None else f" video.duration={float(self.duration):g}"
        return UserError(f"video.start={float(self.start):g}{length}: the video has no frame there")


WHOLE = Span()
"""All of a video, at its own size."""


def _seconds(name: str, value: float) -> Fraction:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float, Fraction))
        or not math.isfinite(value)
    ):
        raise UserError(f"video.{name}={value}: must be a number of seconds")
    return value if isinstance(value, Fraction) else Fraction(str(value))


def _whole(name: str, value: int | None, least: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"video.{name}={value}: must be a whole number, {least} or more")
    return value
