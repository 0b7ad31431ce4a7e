"""Pictures of several runs side by side: patch maps and crops. `stdo.reporting.plots` calls
them."""

import io
import itertools
import operator
import textwrap
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import imread

from stdo.chunks.score import PSNR_CAP
from stdo.core.types import F32, Json, UserError
from stdo.reporting.names import names
from stdo.reporting.runs import Run
from stdo.reporting.style import DPI, heading

HARDEST = "hardest for bicubic"
"""The crops at the same places in every run of one video and scale."""

_GREY = "#555555"
_PANEL = 2.5  # inches


def heatmaps(runs: Sequence[Run], frame: int | None = None, title: str = "") -> Figure:
    """Patch PSNR of one frame: bicubic and every run on one colour scale, below it the differences
    to the first run.

    Args:
        runs: One after the other for each video, backbone and scale; of several seeds the first is
            shown.
        frame: Which frame; None takes the middle one.
    """
    groups = []
    for members in _groups(runs):
        known = [(name, maps) for name, run in members if (maps := run.maps()) is not None]
        if known:
            groups.append((members[0][1], known))
    if not groups:
        raise UserError(
            "plot.kind=heatmaps: none of these runs has maps.npz; stdo.evaluate run=… makes it"
        )
    across = 1 + max(len(known) for _, known in groups)
    tall = float(np.clip(_PANEL * max(_aspect(run) for run, _ in groups), 0.9, 4.0)) + 0.5
    size = _PANEL * across + 1.1, (2 * tall + 0.3) * len(groups) + 0.4
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    heading(figure, title)
    parts = figure.subfigures(len(groups), 1, squeeze=False)[:, 0]
    for part, (run, known) in zip(parts, groups, strict=True):
        total = len(known[0][1][0])
        shown = total // 2 if frame is None else frame
        if not 0 <= shown < total:
            raise UserError(f"plot.frame={frame}: must be from 0 to {total - 1}")
        heading(part, f"{_where(run)} · frame {shown}", small=True)
        columns = [
            ("bicubic", known[0][1][1][shown]),
            *((name, ours_TRC[shown]) for name, (ours_TRC, _) in known),
        ]
        _maps_of(part, across, columns, _aspect(run))
    return figure


def _aspect(run: Run) -> float:
    """Height of the frame by its width."""
    return float(run.metrics["height"] / run.metrics["width"])


def _maps_of(part: SubFigure, across: int, maps: list[tuple[str, F32]], aspect: float) -> None:
    """Two rows of panels: the maps on one scale, and what each gains over the first run."""
    axes_RC = part.subplots(2, across, squeeze=False)
    for axes in axes_RC.flat:
        axes.set_axis_off()
    values = np.concatenate([values_RC.ravel() for _, values_RC in maps])
    values = values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1, np.float32)
    usual = values[values < PSNR_CAP] if (values < PSNR_CAP).any() else values
    norm = Normalize(
        float(usual.min()), max(float(np.percentile(usual, 98)), float(usual.min()) + 1)
    )
    first, first_RC = maps[1]
    gains = [
        (name, values_RC - first_RC)
        for name, values_RC in maps
        if values_RC.shape == first_RC.shape
    ]
    spread = max(
        float(
            np.nanpercentile(np.abs(np.concatenate([gain_RC.ravel() for _, gain_RC in gains])), 98)
        ),
        0.1,
    )
    slope = TwoSlopeNorm(0, -spread, spread)
    for axes, (name, values_RC) in zip(axes_RC[0], maps, strict=False):
        _panel(
            axes,
            values_RC,
            (norm, "viridis", ".1f"),
            name,
            f"patch mean {values_RC.mean():.2f} dB",
            aspect,
        )
    for axes, (name, gain_RC) in zip(axes_RC[1], gains, strict=False):
        own = name == first
        text = "counted from here" if own else f"patch mean {gain_RC.mean():+.2f} dB"
        _panel(
            axes, gain_RC, (slope, "PuOr", "+.2f"), name if own else f"minus {first}", text, aspect
        )
    for row, scale, label, ends in (
        (axes_RC[0], ScalarMappable(norm, "viridis"), "patch PSNR, dB", "max"),
        (axes_RC[1], ScalarMappable(slope, "PuOr"), "difference, dB", "both"),
    ):
        bar = part.colorbar(scale, ax=list(row), fraction=0.05, pad=0.01, extend=ends)
        bar.set_label(label, fontsize=8)
        bar.ax.tick_params(labelsize=7)


