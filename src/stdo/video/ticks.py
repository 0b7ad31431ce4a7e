"""Choose the time base of a file for the times that it holds.

All is done in whole numbers and on the fly: a package may claim ten million frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from math import lcm

MOST = 2**31 - 1
"""Largest number that MP4 has for the ticks between two packets, and for those from decoding to
showing."""

_REACH = 20
"""Frames by which an encoder may look ahead and reorder: x264 and x265 have at most 16 B-frames in
a row."""

_DELAY = 4
"""Frames by which decoding begins before showing, at most."""

_USUAL = (1_000_000, 90_000, 10_000, 1000)
"""Ticks per second where none holds all times exactly, the finest that fits."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """When the frames of a video are shown.

    Attributes:
        stamps: When each frame is shown, in units of ``base``, rising.
        base: Seconds.
        last: Seconds that the last frame is shown; None: not known, and one average interval is
            assumed.
    """

    stamps: Sequence[int]
    base: Fraction
    last: Fraction | None = None

    @classmethod
    def of(cls, pts: Sequence[Fraction], last: Fraction | None = None) -> "Timeline":
        """The timeline of times in seconds, held exactly."""
        per_second = lcm(*(time.denominator for time in pts))
        return cls(
            [time.numerator * (per_second // time.denominator) for time in pts],
            Fraction(1, per_second),
            last,
        )


@dataclass(frozen=True, slots=True)
class Ticks:
    """How a file counts time.

    Attributes:
        base: Seconds of a tick.
        last: Ticks that the last frame is shown.
        timeline: What is counted.
    """

    base: Fraction
    last: int
    timeline: Timeline

    def stamp(self, t: int, after: int | None) -> int:
        """Tick at which frame ``t`` is shown, behind that of the frame before, which is
        ``after``."""
        nearest = round(self.timeline.stamps[t] * self.timeline.base / self.base)
        return nearest if after is None else max(nearest, after + 1)

    def length(self, t: int, stamp: int) -> int:
        """Ticks that frame ``t`` is shown, which is from ``stamp`` on."""
        return self.stamp(t + 1, stamp) - stamp if t + 1 < len(self.timeline.stamps) else self.last


def ticks_of(timeline: Timeline, last: Fraction) -> Ticks:
    """The coarsest ticks that hold all times exactly, or the finest within MP4's limits.

    Every time is rounded by itself, so that errors do not add up.

    Args:
        timeline: At least one frame.
        last: Seconds that the last one is shown.

    Returns:
        The ticks. They are exact unless the times differ by fractions that no usual tick holds, or
        a pause is too long for fine ticks; the error is then at most half a tick: 0.5 ms where no
        pause is longer than 12 days.
    """
    most = _finest(timeline, last)
    exact = timeline.base.denominator
    with_last = lcm(exact, last.denominator)
    fitting = [each for each in (with_last, exact, *_USUAL) if each <= most]
    per_second = fitting[0] if fitting else most
    return Ticks(Fraction(1, per_second), max(1, round(last * per_second)), timeline)


def held(number: Fraction) -> Fraction:
    """The nearest fraction whose numerator and denominator have 31 bits, as a manifest and FFmpeg
    hold them."""
    if number < 1:
        return 1 / held(1 / number)
    if number > MOST:
        return Fraction(MOST)
    return (
        number
        if max(number.as_integer_ratio()) <= MOST
        else number.limit_denominator(max(1, int(MOST / number)))
    )


def _finest(timeline: Timeline, last: Fraction) -> int:
    """Most ticks per second with which no stretch that a packet may have to bridge counts more than
    `MOST`."""
    stamps = timeline.stamps
    # The first packets are decoded as long before the first frame as reordering takes after it.
    delay = stamps[min(_DELAY, len(stamps) - 1)] - stamps[0]
    first = delay + stamps[min(_REACH, len(stamps) - 1)] - stamps[0]
    pairs = zip(stamps, islice(stamps, _REACH, None), strict=False)
    between = max((after - before for before, after in pairs), default=0)
    to_end = stamps[-1] - stamps[max(0, len(stamps) - 1 - _REACH)]
    if len(stamps) <= _REACH:
        to_end += delay
    longest = max(
        first * timeline.base, between * timeline.base, to_end * timeline.base + last, Fraction(1)
    )
    return max(1, min(MOST, int(MOST / longest)))
