"""PSNR of one error for the whole video."""

from dataclasses import dataclass, field

from stdo.metrics.base import Metric, Pair, Pool


@dataclass
class Pooled(Metric):
    """PSNR of the mean squared error of all frames: hard frames weigh more."""

    label = "pooled"
    help = "PSNR of the mean squared error of all frames"
    rank = 1
    protocol = True

    _pool: Pool = field(default_factory=Pool, init=False)

    def add(self, pair: Pair) -> None:
        """Take in the next frame."""
        self._pool.add(pair.error_HW)

    def value(self) -> float | None:
        """PSNR in dB."""
        return self._pool.psnr()
