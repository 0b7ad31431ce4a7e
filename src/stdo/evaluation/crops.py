"""Choose the crops to show: largest gains, and the patch where the result is worst."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from stdo.chunks.grid import PatchGrid
from stdo.chunks.score import psnr, squared_error
from stdo.core.files import atomic
from stdo.core.types import F32, F64, I64, U8, Json

CROP = 96
"""Side of a crop in HR pixels, where the patch is that large."""

GAIN, LOSS, LOWEST = "largest gain", "worst: loses to bicubic", "worst: our lowest PSNR"
HARDEST = "hardest for bicubic"

Place = tuple[int, int, int]
Mask = npt.NDArray[np.bool_]

_VISIBLE_LOSS = 0.1  # dB; a smaller loss cannot be seen, and says nothing


@dataclass(frozen=True)
class Crop:
    """One patch worth showing.

    Attributes:
        frame, row, col: Its place.
        why: One of `GAIN`, `LOSS`, `LOWEST`, `HARDEST`.
        bicubic, ours: The patch's PSNR in dB.
    """

    frame: int
    row: int
    col: int
    why: str
    bicubic: float
    ours: float


def choose_crops(bicubic_TRC: F32, ours_TRC: F32, count: int = 4) -> list[Crop]:
    """Choose the patches where the squared error shrank most, apart from each other, and the one
    where we are worst.

    The worst patch is the one that loses most against bicubic, or, where none loses visibly, that
    of our lowest PSNR; it comes last. The others come from different times and places as far as the
    video has them, and only from where something is gained.

    Args:
        bicubic_TRC: PSNR of each patch in dB, (frames, rows, cols).
        ours_TRC: PSNR of each patch in dB, (frames, rows, cols).
        count: How many at most.
    """
    assert bicubic_TRC.shape == ours_TRC.shape, (bicubic_TRC.shape, ours_TRC.shape)
    gain_TRC = 10 ** (-bicubic_TRC.astype(np.float64) / 10) - 10 ** (
        -ours_TRC.astype(np.float64) / 10
    )
    worst, why = _worst(gain_TRC, bicubic_TRC, ours_TRC)
    places = [(place, GAIN) for place in _apart(gain_TRC, count - 1, worst)]
    return [_crop(place, why, bicubic_TRC, ours_TRC) for place, why in [*places, (worst, why)]]


def hardest(bicubic_TRC: F32, ours_TRC: F32, count: int = 4) -> list[Crop]:
    """The patches that bicubic does worst, apart from each other: the same for every run of one
    video.

    Args:
        bicubic_TRC: PSNR of each patch in dB, (frames, rows, cols).
        ours_TRC: PSNR of each patch in dB, (frames, rows, cols).
    """
    error_TRC = 10 ** (-bicubic_TRC.astype(np.float64) / 10)
    return [_crop(place, HARDEST, bicubic_TRC, ours_TRC) for place in _apart(error_TRC, count)]


def _crop(place: Place, why: str, bicubic_TRC: F32, ours_TRC: F32) -> Crop:
    return Crop(*place, why, float(bicubic_TRC[place]), float(ours_TRC[place]))


def _apart(value_TRC: F64, count: int, taken: Place | None = None) -> list[Place]:
    """Up to ``count`` places of the largest values above 0, from different times and places as far
    as there are any.

    Args:
        taken: A place to keep away from in space, and not to return.
    """
    grids = np.ogrid[tuple(map(slice, value_TRC.shape))]
    frames, rows, cols = value_TRC.shape
    reach = max(1, frames // (2 * (count + 1))), max(1, rows // 8), max(1, cols // 8)

    def near(place: Place) -> list[Mask]:
        """Where time, row and column are close to a place's."""
        return [abs(axis - at) <= far for axis, at, far in zip(grids, place, reach, strict=True)]

    then, there, used = (np.zeros_like(value_TRC, bool) for _ in range(3))
    if taken is not None:
        _, row, col = near(taken)
        there |= row & col
        used[taken] = True
    places: list[Place] = []
    while len(places) < count:
        place = _best(value_TRC, [then | there, there, then | used, used])
        if place is None:
            break
        places.append(place)
        now, row, col = near(place)
        used[place] = True
        then |= now
        there |= row & col
    return places


