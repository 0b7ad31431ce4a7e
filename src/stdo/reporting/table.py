"""Many runs as a text table."""

import operator
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from stdo.core.types import Json
from stdo.evaluation.table import NONE, aligned, heading, number, short
from stdo.metrics.registry import METRICS, OTHERS, PROTOCOLS
from stdo.reporting.paper import SOURCE
from stdo.reporting.results import equal_work, rows
from stdo.reporting.runs import Run


@dataclass(frozen=True)
class Line:
    """The seeds of one point: rows of results.tsv that differ in nothing else."""

    seeds: Sequence[Json]

    def mean(self, column: str) -> float | None:
        """Mean over the seeds that have a figure."""
        values = [float(row[column]) for row in self.seeds if row.get(column) is not None]
        return fmean(values) if values else None

    def half_range(self, column: str) -> float:
        """Half the distance between the best and the worst seed."""
        values = [float(row[column]) for row in self.seeds if row[column] is not None]
        return (max(values) - min(values)) / 2 if values else 0.0


def comparison_table(runs: Sequence[Run]) -> str:
    """One line per point under its video, backbone and scale, bicubic first; columns that would be
    empty are left out.

    Several seeds of a point are one line: their mean, half the range of ``frame`` after ±, and n,
    how many they are. ``shown``: patch presentations; those that differ from most of their group by
    more than 2 %, and those of shortened fits, are marked, and are not compared with awDNN.
    ``gain``: over bicubic, in ``frame`` PSNR, as Δ awDNN is. Beside that stands the paper's
    difference. ``seconds``: those of preparing, scoring, training and evaluating.
    """
    groups: dict[tuple[object, ...], list[Json]] = {}
    for row in rows(runs):
        groups.setdefault(tuple(row[key] for key in ("video", "backbone", "scale")), []).append(row)
    cells: list[list[str]] = [_HEADER]
    starts: dict[int, str] = {}
    unequal = False
    for members in groups.values():
        starts[len(cells)] = _heading(members)
        cells.append(_bicubic(members))
        usual = Counter(row["presentations"] for row in members).most_common(1)[0][0]
        for line in _lines(members):
            equal = equal_work(line.mean("presentations") or 0.0, usual)
            equal = equal and not any(row["shortened"] for row in line.seeds)
            unequal |= not equal
            cells.append([cell(line) for _, cell in _COLUMNS])
            cells[-1][_SHOWN] += "" if equal else "*"
    kept = [i for i in range(len(_HEADER)) if i < 2 or _shows_something(cells, i)]
    texts = aligned([operator.itemgetter(*kept)(row) for row in cells])
    lines = [texts[0]]
    for index, text in enumerate(texts[1:], start=1):
        lines += ["", starts[index], text] if index in starts else [text]
    has_readings = any(row["equal"] for members in groups.values() for row in members)
    has_paper = any(_HEADER[i] in _PAPER for i in kept)
    return "\n".join(
        [
            *lines,
            *_notes(unequal, has_readings, has_paper, len(runs) > len(cells) - 1 - len(groups)),
        ]
    )


def _shows_something(cells: Sequence[Sequence[str]], column: int) -> bool:
    return any(row[column] not in ("", NONE) for row in cells[1:])


def _heading(members: Sequence[Json]) -> str:
    first = members[0]
    lengths = sorted({row["frames"] for row in members})
    frames = "–".join(f"{length:,}" for length in dict.fromkeys((lengths[0], lengths[-1])))
    return f"{first['video']} · {first['backbone']} ×{first['scale']} · {frames} frames"


def _lines(members: Sequence[Json]) -> list[Line]:
    points: dict[str, list[Json]] = {}
    for row in members:
        points.setdefault(row["run"], []).append(row)
    return [Line(seeds) for seeds in points.values()]


def _bicubic(members: Sequence[Json]) -> list[str]:
    """Bicubic's figures of the first run, and those of optional metrics of the first that measured
    them."""
    figures = {"run": "bicubic"}
    for name, metric in METRICS.items():
        asked = members[:1] if metric.default else members
        values = (row.get(f"bicubic_{name}") for row in asked)
        value = next((each for each in values if each is not None), None)
        figures[heading(name)] = number(value, metric.digits)
    return [figures.get(name, "") for name in _HEADER]


def _notes(unequal: bool, has_readings: bool, has_paper: bool, has_seeds: bool) -> list[str]:
    notes = {
        "equal: networks that train side by side share a batch, so that all take as many steps as "
        "one network (steps), or have one each (batch)": has_readings,
        "* not equal work: shown more or fewer patches than most of its group, or "
        "shortened": unequal,
        "n seeds: their mean, and half the range of their frame PSNR": has_seeds,
        f"paper: {SOURCE}; of a video that is not its own, its mean difference over its "
        "videos": has_paper,
    }
    said = [note for note, applies in notes.items() if applies]
    return ["", *said] if said else []


def _seconds(line: Line) -> str:
    steps = [line.mean(f"seconds_{step}") for step in ("prepare", "score", "train", "evaluate")]
    return number(sum(step or 0.0 for step in steps), 0)


def _mean(column: str, digits: int = 2, sign: str = "") -> Callable[[Line], str]:
    return lambda line: number(line.mean(column), digits, sign)


_PAPER = ("paper dB", "paper Δ")
_COLUMNS: list[tuple[str, Callable[[Line], str]]] = [
    ("run", lambda line: str(line.seeds[0]["run"])),
    ("frame", _mean("psnr_frame")),
    ("±", lambda line: number(line.half_range("psnr_frame"), 2) if len(line.seeds) > 1 else ""),
    ("n", lambda line: str(len(line.seeds)) if len(line.seeds) > 1 else ""),
    *((protocol, _mean(f"psnr_{protocol}")) for protocol in PROTOCOLS[1:]),
    *((heading(name), _mean(name, METRICS[name].digits)) for name in OTHERS),
    ("gain", _mean("gain_frame", sign="+")),
    ("Δ awDNN", _mean("over_awdnn", sign="+")),
    (_PAPER[1], _mean("paper_over_awdnn", sign="+")),
    (_PAPER[0], _mean("paper_psnr")),
    ("kbit/s", _mean("bitrate_kbps", 0)),
    ("equal", lambda line: str(line.seeds[0]["equal"] or "")),
    ("params", lambda line: short(line.mean("params"))),
    ("shown", lambda line: short(line.mean("presentations"))),
    ("seconds", _seconds),
]
_HEADER = [name for name, _ in _COLUMNS]
_SHOWN = _HEADER.index("shown")
