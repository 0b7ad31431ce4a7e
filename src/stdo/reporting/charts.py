"""Charts of figures: lines, points and bars. `stdo.reporting.plots` calls them."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from stdo.core.types import Json
from stdo.reporting.look import BICUBIC
from stdo.reporting.runs import method_name
from stdo.reporting.style import (
    DPI,
    LABELS,
    Series,
    dress,
    heading,
    legend,
    said,
    series_of,
    subheading,
)

_PLACE = ("video", "backbone", "scale")


def _points(rows: Sequence[Json], x: str, y: str) -> list[tuple[float, float, float, float]]:
    """(x, mean y, lowest y, highest y) of the rows that have both, by x; seeds of one point share
    the mean of x."""
    points: dict[Any, list[tuple[float, float]]] = {}
    for row in rows:
        if row[x] is not None and row[y] is not None:
            points.setdefault((row["run"], *_place(row)), []).append((float(row[x]), float(row[y])))
    found = []
    for pairs in points.values():
        values = [value for _, value in pairs]
        found.append((fmean(at for at, _ in pairs), fmean(values), min(values), max(values)))
    return sorted(found)


def _panels(
    rows: Sequence[Json], used: Sequence[str], title: str, wide: float = 4.6
) -> tuple[Figure, list[tuple[Axes, list[Json]]]]:
    """A figure with a panel for each video, backbone and scale among the rows, unless the series
    tell them apart."""
    groups: dict[tuple[Any, ...], list[Json]] = {}
    keys = [key for key in _PLACE if key not in used]
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    across = min(3, len(groups))
    down = -(-len(groups) // across)
    figure = Figure(figsize=(wide * across + 2.2, 3.3 * down + 0.5), dpi=DPI, layout="constrained")
    heading(figure, title)
    panels = []
    for index, (values, members) in enumerate(groups.items()):
        axes = figure.add_subplot(down, across, index + 1)
        subheading(axes, [said(key, value) for key, value in zip(keys, values, strict=True)])
        dress(axes)
        panels.append((axes, members))
    return figure, panels


def _clipped(text: str) -> str:
    return text if len(text) <= 26 else f"{text[:25]}…"


def _place(row: Json) -> tuple[Any, ...]:
    return tuple(row[key] for key in _PLACE)


def _baseline(axes: Axes, rows: Sequence[Json], y: str) -> None:
    """Bicubic's figure, or zero for a difference, as a dashed line."""
    level, label = None, "bicubic"
    if y == "gain_frame":
        level = 0.0
    elif y.startswith("over_"):
        method = y.removeprefix("over_")
        level, label = 0.0, method_name(method)
    else:
        column = y.replace("psnr_", "bicubic_") if y.startswith("psnr_") else f"bicubic_{y}"
        known = [row[column] for row in rows if row.get(column) is not None]
        level = fmean(known) if known else None
    if level is not None:
        axes.axhline(
            level, color=BICUBIC.colour, linestyle=(0, (4, 3)), linewidth=1.2, label=label, zorder=1
        )


def _axes_text(axes: Axes, rows: Sequence[Json], x: str, y: str, log: bool) -> None:
    axes.set_xlabel(LABELS.get(x, x), fontsize=8.5)
    axes.set_ylabel(LABELS.get(y, y), fontsize=8.5)
    known = sorted({float(row[x]) for row in rows if row[x] is not None})
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    if known and 1 < len(known) <= 8 and (x in ("chunks", "passes", "scale")):
        axes.set_xticks(known, [f"{value:g}" for value in known])
        axes.set_xticks([], minor=True)
    else:
        axes.xaxis.set_major_formatter(EngFormatter())


def lines(
    rows: Sequence[Json],
    x: str,
    y: str = "psnr_frame",
    by: Sequence[str] = ("method",),
    log: bool = False,
    title: str = "",
) -> Figure:
    """One line for each series over a column, a panel for each video, backbone and scale; bicubic
    is a dashed line.

    Args:
        rows: Of results.tsv.
        by: The columns whose values make a series.
        log: A logarithmic x axis.
    """
    figure, panels = _panels(rows, by, title)
    for axes, members in panels:
        _baseline(axes, members, y)
        for series in series_of(rows, by):
            points = _points(series.among(members), x, y)
            if not points:
                continue
            at, mean, low, high = zip(*points, strict=True)
            axes.plot(
                at, mean, label=series.label, color=series.colour, marker=series.marker,
                linestyle=series.dashes,
                markersize=5.5, linewidth=1.6, markeredgecolor="white", markeredgewidth=0.6,
            )  # fmt: skip
            if x == "chunks" and at[-1] == 1:  # awDNN knows no other number of chunks
                axes.axhline(mean[0], color=series.colour, linestyle=":", linewidth=1.1, zorder=1)
            axes.fill_between(at, low, high, color=series.colour, alpha=0.18, linewidth=0)
        _axes_text(axes, members, x, y, log)
    legend(figure)
    return figure


