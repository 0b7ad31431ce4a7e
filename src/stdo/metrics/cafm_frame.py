"""The protocol of CaFM's published code."""

from dataclasses import dataclass, field

from stdo.metrics.base import Mean, Metric, Pair, Pool

EVERY = 10
"""Frames 0, 10, 20, … are looked at."""


@dataclass
class CafmFrame(Metric):
    """Mean over every tenth frame of PSNR, with ``scale + 6`` pixels shaved off the frame."""

    label = "CaFM frame"
    help = "as the authors of CaFM measure: every tenth frame without its border"
    rank = 3
    protocol = True
    grid = True

    _mean: Mean = field(default_factory=Mean, init=False)
    _frames: int = field(default=0, init=False)

    def add(self, pair: Pair) -> None:
        """Take in the next frame."""
        assert pair.patches is not None
        if self._frames % EVERY == 0:
            border = pair.patches.grid.scale + 6
            inner = Pool()
            inner.add(pair.error_HW[border:-border, border:-border])
            self._mean.add(inner.psnr())
        self._frames += 1

    def value(self) -> float | None:
        """The mean in dB; None where nothing is left of the frames."""
        return self._mean.value()
