"""Pictures of a result: heat map of PSNR (`heatmap`) and crops (`comparison`)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from stdo.chunks.grid import PatchGrid
from stdo.chunks.score import PSNR_CAP, psnr, squared_error
from stdo.core.files import atomic
from stdo.core.types import F32, U8
from stdo.evaluation.crops import Crop, window

PatchMaps = Mapping[str, F32]
"""Name -> PSNR of each patch of one frame in dB, float32 (rows, cols)."""

_DPI = 144
_POINT = _DPI / 72
"""Pixels per typographic point."""

_GAP = 14
_COLOURS = "viridis"
_MARK = "#ff3b30"
_GREY = "#555555"


class _Sheet:
    """A figure that is measured in pixels from its top left corner."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        self.text(_GAP, _GAP, title, fontsize=11, fontweight="bold")

    def axes(self, left: int, top: int, width: int, height: int) -> Axes:
        box = (
            left / self.width,
            1 - (top + height) / self.height,
            width / self.width,
            height / self.height,
        )
        axes = self.figure.add_axes(box)
        axes.set(xticks=[], yticks=[])
        return axes

    def text(self, left: int, top: int, text: str, **style: Any) -> None:
        self.figure.text(left / self.width, 1 - top / self.height, text, va="top", **style)

    def save(self, path: Path) -> None:
        with atomic(path) as partial:
            self.figure.savefig(partial, format="png")


def heatmap(
    path: Path, grid: PatchGrid, frames: Sequence[tuple[str, U8, PatchMaps]], *, title: str = ""
) -> None:
    """Draw patch PSNR over some frames, as the paper's Figures 1 and 3: one row a frame, one colour
    scale for all.

    Args:
        path: PNG file to write.
        grid: Patches of the LR frame; each is drawn over the native HR pixels that it owns.
        frames: For each frame its name, its pixels uint8 (H, W, 3), and its maps; the first map is
            what the gain of the others is counted from.
        title: Heading of the picture.
    """
    height, width = frames[0][1].shape[:2]
    panel_h = int(np.clip(430 * np.sqrt(height / width), 90, 900))
    panel_w = int(np.clip(panel_h * width / height, 1, 1200))
    column, row_height, top, bar = max(panel_w, 300) + 2 * _GAP, panel_h + 84, 58, 150
    sheet = _Sheet(
        _GAP + (1 + len(frames[0][2])) * column + bar, top + len(frames) * row_height, title
    )
    norm, extend = _colour_scale([values for _, _, maps in frames for values in maps.values()])
    for row, (name, rgb_HWC, maps) in enumerate(frames):
        upper = top + row * row_height
        captions = [(name, f"{width}×{height} pixels"), *_map_captions(maps)]
        for col, (heading, detail) in enumerate(captions):
            sheet.text(_GAP + col * column, upper, heading, fontsize=9, fontweight="bold")
            sheet.text(_GAP + col * column, upper + 22, detail, fontsize=7.5, color=_GREY)
        panels = [
            sheet.axes(_GAP + col * column, upper + 46, panel_w, panel_h)
            for col in range(len(captions))
        ]
        panels[0].imshow(rgb_HWC, aspect="auto")
        for axes, values_RC in zip(panels[1:], maps.values(), strict=True):
            axes.set(xlim=(0, width), ylim=(height, 0))
            _draw_map(axes, grid, values_RC, norm=norm, zoom=panel_w / width)
    bar_axes = sheet.axes(sheet.width - bar, top + 46, 26, min(600, len(frames) * row_height - 84))
    colour_bar = sheet.figure.colorbar(ScalarMappable(norm, _COLOURS), cax=bar_axes, extend=extend)
    colour_bar.set_label("patch PSNR, dB", fontsize=9)
    bar_axes.tick_params(labelsize=8)
    sheet.save(path)


def _map_captions(maps: PatchMaps) -> list[tuple[str, str]]:
    means = [float(values_RC.mean()) for values_RC in maps.values()]
    gains = ["", *(f" ({mean - means[0]:+.2f})" for mean in means[1:])]
    return [
        (label, f"patch mean {mean:.2f} dB{gain}")
        for label, mean, gain in zip(maps, means, gains, strict=True)
    ]


def _colour_scale(maps: Sequence[F32]) -> tuple[Normalize, str]:
    """Colours from the lowest PSNR to about the highest: a few still or black patches must not eat
    the whole range."""
    values = np.concatenate([values.ravel() for values in maps])
    usual = values[values < PSNR_CAP] if (values < PSNR_CAP).any() else values
    low, high = float(usual.min()), float(np.percentile(usual, 95))
    if usual.max() - high < 3:
        high = float(usual.max())
    return Normalize(low, max(high, low + 1)), "max" if values.max() > high else "neither"


