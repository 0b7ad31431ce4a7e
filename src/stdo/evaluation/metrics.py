"""Every metric of whole frames, and the figures of patches, in one pass."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stdo.chunks.grid import PatchGrid
from stdo.chunks.score import psnr
from stdo.core.types import F32, I16, I64, U8, Json
from stdo.metrics.base import I32, Metric, Pair, Patches, Pool
from stdo.metrics.registry import chosen


class Comparison:
    """Every metric of frames against the ground truth, collected frame by frame.

    Attributes:
        frames: How many were added.
    """

    def __init__(self, extra: Iterable[str] = (), grid: bool = False) -> None:
        """Begin with no frame.

        Args:
            extra: Names of metrics beside those that are always computed.
            grid: Whether the frames come with their patches.
        """
        self.frames = 0
        self._metrics: Sequence[Metric] = [kind() for kind in chosen(extra, grid)]

    def add(self, pair: Pair) -> dict[str, float | None]:
        """Take in the next frame.

        Returns:
            Its own figures, by their columns of frames.csv: ``psnr`` and ``y`` (RGB and luma PSNR
            in dB), ``ssim`` (None where a side has 5 pixels or fewer), and so on.
        """
        self.frames += 1
        row = {}
        for metric in self._metrics:
            value = metric.add(pair)
            if metric.row is not None:
                row[metric.row] = value
        return row

    def result(self) -> Json:
        """The figures of the frames so far, as metrics.json has them: ``psnr`` by protocol in dB,
        and ``ssim`` and its like."""
        found: Json = {"psnr": {}}
        for metric in self._metrics:
            place = found["psnr"] if metric.protocol else found
            place[metric.name()] = metric.value()
        return found


@dataclass
class _Seams:
    """Squared error beside the lines where two patches meet, up to ``scale`` pixels away, and of
    all other pixels."""

    grid: PatchGrid
    border: Pool = field(default_factory=Pool)
    inside: Pool = field(default_factory=Pool)

    def add(self, error_HW: I32) -> None:
        height, width = error_HW.shape
        scale = self.grid.scale
        rows = _beside(self.grid.owned_rows[1:, 0] * scale, scale, height)
        cols = _beside(self.grid.owned_cols[1:, 0] * scale, scale, width)
        self.border.add(error_HW[rows])
        between = error_HW[~rows]
        self.border.add(between[:, cols])
        self.inside.add(between[:, ~cols])

    def psnr(self) -> dict[str, float | None]:
        return {"border": self.border.psnr(), "inside": self.inside.psnr()}


def _beside(lines: I64, reach: int, length: int) -> npt.NDArray[np.bool_]:
    """Which of ``length`` pixels lie within ``reach`` of a line; line n is that between pixels n -
    1 and n."""
    near = np.zeros(length, bool)
    for line in lines:
        near[line - reach : line + reach] = True
    return near


class Meter:
    """Collects every metric's figures and those of patches, frame by frame, in memory that does not
    grow with the video.

    Use one for the reconstruction and one for bicubic:

        meter = Meter(grid, chunks)
        for each frame, in order: row = meter.add(hr_HWC, sr_HWC, hr_patches, sr_patches, labels)
        meter.result()

    Attributes:
        grid: the patches of the low-resolution frame.
        patch_psnr: PSNR of each patch of the frame last added, over the native pixels it owns;
            float32 (rows, cols).
    """

    patch_psnr: F32

    def __init__(self, grid: PatchGrid, chunks: int, extra: Iterable[str] = ()) -> None:
        """Begin with no frame.

        Args:
            grid: See `grid`.
            chunks: How many chunks the labels name.
            extra: Names of metrics beside those that are always computed.
        """
        self.grid = grid
        self._whole = Comparison(extra, grid=True)
        self._chunk_error = np.zeros(chunks, np.int64)
        self._chunk_pixels = np.zeros(chunks, np.int64)
        self._seams = _Seams(grid)

    def add(
        self, hr_HWC: U8, sr_HWC: U8, hr_patches: U8, sr_patches: U8, labels: I16
    ) -> dict[str, float | None]:
        """Take in the next frame and return its own figures.

        Shapes: frames uint8 (H, W, 3) of native size; patches uint8 (P, scale·patch_h,
            scale·patch_w, 3) of the padded frame, overlapping where the grid does; labels (P,) or
            (rows, cols), each patch's chunk.

        Returns: See `Comparison.add`.
        """
        pair = Pair(hr_HWC, sr_HWC, Patches(self.grid, hr_patches, sr_patches))
        self._seams.add(pair.error_HW)
        self._add_owned(pair.error_HW, labels.reshape(self.grid.rows, self.grid.cols))
        return self._whole.add(pair)

    def _add_owned(self, error_HW: I32, labels_RC: I16) -> None:
        error_RC, pixels_RC = _per_patch(error_HW, self.grid)
        self.patch_psnr = _psnr_of(error_RC, pixels_RC)
        # Adding integers at indices is exact; bincount with weights would round large sums.
        np.add.at(self._chunk_error, labels_RC, error_RC)
        np.add.at(self._chunk_pixels, labels_RC, pixels_RC)

    def result(self) -> Json:
        """All figures of the frames seen so far, as metrics.json holds them.

        Returns: those of `Comparison.result`, ``seams`` {``border``, ``inside``} in dB, and
            ``chunk_psnr``, one figure per chunk. None stands for "no pixels to measure".
        """
        assert self._whole.frames, "no frame was added"
        counted = zip(self._chunk_error.tolist(), self._chunk_pixels.tolist(), strict=True)
        return self._whole.result() | {
            "seams": self._seams.psnr(),
            "chunk_psnr": [Pool(error, pixels).psnr() for error, pixels in counted],
        }


def owned_psnr(error_HW: I32, grid: PatchGrid) -> F32:
    """PSNR in dB of every patch of a frame, over the native pixels that it owns.

    Shapes: squared error, summed over channels, int32 (H, W) -> float32 (rows, cols).
    """
    return _psnr_of(*_per_patch(error_HW, grid))


def _psnr_of(error_RC: I64, pixels_RC: I64) -> F32:
    return psnr(error_RC / (3 * pixels_RC)).astype(np.float32)


def _per_patch(error_HW: I32, grid: PatchGrid) -> tuple[I64, I64]:
    """Sum of the error over the native pixels that each patch owns, and their number: both (rows,
    cols)."""
    height, width = error_HW.shape
    tops, lefts = grid.owned_rows[:, 0] * grid.scale, grid.owned_cols[:, 0] * grid.scale
    by_row = np.add.reduceat(error_HW, tops, axis=0, dtype=np.int64)
    pixels = np.outer(np.diff(tops, append=height), np.diff(lefts, append=width))
    return np.add.reduceat(by_row, lefts, axis=1), pixels
