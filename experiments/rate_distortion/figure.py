"""The study's two figures, in the house's style."""

from __future__ import annotations

from collections.abc import Sequence

from curves import CODECS, DURATIONS, curves_of, kbps_at
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from stdo.reporting.look import BICUBIC, OTHERS, Look, look
from stdo.reporting.style import DPI, dress, heading, legend, subheading
from stdo.types import Json

_PANELS = {"psnr_frame": "PSNR (frame, RGB), dB", "psnr_y": "PSNR (Y), dB"}
_PALER = (0.0, 0.35, 0.6, 0.75)
_DASHES = ("-", "--", "-.", ":")


def quality_over_rate(rows: Sequence[Json], title: str) -> Figure:
    """Every point as measured: PSNR over kbit/s, RGB at the left, Y at the right."""
    figure, panels = _figure(list(_PANELS.values()), title)
    curves = curves_of(rows)
    for axes, metric in zip(panels, _PANELS, strict=True):
        turns: dict[str, int] = {}
        for name, members in curves.items():
            method = members[0]["method"]
            turn = turns[method] = turns.get(method, -1) + 1
            _line(axes, members, metric, name, turn)
        _finish(axes, metric)
    legend(figure)
    return figure


def over_durations(rows: Sequence[Json], title: str) -> Figure | None:
    """PSNR over the kbit/s of longer videos, computed, a panel for each method; None where there is no network.

    Of each method the curve with most bits that is below 32, of the first LR codec.
    """
    curves = curves_of(rows)
    chosen: dict[str, str] = {}
    networks = [(name, members[0]) for name, members in curves.items() if members[0]["bits"]]
    for name, first in sorted(networks, key=lambda each: each[1]["bits"] == 32):  # stable: 32 bits come last
        chosen.setdefault(first["method"], name)
    if not chosen:
        return None
    figure, panels = _figure([*chosen.values()], title, alike=True)
    for axes, name in zip(panels, chosen.values(), strict=True):
        for codec in CODECS:
            if codec in curves:
                _line(axes, curves[codec], "psnr_frame", codec, 0)
        clip = curves[name][0]["seconds"]
        said = [f"{clip:.3g} s, measured", *(f"{_length(seconds)}, computed" for seconds in DURATIONS)]
        for turn, (seconds, length) in enumerate(zip((None, *DURATIONS), said, strict=True)):
            _line(axes, curves[name], "psnr_frame", length, turn, seconds)
        _finish(axes, "psnr_frame")
        axes.legend(frameon=False, fontsize=7)  # in each, since a method's lines have its own colour
    return figure


def _length(seconds: int) -> str:
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"


def _figure(parts: Sequence[str], title: str, alike: bool = False) -> tuple[Figure, list[Axes]]:
    """Panels side by side. alike: they share their y axis, and need no room for a legend beside them."""
    figure = Figure(figsize=(4.6 * len(parts) + (0.2 if alike else 2.2), 4.4), dpi=DPI, layout="constrained")
    heading(figure, title)
    panels = list(figure.subplots(1, len(parts), sharey=alike, squeeze=False)[0])
    for axes, part in zip(panels, parts, strict=True):
        subheading(axes, [part])
        dress(axes)
    return figure, panels


def _look(method: str) -> Look:
    if method == "bicubic":
        return BICUBIC
    return OTHERS[CODECS.index(method)] if method in CODECS else look(method)


def _line(axes: Axes, rows: Sequence[Json], metric: str, label: str, turn: int, seconds: float | None = None) -> None:
    """A curve; turn: how often its method was drawn before, which makes it paler."""
    style, pale = _look(rows[0]["method"]), _PALER[turn % len(_PALER)]
    colour = tuple(channel + (1 - channel) * pale for channel in to_rgb(style.colour))
    points = sorted((kbps_at(row, seconds), row[metric]) for row in rows)
    axes.plot(
        *zip(*points, strict=True), label=label, color=colour, linestyle=_DASHES[turn % len(_DASHES)],
        marker="." if style is BICUBIC else style.marker, markersize=5.5, linewidth=1.6,
        markeredgecolor="white", markeredgewidth=0.6,
    )  # fmt: skip


def _finish(axes: Axes, metric: str) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("kbit/s, everything that is sent but the sound", fontsize=8.5)
    axes.set_ylabel(_PANELS[metric], fontsize=8.5)
