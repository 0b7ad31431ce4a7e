"""What a metric is, and the frames that it sees.

A file of a metric must import quickly: the schemas read it at every start. It imports torch inside
its functions.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from stdo.chunks.grid import PatchGrid
from stdo.chunks.score import psnr, squared_error, strips
from stdo.core.types import F32, U8

I32 = npt.NDArray[np.int32]

_LUMA = np.array([65.481, 128.553, 24.966], np.float32) / np.float32(255)


def luma(rgb_HWC: U8) -> F32:
    """BT.601 luma as MATLAB's rgb2ycbcr: ``Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255``, not
    rounded.

    Shapes: uint8 (H, W, 3) -> float32 (H, W), 16 (black) to 235 (white).

    >>> luma(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)).round(3).tolist()
    [[16.0, 235.0]]
    """
    luma_HW = np.empty(rgb_HWC.shape[:-1], np.float32)
    for part in strips(rgb_HWC):
        np.add(rgb_HWC[part].astype(np.float32) @ _LUMA, np.float32(16), out=luma_HW[part])
    return luma_HW


@dataclass(frozen=True)
class Patches:
    """The patches of a padded frame, uint8 (P, scale·patch_h, scale·patch_w, 3), overlapping where
    the grid does."""

    grid: PatchGrid
    hr: U8
    sr: U8


@dataclass(frozen=True)
class Pair:
    """A frame and its ground truth. What several metrics need of them is computed once.

    Attributes:
        hr_HWC: The ground truth, uint8 (H, W, 3).
        sr_HWC: The frame, uint8 (H, W, 3).
        patches: Of the same frame; None where there is no grid, as in a video that is played.
    """

    hr_HWC: U8
    sr_HWC: U8
    patches: Patches | None = None

    @cached_property
    def error_HW(self) -> I32:
        """Squared error of each pixel, summed over its channels: int32 (H, W)."""
        return squared_error(self.hr_HWC, self.sr_HWC)

    @cached_property
    def luma(self) -> tuple[F32, F32]:
        """Luma of the ground truth and of the frame: float32 (H, W), 16 to 235."""
        return luma(self.hr_HWC), luma(self.sr_HWC)


@dataclass
class Mean:
    """Mean of the values that exist."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float | None) -> None:
        """Take in the next value."""
        if value is not None:
            self.total += value
            self.count += 1

    def value(self) -> float | None:
        """The mean; None where there was no value."""
        return self.total / self.count if self.count else None


@dataclass
class Pool:
    """Squared error of many pixels, summed over three channels."""

    error: int = 0
    pixels: int = 0

    def add(self, error: I32) -> None:
        """Take in the squared error of more pixels."""
        self.error += int(error.sum(dtype=np.int64))
        self.pixels += error.size

    def psnr(self) -> float | None:
        """PSNR of all pixels together, in dB; None where there was none."""
        return float(psnr(self.error / (3 * self.pixels))) if self.pixels else None


class Metric(ABC):
    """One figure of quality, collected frame by frame in memory that does not grow with the video.

    The name is that of the file. metrics.json has the figure at `path`, results.tsv in `column`
    (and bicubic's beside it), frames.csv in `row`.

    Attributes:
        label: How the report page and plots write it.
        help: One line that defines it.
        rank: Its place among the others; of equal ranks, the alphabet decides.
        protocol: Whether it is one of the ways to take PSNR: a key of ``psnr`` in metrics.json, in
            dB, and a choice of the report page and of the dashboard.
        limits: Least and greatest value that a result may hold.
        digits: After the point, in tables.
        default: Whether every evaluation computes it; else those that ``metrics=[name]`` asks for.
        grid: Whether it looks at patches: it is not measured of frames alone.
        needed: Whether every result has it, of whatever version: without it none is read.
        row: Its column in frames.csv; None: it is not known of a single frame.
    """

    label: ClassVar[str]
    help: ClassVar[str]
    rank: ClassVar[int] = 100
    protocol: ClassVar[bool] = False
    limits: ClassVar[tuple[float, float]] = (-1000, 1000)
    digits: ClassVar[int] = 2
    default: ClassVar[bool] = True
    grid: ClassVar[bool] = False
    needed: ClassVar[bool] = False
    row: ClassVar[str | None] = None

    @classmethod
    def name(cls) -> str:
        """The name of its file."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def path(cls) -> str:
        """Where metrics.json has it: ``psnr.frame``, ``ssim``."""
        return f"psnr.{cls.name()}" if cls.protocol else cls.name()

    @classmethod
    def column(cls) -> str:
        """Its column of results.tsv: ``psnr_frame``, ``ssim``."""
        return cls.path().replace(".", "_")

    @abstractmethod
    def add(self, pair: Pair) -> float | None:
        """Take in the next frame; return its own figure, where it has one."""

    @abstractmethod
    def value(self) -> float | None:
        """The figure of all frames so far; None where nothing could be measured."""


@dataclass
class MeanOfFrames(Metric):
    """A metric that is the mean of the figures of single frames. Those that have none do not
    count."""

    _mean: Mean = field(default_factory=Mean, init=False)

    @abstractmethod
    def of(self, pair: Pair) -> float | None:
        """The figure of one frame."""

    def add(self, pair: Pair) -> float | None:
        """Take in the next frame; return its own figure."""
        value = self.of(pair)
        self._mean.add(value)
        return value

    def value(self) -> float | None:
        """The mean of the frames so far."""
        return self._mean.value()
