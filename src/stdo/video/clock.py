"""Turn time stamps of containers into times that always rise."""

from fractions import Fraction

RESET = 1
"""Seconds: a step back of at least this much is a clock that was set anew, as where recordings were
joined."""

_LEAST = Fraction(1, 1000)
"""Seconds: a shorter length of a frame means that its file does not know it; Matroska counts in
such steps."""


class Clock:
    """Seconds since the first frame of a video, exact, for its frames in order.

    A frame without a stamp comes one average interval after the one before it. A stamp that is
    repeated or a little early is moved one tick behind its predecessor, so that later ones are
    right again; from a clock that was set back on, all stamps are shifted. ``mended`` counts both.

    Args:
        rate: Average frames per second.
        time_base: Seconds of one tick.
        first: Stamp of the first frame, None: the first that is seen.
    """

    def __init__(self, rate: Fraction, time_base: Fraction, first: int | None) -> None:
        self._interval, self._tick = 1 / rate, time_base
        self._origin = None if first is None else first * time_base
        self._last: Fraction | None = None
        self._own = 0
        self._end = Fraction(0)
        self.mended = 0

    @property
    def end(self) -> Fraction:
        """When the frames seen end, in seconds since the first of the video."""
        return self._end or self._interval

    @property
    def length(self) -> Fraction | None:
        """How many seconds the last frame seen is shown, as far as its packet says; None where it
        does not."""
        return self._plausible(self._own * self._tick)

    def until(self, end: Fraction) -> Fraction | None:
        """How many seconds the last frame seen is shown where the video ends at ``end``; None where
        that is before."""
        return self._plausible(end - (self._last or Fraction(0)))

    def _plausible(self, said: Fraction) -> Fraction | None:
        """One average interval where a file says about as much, since containers round."""
        if said < _LEAST:
            return None
        return self._interval if abs(said - self._interval) <= max(self._tick, _LEAST) else said

    def __call__(self, stamp: int | None, duration: int | None = None) -> Fraction:
        """Time of the next frame, later than all before; stamp and duration in ticks."""
        self._last = self._place(stamp)
        self._own = duration or 0
        self._end = max(self._end, self._last + max(self._interval, self._own * self._tick))
        return self._last

    def _place(self, stamp: int | None) -> Fraction:
        expected = Fraction(0) if self._last is None else self._last + self._interval
        if stamp is None:
            return expected
        if self._origin is None:
            self._origin = stamp * self._tick - expected
        time = stamp * self._tick - self._origin
        if self._last is None or time > self._last:
            return time
        self.mended += 1
        if self._last - time < RESET:
            return self._last + self._tick
        self._origin -= expected - time
        return expected
