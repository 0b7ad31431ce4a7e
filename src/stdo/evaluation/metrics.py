"""PSNR in every protocol of docs/protocol.md, and SSIM, in one pass."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from stdo.chunks.grid import PatchGrid
from stdo.chunks.score import I32, psnr, squared_error, strips
from stdo.core.types import F32, I16, I64, U8, Json

SSIM_WINDOW = 11
"""Side of SSIM's Gaussian window (sigma 1.5) in pixels."""

CAFM_EVERY = 10
"""CaFM's protocol looks at frames 0, 10, 20, …"""

_LUMA = np.array([65.481, 128.553, 24.966], np.float32) / np.float32(255)
_STRIP = 64


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


def shave(images: U8, border: int) -> U8:
    """The images without ``border`` pixels on each side, as a view; empty where nothing is left.

    Shapes: (…, H, W, 3) -> (…, max(H − 2·border, 0), max(W − 2·border, 0), 3).

    >>> shave(np.zeros((9, 8, 3), np.uint8), 3).shape, shave(np.zeros((9, 5, 3), np.uint8), 3).shape
    ((3, 2, 3), (3, 0, 3))
    """
    assert border > 0, border
    return images[..., border:-border, border:-border, :]


def ssim(x_HW: F32, y_HW: F32) -> float | None:
    """Mean structural similarity of two luma images (Wang et al. 2004), 11×11 Gaussian window of
    sigma 1.5.

    ``(2 μx μy + C1)(2 σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2))`` with ``C1 = (0.01·255)²``
    and ``C2 = (0.03·255)²``, averaged over a window around every pixel, the image being mirrored at
    its edges. Gives torchmetrics' figure (a test holds it to that) about fifteen times as fast: the
    window is applied as two passes of shifted additions.

    Shapes: two float32 (H, W) -> a float up to 1; None where a side is too short to be mirrored (5
        pixels or fewer).

    >>> ssim(np.full((16, 16), 90, np.float32), np.full((16, 16), 90, np.float32))
    1.0
    >>> ssim(np.zeros((16, 5), np.float32), np.zeros((16, 5), np.float32)) is None
    True
    """
    assert x_HW.shape == y_HW.shape, (x_HW.shape, y_HW.shape)
    reach = SSIM_WINDOW // 2
    if min(x_HW.shape) <= reach:
        return None
    rows = np.pad(np.arange(len(x_HW)), reach, mode="reflect")
    # Strips of rows stay in the processor's cache, which makes it several times as fast as the
    # whole frame at once.
    total = 0.0
    for top in range(0, len(x_HW), _STRIP):
        strip, sides = rows[top : top + _STRIP + 2 * reach], ((0, 0), (reach, reach))
        x, y = (
            torch.from_numpy(np.pad(image_HW[strip], sides, mode="reflect"))
            for image_HW in (x_HW, y_HW)
        )
        total += float(_similarity(x, y).sum(dtype=torch.float64))
    return total / x_HW.size


def _similarity(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    mean_x, mean_y, xx, yy, xy = _window(torch.stack([x, y, x * x, y * y, x * y]))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    square, cross = mean_x * mean_x + mean_y * mean_y, mean_x * mean_y
    similarity: torch.Tensor = (
        (2 * cross + c1) * (2 * (xy - cross) + c2) / ((square + c1) * (xx + yy - square + c2))
    )
    return similarity


def _window(planes_NHW: torch.Tensor) -> torch.Tensor:
    """Gaussian means over the windows inside the planes, (N, H − 10, W − 10)."""
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * 1.5**2))
    weights = (weights / weights.sum()).tolist()
    for axis in (1, 2):
        length = planes_NHW.shape[axis] - SSIM_WINDOW + 1
        total = planes_NHW.narrow(axis, 0, length) * weights[0]
        for offset in range(1, SSIM_WINDOW):
            total.add_(planes_NHW.narrow(axis, offset, length), alpha=weights[offset])
        planes_NHW = total
    return planes_NHW


@dataclass
class _Pool:
    """Squared error of many pixels, and its PSNR."""

    error: int = 0
    pixels: int = 0

    def add(self, error: I32) -> None:
        self.error += int(error.sum(dtype=np.int64))
        self.pixels += error.size

    def psnr(self) -> float | None:
        return float(psnr(self.error / (3 * self.pixels))) if self.pixels else None


