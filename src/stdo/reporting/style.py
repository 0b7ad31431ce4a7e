"""Style of plots: colours, marks, labels, heading and legend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, FigureBase

from stdo.core.types import Json
from stdo.metrics.registry import METRICS, OTHERS, PROTOCOLS
from stdo.reporting.look import look
from stdo.reporting.runs import method_name

DPI = 144
"""Dots per inch of every plot."""

LABELS = {
    **{f"psnr_{protocol}": f"PSNR ({protocol}), dB" for protocol in PROTOCOLS},
    **{name: METRICS[name].label for name in OTHERS},
    "gain_frame": "gain over bicubic, dB",
    "over_awdnn": "difference to awDNN, dB",
    "over_nas": "difference to NAS, dB",
    "chunks": "number of chunks",
    "passes": "passes over the video's patches",
    "presentations": "patches shown in training",
    "params": "parameters that a viewer receives",
    "macs_per_frame": "multiplications per frame",
    "seconds_train": "seconds of training",
    "seconds_evaluate": "seconds of evaluation",
}
"""What the axes say; other columns are named as they are."""

_DASHES: tuple[Any, ...] = ("-", "--", ":", "-.")
_HATCHES = ("", "///", "...", "xxx")
_PALER = (0.0, 0.35, 0.6)


@dataclass(frozen=True)
class Series:
    """Rows that belong together, and how they look."""

    label: str
    rows: list[Json]
    colour: tuple[float, float, float]
    marker: str
    dashes: Any
    hatch: str

    def among(self, members: Sequence[Json]) -> list[Json]:
        """Those of its rows that are among the members of a panel."""
        return [row for row in self.rows if any(row is member for member in members)]


def series_of(rows: Sequence[Json], by: Sequence[str]) -> list[Series]:
    """Rows by the values of some columns, in the order of their first rows.

    Series of one method have its colour. Beside the method, the first column of ``by`` gives the
    shade and the last one dashes and hatch, so that a value looks the same with every method.
    """
    groups: dict[tuple[str, ...], list[Json]] = {}
    for row in rows:
        groups.setdefault(tuple(said(column, row[column]) for column in by), []).append(row)
    ranks = {key: _ranks(key, groups, by) for key in groups}
    taken: set[tuple[str, int, int]] = set()
    found = []
    for key in sorted(groups, key=ranks.__getitem__):
        members = groups[key]
        method = members[0]["method"]
        beside = [rank for column, rank in zip(by, ranks[key], strict=True) if column != "method"]
        shade, mark = (beside[0], beside[-1]) if beside else (0, 0)
        free = ((method, shade % len(_PALER), (mark + more) % len(_HATCHES)) for more in range(4))
        _, shade, mark = chosen = next((each for each in free if each not in taken), (method, 0, 0))
        taken.add(chosen)
        style, pale = look(method), _PALER[shade]
        red, green, blue = (channel + (1 - channel) * pale for channel in to_rgb(style.colour))
        found.append(
            Series(
                ", ".join(filter(None, key)),
                members,
                (red, green, blue),
                style.marker,
                _DASHES[mark],
                _HATCHES[mark],
            )
        )
    return found


def _ranks(
    key: tuple[str, ...], groups: Mapping[tuple[str, ...], Sequence[Json]], by: Sequence[str]
) -> tuple[int, ...]:
    """The place of each value of a key among those of its column, in order of appearance; nothing
    said counts as the first value. Runs are counted for each method."""
    found = []
    for number, column in enumerate(by):
        method = groups[key][0]["method"]
        values = [
            other[number]
            for other, members in groups.items()
            if other[number] and (column != "run" or members[0]["method"] == method)
        ]
        places = {value: place for place, value in enumerate(dict.fromkeys(values))}
        found.append(places.get(key[number], 0))
    return tuple(found)


def said(column: str, value: Any) -> str:
    """A value as it stands in legends and headings: ``×4`` of a scale, ``chunks 4`` of most
    columns."""
    if column == "method":
        return method_name(str(value))
    if column in ("video", "backbone", "run"):
        return str(value)
    if column == "equal" and not value:  # the same under both readings
        return ""
    if column == "optimizer":
        return str(value).title()
    if isinstance(value, list):
        value = " ".join(f"{each:.2g}" for each in value)
    return f"×{value}" if column == "scale" else f"{column} {value}"


def heading(figure: FigureBase, title: str, small: bool = False) -> None:
    """The title of a plot, or, small, of a part of it; at the left."""
    if title:
        size, weight, colour = (8.5, "normal", "#333333") if small else (11, "bold", "black")
        figure.suptitle(title, x=0.01, ha="left", fontsize=size, fontweight=weight, color=colour)


def subheading(axes: Axes, parts: Sequence[str]) -> None:
    """What a panel shows, small, at its left."""
    if parts:
        axes.set_title(" · ".join(parts), fontsize=8.5, loc="left", color="#333333")


def dress(axes: Axes) -> None:
    """Give a chart our spines, ticks and grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(labelsize=8, color="#999999")
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)


def legend(figure: Figure) -> None:
    """One entry for each label, to the right of all panels."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside right upper",
        frameon=False,
        fontsize=8.5,
    )