def _best(gain_TRC: F64, shut: Sequence[Mask]) -> Place | None:
    """Place of the largest gain outside the first mask that leaves any; None when nothing is gained
    anywhere."""
    for mask in shut:
        allowed = np.where(mask, 0, gain_TRC)
        if allowed.max() > 0:
            return _index(allowed.argmax(), allowed.shape)
    return None


def _worst(gain_TRC: F64, bicubic_TRC: F32, ours_TRC: F32) -> tuple[Place, str]:
    lost = bicubic_TRC - ours_TRC >= _VISIBLE_LOSS
    if lost.any():
        return _index(np.where(lost, gain_TRC, np.inf).argmin(), lost.shape), LOSS
    return _index(ours_TRC.argmin(), lost.shape), LOWEST


def _index(flat: np.intp, shape: tuple[int, ...]) -> Place:
    t, r, c = (int(i) for i in np.unravel_index(flat, shape))
    return t, r, c


def window(crop: Crop, grid: PatchGrid, images: tuple[U8, U8, U8]) -> tuple[int, int, int, int]:
    """The part of a patch that shows best what the crop was chosen for.

    Args:
        images: Ground truth, bicubic and our result of the crop's frame, uint8 (H, W, 3).

    Returns (top, left, height, width) in HR pixels: up to `CROP` a side, inside the patch and the
    frame.
    """
    hr, bicubic, ours = images
    loss, gain = (
        squared_error(hr, ours).astype(np.int64),
        squared_error(hr, bicubic).astype(np.int64),
    )
    value_HW = {GAIN: gain - loss, LOSS: loss - gain, LOWEST: loss, HARDEST: gain}[crop.why]
    scale = grid.scale
    top, left = int(grid.tops[crop.row]) * scale, int(grid.lefts[crop.col]) * scale
    bottom = min(top + grid.patch_h * scale, value_HW.shape[0])
    right = min(left + grid.patch_w * scale, value_HW.shape[1])
    height, width = min(CROP, bottom - top), min(CROP, right - left)
    sums = _box_sums(value_HW[top:bottom, left:right], height, width)
    y, x = np.unravel_index(sums.argmax(), sums.shape)
    return top + int(y), left + int(x), height, width


def _box_sums(value_HW: I64, height: int, width: int) -> I64:
    """Sum of every height × width box: (H − height + 1, W − width + 1)."""
    table = np.pad(value_HW.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums: I64 = (
        table[height:, width:]
        - table[:-height, width:]
        - table[height:, :-width]
        + table[:-height, :-width]
    )
    return sums


def save_crops(
    folder: Path,
    crops: Sequence[Crop],
    grid: PatchGrid,
    pictures: Callable[[int], tuple[U8, U8, U8]],
) -> None:
    """Write the crops as PNG files, with crops.json that says what they show.

    Args:
        pictures: Frame number -> its ground truth, bicubic and our result, uint8 (H, W, 3) of
            native size. Each entry: frame, row, col, why, the rectangle in HR pixels, its PSNR in
            dB by bicubic and by us, and the files.
    """
    folder.mkdir(exist_ok=True)
    entries: list[Json] = []
    for number, crop in enumerate(crops):
        images = pictures(crop.frame)
        top, left, height, width = window(crop, grid, images)
        shown = [image[top : top + height, left : left + width] for image in images]
        files = {name: f"{number}-{name}.png" for name in ("truth", "bicubic", "ours")}
        for pixels, file in zip(shown, files.values(), strict=True):
            with atomic(folder / file) as partial:
                Image.fromarray(np.ascontiguousarray(pixels)).save(partial)
        bicubic, ours = (
            float(psnr(squared_error(shown[0], image).mean() / 3)) for image in shown[1:]
        )
        place = {"top": top, "left": left, "height": height, "width": width}
        entries.append(asdict(crop) | place | {"bicubic": bicubic, "ours": ours, "files": files})
    with atomic(folder / "crops.json") as partial:
        partial.write_text(json.dumps(entries, indent=1), encoding="utf-8")