def _draw_map(axes: Axes, grid: PatchGrid, values_RC: F32, *, norm: Normalize, zoom: float) -> None:
    """Colour each patch's own pixels and print its value where that fits. zoom: picture pixels per
    frame pixel."""
    width, height = axes.get_xlim()[1], axes.get_ylim()[0]
    x = np.minimum(np.append(grid.owned_cols[:, 0], grid.width) * grid.scale, width)
    y = np.minimum(np.append(grid.owned_rows[:, 0], grid.height) * grid.scale, height)
    cells_w, cells_h = np.diff(x) * zoom / _POINT, np.diff(y) * zoom / _POINT
    mesh = axes.pcolormesh(x, y, values_RC, norm=norm, cmap=_COLOURS)
    if min(np.median(cells_w), np.median(cells_h)) > 12:
        mesh.set(edgecolor="white", linewidth=0.4)
    for row, col in np.ndindex(*values_RC.shape):
        size, rotation = _text_fit(float(cells_w[col]), float(cells_h[row]))
        if size < 4.5:
            continue
        value = float(values_RC[row, col])
        brightness = np.dot(colormaps[_COLOURS](norm(value))[:3], (0.299, 0.587, 0.114))
        axes.text(
            (x[col] + x[col + 1]) / 2,
            (y[row] + y[row + 1]) / 2,
            f"{value:.1f}" if value < PSNR_CAP else "same",
            fontsize=size,
            rotation=rotation,
            color="black" if brightness > 0.5 else "white",
            ha="center",
            va="center",
        )


def _text_fit(width: float, height: float) -> tuple[float, int]:
    """Font size (at most 9 points) and rotation with which four figures fill a cell measured in
    points best."""
    level, upright = min(width / 2.7, height / 1.35, 9.0), min(height / 2.7, width / 1.35, 9.0)
    return (level, 0) if level >= min(upright, 6.0) else (upright, 90)


def comparison(
    path: Path,
    grid: PatchGrid,
    crops: Sequence[Crop],
    pictures: Callable[[int], tuple[U8, U8, U8]],
    *,
    name: str = "ours",
    title: str = "",
) -> None:
    """Draw crops of ground truth, bicubic and our result side by side, enlarged without smoothing.

    Args:
        path: PNG file to write.
        grid: Patches of the LR frame.
        crops: What to show, from `choose_crops`; one row each, beside the frame with the crop
            marked in it.
        pictures: Frame number -> its ground truth, bicubic and our result, uint8 (H, W, 3) of
            native size.
        name: What to call our result.
        title: Heading of the picture.
    """
    panel, caption, top = 288, 84, 58
    height, width = pictures(crops[0].frame)[0].shape[:2]
    fit = min(panel / height, 512 / width)
    thumb_w, thumb_h = max(1, round(width * fit)), max(1, round(height * fit))
    left = _GAP + max(thumb_w, 250) + _GAP
    row_height = caption + panel + 2 * _GAP
    sheet = _Sheet(left + 3 * (panel + _GAP), top + len(crops) * row_height, title)
    for number, crop in enumerate(crops):
        images = pictures(crop.frame)
        y, x, size_y, size_x = window(crop, grid, images)
        upper = top + number * row_height
        place = (
            f"frame {crop.frame}, patch row {crop.row}, column {crop.col}\n"
            f"whole patch: {crop.bicubic:.2f} → {crop.ours:.2f} dB\n"
            f"shown: {size_x}×{size_y} pixels at {x}, {y}"
        )
        sheet.text(_GAP, upper, crop.why, fontsize=8, fontweight="bold")
        sheet.text(_GAP, upper + 23, place, fontsize=6.5, color=_GREY)
        axes = sheet.axes(_GAP, upper + caption, thumb_w, thumb_h)
        axes.imshow(images[0], aspect="auto")
        axes.add_patch(
            Rectangle(
                (x - 0.5, y - 0.5),
                size_x,
                size_y,
                fill=False,
                edgecolor=_MARK,
                linewidth=1.5,
                clip_on=False,
            )
        )
        shown = [image[y : y + size_y, x : x + size_x] for image in images]
        zoom = max(1, panel // max(size_x, size_y))
        for index, (pixels, label) in enumerate(zip(shown, _crop_labels(shown, name), strict=True)):
            start = left + index * (panel + _GAP)
            sheet.text(start, upper + caption - 21, label, fontsize=8)
            axes = sheet.axes(start, upper + caption, size_x * zoom, size_y * zoom)
            axes.imshow(pixels, interpolation="nearest", aspect="auto")
            axes.axis("off")
    sheet.save(path)


def _crop_labels(shown: Sequence[U8], name: str) -> tuple[str, str, str]:
    before, after = (float(psnr(squared_error(shown[0], image).mean() / 3)) for image in shown[1:])
    return (
        "ground truth",
        f"bicubic {before:.2f} dB",
        f"{name} {after:.2f} dB ({after - before:+.2f})",
    )
