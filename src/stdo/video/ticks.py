"""The unit in which a file counts time, chosen for the times that it has to hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

MOST = 2**31 - 1
"""Largest number that MP4 has for the ticks between two packets, and for those from decoding to showing."""

_REACH = 20
"""Frames by which an encoder may look ahead and reorder: x264 and x265 have at most 16 B-frames in a row."""

_DELAY = 4
"""Frames by which decoding begins before showing, at most."""

_USUAL = (1_000_000, 90_000, 10_000, 1000)
"""Ticks per second where none holds all times exactly, the finest that fits."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """When frames are shown.

    Attributes:
        pts: Seconds of each frame; empty while they are not known yet.
        last: Seconds that the last one is shown; None: not known, and one average interval is assumed.
    """

    pts: Sequence[Fraction] = ()
    last: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Ticks:
    """When each frame of a file is shown.

    Attributes:
        base: Seconds of a tick.
        stamps: Tick of each frame, rising.
        last: Ticks that the last frame is shown.
    """

    base: Fraction
    stamps: tuple[int, ...]
    last: int

    def length(self, t: int) -> int:
        """Ticks that frame ``t`` is shown."""
        return self.stamps[t + 1] - self.stamps[t] if t + 1 < len(self.stamps) else self.last


def ticks_of(times: Sequence[Fraction], last: Fraction) -> Ticks:
    """The coarsest ticks that hold all times exactly, or the finest within MP4's limits.

    Every time is rounded by itself, so that errors do not add up.

    Args:
        times: Seconds at which each frame is shown, rising.
        last: Seconds that the last one is shown.

    Returns:
        The ticks. They are exact unless the times differ by fractions that no usual tick holds, or a pause is too
        long for fine ticks; the error is then at most half a tick: 0.5 ms where no pause is longer than 12 days.
    """
    most = _finest(times, last)
    exact = lcm(*(time.denominator for time in times))
    with_last = lcm(exact, last.denominator)
    if with_last <= most:
        return counted(times, last, with_last)
    if exact <= most:
        return counted(times, last, exact)
    fitting = [usual for usual in _USUAL if usual <= most]
    return counted(times, last, max([*fitting, min(most, _USUAL[-1])]))


def held(number: Fraction) -> Fraction:
    """The nearest fraction whose numerator and denominator have 31 bits, as a manifest holds them."""
    if number < 1:
        return 1 / held(1 / number)
    if number > MOST:
        return Fraction(MOST)
    return number if max(number.as_integer_ratio()) <= MOST else number.limit_denominator(max(1, int(MOST / number)))


def counted(times: Sequence[Fraction], last: Fraction, per_second: int) -> Ticks:
    """Times in so many ticks per second, each rounded by itself; two in one tick are moved apart."""
    stamps: list[int] = []
    for time in times:
        nearest = round(time * per_second)
        stamps.append(max(nearest, stamps[-1] + 1) if stamps else nearest)
    return Ticks(Fraction(1, per_second), tuple(stamps), max(1, round(last * per_second)))


def _finest(times: Sequence[Fraction], last: Fraction) -> int:
    """Most ticks per second with which no stretch that a packet may have to bridge counts more than `MOST`."""
    end = times[-1] + last
    # The first packets are decoded as long before the first frame as reordering takes after it.
    delay = times[min(_DELAY, len(times) - 1)] - times[0]
    moments = [times[0] - delay, *times, end]
    beyond = [*moments[_REACH:], *[end] * _REACH]
    longest = max(after - before for before, after in zip(moments, beyond, strict=False))
    return max(1, min(MOST, int(MOST / max(longest, Fraction(1)))))