def _panel(
    axes: Axes,
    values_RC: F32,
    scale: tuple[Normalize, str, str],
    name: str,
    text: str,
    aspect: float,
) -> None:
    """One map. scale: its colours, and the format of the numbers, which are printed where there is
    room."""
    norm, colours, digits = scale
    rows, cols = values_RC.shape
    axes.imshow(
        values_RC, norm=norm, cmap=colours, aspect=aspect * cols / rows, interpolation="nearest"
    )
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(name, fontsize=8, fontweight="bold", loc="left", pad=14)
    axes.text(0, 1.02, text, transform=axes.transAxes, fontsize=7, color=_GREY, va="bottom")
    if cols > 7:
        return
    for row, col in np.ndindex(rows, cols):
        brightness = np.dot(
            colormaps[colours](norm(values_RC[row, col]))[:3], (0.299, 0.587, 0.114)
        )
        ink = "black" if brightness > 0.5 else "white"
        axes.text(
            col,
            row,
            f"{values_RC[row, col]:{digits}}",
            fontsize=6.5,
            color=ink,
            ha="center",
            va="center",
        )


def crops(runs: Sequence[Run], title: str = "") -> Figure:
    """The patches that are hardest for bicubic: a row each, with the truth, bicubic and every run,
    and their PSNR.

    Args:
        runs: As in `heatmaps`.
    """
    groups = [(members, places) for members in _groups(runs) if (places := _places(members))]
    if not groups:
        raise UserError(
            "plot.kind=crops: none of these runs has crops/crops.json; stdo.evaluate run=… makes it"
        )
    across = 2 + max(len(members) for members, _ in groups)
    tall = [1.95 * len(places) + 0.45 for _, places in groups]
    figure = Figure(figsize=(1.75 * across, sum(tall) + 0.4), dpi=DPI, layout="constrained")
    heading(figure, title)
    parts = figure.subfigures(len(groups), 1, squeeze=False, height_ratios=tall)[:, 0]
    for part, (members, places) in zip(parts, groups, strict=True):
        heading(part, _where(members[0][1]), small=True)
        axes_RC = part.subplots(len(places), across, squeeze=False)
        for axes in axes_RC.flat:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        for number, (place, entries) in enumerate(places.items()):
            line = axes_RC[number]
            (run, first) = next(
                (run, entry)
                for (_, run), entry in zip(members, entries, strict=True)
                if entry is not None
            )
            bicubic = first["bicubic"]
            line[0].set_ylabel(
                f"frame {place[0]}\nat {place[2]}, {place[1]}", fontsize=7, color=_GREY
            )
            _picture(line[0], run.picture(first, "truth"), "ground truth" if number == 0 else "")
            _picture(
                line[1],
                run.picture(first, "bicubic"),
                "bicubic" if number == 0 else "",
                f"{bicubic:.2f} dB",
            )
            for axes, (name, own), entry in zip(line[2:], members, entries, strict=False):
                if entry is not None:
                    text = f"{entry['ours']:.2f} dB ({entry['ours'] - bicubic:+.2f})"
                    _picture(axes, own.picture(entry, "ours"), name if number == 0 else "", text)
    return figure


def _picture(axes: Axes, png: bytes, name: str, text: str = "") -> None:
    try:
        pixels = imread(io.BytesIO(png), format="png")
    except (OSError, ValueError, SyntaxError):
        text = "damaged; stdo.evaluate makes it again"
    else:
        axes.imshow(pixels, interpolation="nearest")
    axes.set_title(
        textwrap.fill(name, 22), fontsize=7.5, fontweight="bold", loc="left", pad=14 if text else 4
    )
    axes.text(0, 1.02, text, transform=axes.transAxes, fontsize=7, color=_GREY, va="bottom")


def _places(members: Sequence[tuple[str, Run]]) -> dict[tuple[int, ...], list[Json | None]]:
    """(frame, top, left, height, width) -> the crop of each run there; None where a run has
    none."""
    place_of = operator.itemgetter("frame", "top", "left", "height", "width")
    found: list[dict[tuple[int, ...], Json]] = []
    for _, run in members:
        found.append({place_of(crop): crop for crop in run.crops() if crop["why"] == HARDEST})

    places: dict[tuple[int, ...], list[Json | None]] = {}
    for place in itertools.chain.from_iterable(found):
        places[place] = [each.get(place) for each in found]
    return places


def _groups(runs: Sequence[Run]) -> list[list[tuple[str, Run]]]:
    """Runs with their names by video, backbone and scale; of the seeds of one point the first."""
    named = list(zip(names(runs), runs, strict=True))
    named.sort(key=lambda pair: _clip(pair[1]))
    groups = []
    for _, members in groupby(named, key=lambda pair: _clip(pair[1])):
        first: dict[str, Run] = {}
        for name, run in members:
            if name not in first or run.metrics["seed"] < first[name].metrics["seed"]:
                first[name] = run
        groups.append(list(first.items()))
    return groups


def _where(run: Run) -> str:
    return f"{run.metrics['video']} · {run.metrics['backbone']} ×{run.metrics['scale']}"


def _clip(run: Run) -> tuple[str, int]:
    return _where(run), run.metrics["frames"]
