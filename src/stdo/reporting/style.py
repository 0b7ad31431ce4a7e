"""Style of plots: colours, marks, labels, heading and legend."""

from collections.abc import Sequence
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
    """Rows by the values of some columns. Series of one method share its colour, each paler than
    the one before."""
    groups: dict[tuple[str, ...], list[Json]] = {}
    for row in rows:
        groups.setdefault(tuple(said(column, row[column]) for column in by), []).append(row)
    turns: dict[str, int] = {}
    found = []
    for key, members in groups.items():
        method = members[0]["method"]
        turn = turns[method] = turns.get(method, -1) + 1
        style, pale = look(method), _PALER[turn % len(_PALER)]
        red, green, blue = (channel + (1 - channel) * pale for channel in to_rgb(style.colour))
        label = ", ".join(filter(None, key))
        found.append(
            Series(
                label,
                members,
                (red, green, blue),
                style.marker,
                _DASHES[turn % len(_DASHES)],
                _HATCHES[turn % len(_HATCHES)],
            )
        )
    return found


def said(column: str, value: Any) -> str:
    """A value as it stands in legends and headings: ``×4`` of a scale, ``chunks 4`` of most
    columns."""
    if column == "method":
        return method_name(str(value))
    if column in ("video", "backbone", "run"):
        return str(value)
    if column == "equal" and not value:  # the same under both readings
        return ""
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
