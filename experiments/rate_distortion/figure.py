"""The study's two figures, in the house's style."""

from __future__ import annotations

from collections.abc import Sequence

from curves import CODECS, DURATIONS, curves_of, kbps_at
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from stdo.core.types import Json
from stdo.reporting.look import BICUBIC, LOOKS, OTHERS, Look, look
from stdo.reporting.style import DPI, dress, heading, legend, subheading

_PANELS = {"psnr_frame": "PSNR (frame, RGB), dB", "psnr_y": "PSNR (Y), dB"}
_PALER = (0.0, 0.35, 0.6, 0.75)
_DASHES = ("-", "--", "-.", ":")


def quality_over_rate(rows: Sequence[Json], title: str) -> Figure:
    """Every point as measured: PSNR over kbit/s, RGB at the left, Y at the right."""
    figure, panels = _figure(list(_PANELS.values()), title)
    curves = curves_of(rows)
    looks = _looks(rows)
    for axes, metric in zip(panels, _PANELS, strict=True):
        turns: dict[tuple[str, str], int] = {}
        for name, members in curves.items():
            key = _kind(members[0])
            turn = turns[key] = turns.get(key, -1) + 1
            _line(axes, members, metric, name, looks[key], turn)
        _finish(axes, metric)
    legend(figure)
    return figure


def over_durations(rows: Sequence[Json], title: str) -> Figure | None:
    """PSNR over the kbit/s of longer videos, computed, a panel for each method and backbone; None
    without a network.

    Of each the curve with most bits that is below 32, of the first LR codec.
    """
    curves, looks = curves_of(rows), _looks(rows)
    chosen: dict[tuple[str, str], str] = {}
    networks = [(name, members[0]) for name, members in curves.items() if members[0]["bits"]]
    # Stable: 32 bits come last
    for name, first in sorted(networks, key=lambda each: each[1]["bits"] == 32):
        chosen.setdefault(_kind(first), name)
    if not chosen:
        return None
    figure, panels = _figure([*chosen.values()], title, alike=True)
    for axes, name in zip(panels, chosen.values(), strict=True):
        for codec in CODECS:
            if codec in curves:
                _line(axes, curves[codec], "psnr_frame", codec, looks[_kind(curves[codec][0])])
        clip = curves[name][0]["seconds"]
        said = [
            f"{clip:.3g} s, measured",
            *(f"{_length(seconds)}, computed" for seconds in DURATIONS),
        ]
        for turn, (seconds, length) in enumerate(zip((None, *DURATIONS), said, strict=True)):
            _line(
                axes,
                curves[name],
                "psnr_frame",
                length,
                looks[_kind(curves[name][0])],
                turn,
                seconds,
            )
        _finish(axes, "psnr_frame")
        # In each, since a method's lines have its own colour
        axes.legend(frameon=False, fontsize=7)
    return figure


def _length(seconds: int) -> str:
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"


def _figure(parts: Sequence[str], title: str, alike: bool = False) -> tuple[Figure, list[Axes]]:
    """Panels side by side. alike: they share their y axis, and need no room for a legend beside
    them."""
    figure = Figure(
        figsize=(4.6 * len(parts) + (0.2 if alike else 2.2), 4.4), dpi=DPI, layout="constrained"
    )
    heading(figure, title)
    panels = list(figure.subplots(1, len(parts), sharey=alike, squeeze=False)[0])
    for axes, part in zip(panels, parts, strict=True):
        subheading(axes, [part])
        dress(axes)
    return figure, panels


def _kind(row: Json) -> tuple[str, str]:
    """What has a look of its own: a method with a backbone."""
    return row["method"], row["backbone"] or ""


def _looks(rows: Sequence[Json]) -> dict[tuple[str, str], Look]:
    """A method's own look with its first backbone, those of codecs and others in turn."""
    found: dict[tuple[str, str], Look] = {}
    methods = {row["method"] for row in rows}
    free = [*OTHERS[len(CODECS) :], *(each for name, each in LOOKS.items() if name not in methods)]
    for kind in dict.fromkeys(map(_kind, rows)):
        method = kind[0]
        if method == "bicubic":
            found[kind] = BICUBIC
        elif method in CODECS:
            found[kind] = OTHERS[CODECS.index(method)]
        elif method in {name for name, _ in found} and free:
            found[kind] = free.pop(0)
        else:
            found[kind] = look(method)
    return found


def _line(
    axes: Axes,
    rows: Sequence[Json],
    metric: str,
    label: str,
    style: Look,
    turn: int = 0,
    seconds: float | None = None,
) -> None:
    """A curve; turn: how often its kind was drawn before, which makes it paler."""
    pale = _PALER[turn % len(_PALER)]
    colour = tuple(channel + (1 - channel) * pale for channel in to_rgb(style.colour))
    points = sorted((kbps_at(row, seconds), row[metric]) for row in rows)
    axes.plot(
        *zip(*points, strict=True), label=label, color=colour,
        linestyle=_DASHES[turn % len(_DASHES)], marker="." if style is BICUBIC else style.marker,
        markersize=5.5, linewidth=1.6, markeredgecolor="white", markeredgewidth=0.6,
    )  # fmt: skip


def _finish(axes: Axes, metric: str) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("kbit/s, everything that is sent but the sound", fontsize=8.5)
    axes.set_ylabel(_PANELS[metric], fontsize=8.5)