@dataclass
class _Mean:
    """Mean of the values that exist."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.total += value
            self.count += 1

    def value(self) -> float | None:
        return self.total / self.count if self.count else None


@dataclass
class Comparison:
    """PSNR and SSIM of whole frames against the ground truth, collected frame by frame."""

    frames: int = 0
    _frame: _Mean = field(default_factory=_Mean, init=False)
    _luma: _Mean = field(default_factory=_Mean, init=False)
    _ssim: _Mean = field(default_factory=_Mean, init=False)
    _pooled: _Pool = field(default_factory=_Pool, init=False)

    def add(self, hr_HWC: U8, sr_HWC: U8, error_HW: I32 | None = None) -> dict[str, float | None]:
        """Take in the next frame and return its own figures.

        Args:
            hr_HWC: uint8 (H, W, 3).
            sr_HWC: uint8 (H, W, 3).
            error_HW: Their squared error, where the caller has it already.

        Returns:
            ``psnr`` and ``y`` (RGB and luma PSNR in dB) and ``ssim`` (None where a side has 5
            pixels or fewer).
        """
        error_HW = squared_error(hr_HWC, sr_HWC) if error_HW is None else error_HW
        row = {"psnr": float(psnr(error_HW.mean(dtype=np.float64) / 3)), **_of_luma(hr_HWC, sr_HWC)}
        self._frame.add(row["psnr"])
        self._luma.add(row["y"])
        self._ssim.add(row["ssim"])
        self._pooled.add(error_HW)
        self.frames += 1
        return row

    def result(self) -> Json:
        """``psnr`` {``frame``, ``pooled``, ``y``} in dB and ``ssim`` of the frames seen so far."""
        figures = {
            "frame": self._frame.value(),
            "pooled": self._pooled.psnr(),
            "y": self._luma.value(),
        }
        return {"psnr": figures, "ssim": self._ssim.value()}


@dataclass
class _Seams:
    """Squared error beside the lines where two patches meet, up to ``scale`` pixels away, and of
    all other pixels."""

    grid: PatchGrid
    border: _Pool = field(default_factory=_Pool)
    inside: _Pool = field(default_factory=_Pool)

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


@dataclass
class Meter:
    """Collects every protocol's figures frame by frame, in memory that does not grow with the
    video.

    Use one for the reconstruction and one for bicubic:

        meter = Meter(grid, chunks)
        for each frame, in order: row = meter.add(hr_HWC, sr_HWC, hr_patches, sr_patches, labels)
        meter.result()

    Attributes:
        grid: the patches of the low-resolution frame.
        chunks: how many chunks the labels name.
        patch_psnr: PSNR of each patch of the frame last added, over the native pixels it owns;
            float32 (rows, cols).
    """

    grid: PatchGrid
    chunks: int
    patch_psnr: F32 = field(init=False)
    _whole: Comparison = field(default_factory=Comparison, init=False)
    _cafm: _Mean = field(default_factory=_Mean, init=False)
    _patches: _Pool = field(default_factory=_Pool, init=False)

    def __post_init__(self) -> None:
        self._chunk_error = np.zeros(self.chunks, np.int64)
        self._chunk_pixels = np.zeros(self.chunks, np.int64)
        self._seams = _Seams(self.grid)

    def add(
        self, hr_HWC: U8, sr_HWC: U8, hr_patches: U8, sr_patches: U8, labels: I16
    ) -> dict[str, float | None]:
        """Take in the next frame and return its own figures.

        Shapes: frames uint8 (H, W, 3) of native size; patches uint8 (P, scale·patch_h,
            scale·patch_w, 3) of the padded frame, overlapping where the grid does; labels (P,) or
            (rows, cols), each patch's chunk.

        Returns: ``psnr`` and ``y`` (RGB and luma PSNR in dB) and ``ssim`` (None where a side has 5
            pixels or fewer).
        """
        error = squared_error(hr_HWC, sr_HWC)
        if self._whole.frames % CAFM_EVERY == 0:
            border = self.grid.scale + 6
            inner = _Pool()
            inner.add(error[border:-border, border:-border])
            self._cafm.add(inner.psnr())
        row = self._whole.add(hr_HWC, sr_HWC, error)
        self._seams.add(error)
        self._add_owned(error, labels.reshape(self.grid.rows, self.grid.cols))
        border = self.grid.scale + 4
        self._patches.add(squared_error(shave(hr_patches, border), shave(sr_patches, border)))
        return row

    def _add_owned(self, error_HW: I32, labels_RC: I16) -> None:
        error_RC, pixels_RC = _per_patch(error_HW, self.grid)
        self.patch_psnr = _psnr_of(error_RC, pixels_RC)
        # Adding integers at indices is exact; bincount with weights would round large sums.
        np.add.at(self._chunk_error, labels_RC, error_RC)
        np.add.at(self._chunk_pixels, labels_RC, pixels_RC)

    def result(self) -> Json:
        """All figures of the frames seen so far, as metrics.json holds them.

        Returns: ``psnr`` {``frame``, ``pooled``, ``stdo_patch``, ``cafm_frame``, ``y``} in dB,
            ``ssim``, ``seams`` {``border``, ``inside``} in dB, and ``chunk_psnr``, one figure per
            chunk. None stands for "no pixels to measure".
        """
        assert self._whole.frames, "no frame was added"
        whole = self._whole.result()
        counted = zip(self._chunk_error.tolist(), self._chunk_pixels.tolist(), strict=True)
        return {
            "psnr": {
                "frame": whole["psnr"]["frame"],
                "pooled": whole["psnr"]["pooled"],
                "stdo_patch": self._patches.psnr(),
                "cafm_frame": self._cafm.value(),
                "y": whole["psnr"]["y"],
            },
            "ssim": whole["ssim"],
            "seams": self._seams.psnr(),
            "chunk_psnr": [_Pool(error, pixels).psnr() for error, pixels in counted],
        }


def _of_luma(hr_HWC: U8, sr_HWC: U8) -> dict[str, float | None]:
    hr_HW, sr_HW = luma(hr_HWC), luma(sr_HWC)
    similarity = ssim(hr_HW, sr_HW)
    difference_HW = np.subtract(hr_HW, sr_HW, out=hr_HW)
    energy_HW = np.square(difference_HW, out=difference_HW)
    return {"y": float(psnr(energy_HW.mean(dtype=np.float64))), "ssim": similarity}


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