def scatter(
    rows: Sequence[Json],
    x: str,
    y: str = "psnr_frame",
    by: Sequence[str] = ("method",),
    text: str | None = None,
    log: bool = False,
    title: str = "",
) -> Figure:
    """Quality against what it costs: a point for each point of the study, its seeds' range as a
    bar.

    Args:
        text: The column that is written beside each point. The other arguments are as in `lines`.
    """
    figure, panels = _panels(rows, [*by, text or ""], title)
    for axes, members in panels:
        _baseline(axes, members, y)
        for series in series_of(rows, by):
            among = series.among(members)
            for value in dict.fromkeys(row.get(text or "") for row in among):
                points = _points([row for row in among if row.get(text or "") == value], x, y)
                if not points:
                    continue
                at, mean, low, high = zip(*points, strict=True)
                axes.vlines(at, low, high, color=series.colour, linewidth=1.2)
                axes.plot(
                    at, mean, label=series.label, color=series.colour, marker=series.marker,
                    linestyle="none",
                    markersize=7.5, markeredgecolor="#333333", markeredgewidth=0.5,
                )  # fmt: skip
                for place in zip(at, mean, strict=True) if text else ():
                    axes.annotate(
                        str(value),
                        place,
                        (6, 3),
                        textcoords="offset points",
                        fontsize=6.5,
                        color="#555555",
                    )
        _axes_text(axes, members, x, y, log)
    legend(figure)
    return figure


def bars(
    rows: Sequence[Json],
    y: str = "gain_frame",
    by: Sequence[str] = ("method",),
    paper: str | None = None,
    title: str = "",
) -> Figure:
    """Series side by side for each video, backbone and scale, with the range of their seeds; a
    strip for each video.

    Args:
        paper: A column with the paper's figure, drawn as a short black line on each bar.
    """
    places = list(dict.fromkeys(_place(row) for row in rows))
    varying = [
        key
        for key, values in zip(_PLACE, zip(*places, strict=True), strict=True)
        if len(set(values)) > 1
    ]

    by_video: dict[str, list[tuple[Any, ...]]] = {}
    for place in places:
        by_video.setdefault(place[0], []).append(place)
    strips = list(by_video.values())
    if max(map(len, strips)) == 1:  # a video is one group of bars: all fit side by side
        strips = [places]

    series = series_of(rows, by)
    if any(_is_mixed(each) for each in series):
        # A bar is one point and its seeds, never a mix of settings
        series = series_of(rows, ["run"])
    width = 3.0 + 0.22 * max(max(map(len, strips)) * (len(series) + 1.5), 16)
    figure = Figure(figsize=(width, 0.6 + 3.0 * len(strips)), dpi=DPI, layout="constrained")
    heading(figure, title)
    for axes, strip in zip(
        figure.subplots(len(strips), sharey=True, squeeze=False)[:, 0], strips, strict=True
    ):
        dress(axes)
        axes.grid(visible=False, axis="x")
        for number, each in enumerate(series):
            _bars_of(axes, each, strip, (number + 0.5) / len(series), 0.84 / len(series), y, paper)
        axes.margins(y=0.14)
        axes.axhline(0, color="#666666", linewidth=0.8)
        shown = [key for key in varying if len(strips) == 1 or key != "video"]
        subheading(
            axes, [said(key, strip[0][_PLACE.index(key)]) for key in _PLACE if key not in shown]
        )
        if shown:
            axes.set_xticks(range(len(strip)), [_tick(place, shown) for place in strip], fontsize=8)
        else:
            axes.set_xticks([])
        axes.set_ylabel(LABELS.get(y, y), fontsize=8.5)
    legend(figure)
    return figure


def _is_mixed(series: Series) -> bool:
    """Whether a place of the series has rows of several runs."""
    runs: dict[tuple[Any, ...], set[Any]] = {}
    for row in series.rows:
        runs.setdefault(_place(row), set()).add(row["run"])
    return any(len(names) > 1 for names in runs.values())


def _tick(place: tuple[Any, ...], keys: Sequence[str]) -> str:
    """What stands below the bars of a place: a line for each key."""
    return "\n".join(_clipped(said(key, place[_PLACE.index(key)])) for key in keys)


def _bars_of(
    axes: Axes,
    series: Series,
    places: Sequence[tuple[Any, ...]],
    share: float,
    width: float,
    y: str,
    paper: str | None,
) -> None:
    """The bars of one series. share: where its bar stands among the others, 0 to 1."""
    for index, place in enumerate(places):
        rows = [row for row in series.rows if _place(row) == place and row[y] is not None]
        if not rows:
            continue
        values = [float(row[y]) for row in rows]
        at = index - 0.42 + 0.84 * share
        axes.bar(
            at, fmean(values), width * 0.94, label=series.label,
            color=series.colour, hatch=series.hatch, edgecolor="white",
        )  # fmt: skip
        axes.vlines(at, min(values), max(values), color="#222222", linewidth=1.1)
        tip, gap, align = (
            (max(values), 2, "bottom") if fmean(values) >= 0 else (min(values), -2, "top")
        )
        axes.annotate(
            f"{fmean(values):+.2f}", (at, tip), (0, gap), textcoords="offset points", fontsize=6.5,
            color="#333333", ha="center", va=align, rotation=90 if width < 0.15 else 0,
        )  # fmt: skip
        printed = next((row[paper] for row in rows if paper and row[paper] is not None), None)
        if printed is not None:
            axes.hlines(
                printed,
                at - width * 0.47,
                at + width * 0.47,
                color="black",
                linewidth=2.2,
                label="paper",
                zorder=4,
            )
