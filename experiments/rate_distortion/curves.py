"""Points of the study as curves: their names, BD-rates by the library ``bjontegaard``, longer
videos as computed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence

from stdo.core.types import Json
from stdo.reporting.runs import NAMES

CODECS = ("x264", "x265", "svtav1")
DURATIONS = (10, 60, 600)
"""Seconds of video over which the networks' bytes are spread, as computed."""

METRICS = ("psnr_frame", "psnr_y", "ssim", "vmaf")
BEST = "best of stdo"
ONCE = ("bytes_models", "bytes_graph", "bytes_manifest")
"""What a package holds once, however long its video is; the rest grows with the video."""

Curve = list[tuple[float, float]]


def curves_of(rows: Sequence[Json]) -> dict[str, list[Json]]:
    """Rows by the name of their curve: codecs first, then bicubic, then methods, each by rate.

    A name says what tells curves apart: ``STDO k=4, 8 bits``, with backbone, scale and LR codec
    where those vary.
    """
    sent = [row for row in rows if row["method"] not in CODECS]
    varying = [
        key
        for key in ("backbone", "scale", "codec")
        if len({row[key] for row in sent if row["bits"]}) > 1
    ]
    if len({row["codec"] for row in sent}) > 1 and "codec" not in varying:
        varying.append("codec")
    order = [*CODECS, "bicubic", *NAMES]
    found: dict[str, list[Json]] = {}

    def place(row: Json) -> tuple[object, ...]:
        kind = [str(row[key]) for key in ("backbone", "scale", "codec", "chunks")]
        return order.index(row["method"]), *kind, -(row["bits"] or 0), row["kbps"]

    for row in sorted(rows, key=place):
        found.setdefault(_name(row, varying), []).append(row)
    return found


def _name(row: Json, varying: Sequence[str]) -> str:
    method = row["method"]
    if method in CODECS:
        return str(method)
    name = (
        NAMES.get(method, method)
        if row["chunks"] in (None, 1)
        else f"{NAMES.get(method, method)} k={row['chunks']}"
    )
    said = {"backbone": "{}", "scale": "×{}", "codec": "{} LR"}
    parts = [said[key].format(row[key]) for key in varying if row[key] is not None]
    return ", ".join([name, *parts, *([f"{row['bits']} bits"] if row["bits"] else [])])


def kbps_at(row: Json, seconds: float | None) -> float:
    """kbit/s of a point; seconds: of a video of that length with the same networks and the clip's
    rate of the rest.

    None: the clip itself, as measured.
    """
    if seconds is None:
        return float(row["kbps"])
    once = sum(row[part] or 0 for part in ONCE)
    return float(((row["bytes_total"] - once) / row["seconds"] + once / seconds) * 8 / 1000)


def curve(rows: Sequence[Json], metric: str, seconds: float | None = None) -> Curve:
    """(kbit/s, quality) by rate, without the points that another of the curve beats in both."""
    kept: Curve = []
    for kbps, quality in sorted(
        (kbps_at(row, seconds), row[metric]) for row in rows if row[metric] is not None
    ):
        if not kept or quality > kept[-1][1]:
            kept.append((kbps, quality))
    return kept


def bd_rate(anchor: Curve, test: Curve) -> float | None:
    """Mean difference in rate at equal quality, in percent (below 0: ``test`` needs less), by
    monotone cubics (pchip).

    None where the curves have no quality in common, or one has fewer than two points.
    """
    import bjontegaard

    if min(len(anchor), len(test)) < 2 or _overlap(anchor, test)[0] >= _overlap(anchor, test)[1]:
        return None
    (rates_a, quality_a), (rates_t, quality_t) = (
        zip(*points, strict=True) for points in (anchor, test)
    )
    with warnings.catch_warnings():  # how much overlaps stands beside each figure
        warnings.simplefilter("ignore")
        return float(
            bjontegaard.bd_rate(
                rates_a,
                quality_a,
                rates_t,
                quality_t,
                method="pchip",
                require_matching_points=False,
                min_overlap=0,
            )
        )


def _overlap(anchor: Curve, test: Curve) -> tuple[float, float]:
    return max(anchor[0][1], test[0][1]), min(anchor[-1][1], test[-1][1])


def bd_table(rows: Sequence[Json]) -> list[Json]:
    """BD-rate of every curve against every codec, by every metric, for the clip and for longer
    videos.

    ``seconds`` and ``computed``: the video's length, and whether the rate is computed for it (see
    `kbps_at`). ``from``, ``to``: the qualities that both curves have; ``points``: of the curve,
    those that another beats left out.
    """
    return [row for metric in METRICS for row in _bd_rows(rows, metric)]


def _bd_rows(rows: Sequence[Json], metric: str) -> Iterator[Json]:
    named: Mapping[str, Sequence[Json]] = curves_of(rows)
    networks = [row for row in rows if row["bits"]]
    for name, members in [*named.items(), *([(BEST, networks)] if networks else [])]:
        for seconds in (None, *(DURATIONS if members[0]["bits"] else ())):
            test = curve(members, metric, seconds)
            for codec in CODECS:
                anchor = curve(named.get(codec, ()), metric)
                if not test or not anchor or name == codec:
                    continue
                low, high = _overlap(anchor, test)
                yield {
                    "metric": metric,
                    "curve": name,
                    "anchor": codec,
                    "seconds": members[0]["seconds"] if seconds is None else seconds,
                    "computed": seconds is not None,
                    "bd_rate_percent": bd_rate(anchor, test),
                    "from": low if low < high else None,
                    "to": high if low < high else None,
                    "points": len(test),
                }
