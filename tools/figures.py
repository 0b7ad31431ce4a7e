"""Keep the figures of a page equal to the results that it names: ``python tools/figures.py``.

A table is made of a results file, between two comments::

    <!-- table experiments/table2/results.tsv: over_awdnn of method, equal by video, scale
         where method = nas | stdo, chunks = 4 -->
    <!-- end -->

It has a row for each value of the columns after ``of``, in the order of ``where`` or else of the
file, a column for each after ``by``, and the mean of what is left, such as seeds. A number in a
sentence is followed by where it comes from::

    +0.37<!-- over_awdnn of experiments/table2/results.tsv where method = stdo, video = game -->

``min``, ``max`` or ``spread`` before the column take these instead of the mean. A value is the
whole cell, or its part before the first ``_``.

This renews both, and lists the numbers that it changed: what the sentence says of them may no
longer be true.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/**/*.md", "experiments/**/*.md", "benchmarks/*.md")

_TABLE = re.compile(
    r"<!-- table (?P<file>\S+): (?P<value>.+?) of (?P<rows>.+?) by (?P<columns>.+?)"
    r"(?: where (?P<where>.+?))? -->\n(?P<body>.*?)<!-- end -->",
    re.DOTALL,
)
_NUMBER = re.compile(
    r"(?P<number>[+−-]?\d[\d,]*(?:\.\d+)?)(?P<after>\**)<!-- (?P<value>[\w ]+?) of (?P<file>\S+)"
    r"(?: where (?P<where>.+?))? -->",
    re.DOTALL,
)
_SHOWN = {
    "awdnn": "awDNN", "nas": "NAS", "cafm": "CaFM", "repcam": "RepCaM", "eps": "EPS",
    "srvc": "SRVC", "emt": "EMT", "livenas": "LiveNAS",
    "stdo": "STDO", "jstdo": "JSTDO", "bstdo": "B-STDO", "cstdo": "C-STDO",
    "batch": "`batch`", "steps": "`steps`",
    "adam": "paper's recipe", "muon": "our recipe",
}  # fmt: skip
_SIGNED = ("over_", "gain_", "paper_over_")

Row = Mapping[str, str]
_TAKEN: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean": fmean,
    "min": min,
    "max": max,
    "spread": lambda values: max(values) - min(values),
}


class WrongFigureError(Exception):
    """A page and the results that it names differ, or it names none."""


def renewed(text: str) -> str:
    """A page with its tables and numbers made again; numbers keep their decimals.

    Raises:
        WrongFigureError: One names columns or rows that its file does not have.
    """

    def number(found: re.Match[str]) -> str:
        value = _value(found["value"], chosen(found["file"], found["where"]))
        if _is_near(found["number"], value):
            return found.group(0)
        return found.group(0).replace(found["number"], _written(value, found["number"]), 1)

    return _NUMBER.sub(number, _TABLE.sub(_with_table, text))


def wrong(text: str) -> Iterator[str]:
    """A line for each table and number of a page that is not what its file says."""
    for found in _TABLE.finditer(text):
        if found.group(0) != _with_table(found):
            yield f"the table of {found['value']} of {found['file']} is not up to date"
    for found in _NUMBER.finditer(text):
        try:
            value = _value(found["value"], chosen(found["file"], found["where"]))
        except WrongFigureError as error:
            yield f"{found['number']}: {error}"
            continue
        if not _is_near(found["number"], value):
            yield f"{found['number']}: {found['value']} of {found['file']} is {value:.4f}"


def _is_near(number: str, value: float) -> bool:
    """Whether a written number is this value, to half a step of its last digit and what a results
    file has rounded away."""
    plain = number.replace("−", "-").replace(",", "")
    return abs(float(plain) - value) <= 0.5 * 10 ** -_decimals(plain) + 1e-6


def _written(value: float, like: str) -> str:
    sign = "+" if like[0] in "+−-" else ""
    return f"{value:{sign}.{_decimals(like)}f}".replace("-", "−")


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])


def chosen(file: str, where: str | None) -> list[Row]:
    """The rows of a results file for which each column has one of the wanted values.

    Raises:
        WrongFigureError: There is no such file, column or row.
    """
    found = list(_rows(file))
    for name, wanted in _conditions(where).items():
        if name not in found[0]:
            raise WrongFigureError(f"{file} has no column {name}")
        found = [row for row in found if row[name] in wanted or _short(row[name]) in wanted]
        if not found:
            raise WrongFigureError(f"{file} has no row where {name} = {' | '.join(wanted)}")
    return found


def _with_table(found: re.Match[str]) -> str:
    rows = chosen(found["file"], found["where"])
    down, across = _names(found["rows"]), _names(found["columns"])
    wanted = _conditions(found["where"])
    lines = [""] + [_label(key, across) for key in _keys(rows, across, wanted)]
    table = [_line(lines), _line(["---"] * len(lines))]
    for key in _keys(rows, down, wanted):
        cells = [_label(key, down)]
        for other in _keys(rows, across, wanted):
            both = dict(zip((*down, *across), (*key, *other), strict=True))
            left = [row for row in rows if all(row[name] == each for name, each in both.items())]
            cells.append(_cell(found["value"], left))
        table.append(_line(cells))
    head = found.group(0).partition("-->\n")[0]
    return "\n".join([f"{head}-->", "", *table, "", "<!-- end -->"])


def _cell(value: str, rows: Sequence[Row]) -> str:
    try:
        found = _value(value, rows)
    except WrongFigureError:
        return "–"
    signed = any(value.rsplit(maxsplit=1)[-1].startswith(each) for each in _SIGNED)
    return f"{found:{'+' if signed else ''}.2f}".replace("-", "−")


def _value(asked: str, rows: Sequence[Row]) -> float:
    *how, column = asked.split()
    take = _TAKEN.get(how[0] if how else "mean")
    if take is None or len(how) > 1:
        raise WrongFigureError(f"{asked}: must be a column, with one of {', '.join(_TAKEN)} before")
    values = [float(row[column]) for row in rows if row.get(column)]
    if not values:
        raise WrongFigureError(f"{column}: no figure")
    return take(values)


def _keys(
    rows: Sequence[Row], names: Sequence[str], wanted: Mapping[str, Sequence[str]]
) -> list[tuple[str, ...]]:
    """The combinations of values that there are, in the order in which they are wanted, else of
    the file."""
    for name in names:
        if name not in rows[0]:
            raise WrongFigureError(f"no column {name}")
    keys = list(dict.fromkeys(tuple(row[name] for name in names) for row in rows))

    def place(key: tuple[str, ...]) -> list[int]:
        order = [wanted.get(name, []) for name in names]
        return [
            next((n for n, want in enumerate(each) if want in (value, _short(value))), 0)
            for value, each in zip(key, order, strict=True)
        ]

    return sorted(keys, key=place)


def _label(key: Sequence[str], names: Sequence[str]) -> str:
    found = []
    for value, name in zip(key, names, strict=True):
        if name == "scale":
            found.append(f"×{value}")
        elif name == "chunks":
            found.append(f"k={value}")
        elif name == "network" and value:
            found.append(f"network {value} alone")
        elif value:
            short = _short(value)
            found.append(_SHOWN.get(short, short))
    return ", ".join(found)


def _short(value: str) -> str:
    return value.partition("_")[0]


def _conditions(where: str | None) -> dict[str, list[str]]:
    found = {}
    for part in (where or "").split(","):
        name, equals, values = part.partition("=")
        if equals:
            found[name.strip()] = [value.strip() for value in values.split("|")]
    return found


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


@cache
def _rows(file: str) -> tuple[Row, ...]:
    try:
        with (ROOT / file).open(encoding="utf-8", newline="") as lines:
            found = tuple(csv.DictReader(lines, delimiter="\t"))
    except OSError as error:
        raise WrongFigureError(f"{file}: {error.strerror}") from error
    if not found:
        raise WrongFigureError(f"{file}: has no rows")
    return found


def pages() -> list[Path]:
    """The pages that may quote results."""
    return sorted(path for pattern in PAGES for path in ROOT.glob(pattern))


def main() -> None:
    """Renew all pages, and say what was wrong in them."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        try:
            new = renewed(text)
        except WrongFigureError as error:
            sys.exit(f"{page}: {error}")
        for line in wrong(text):
            sys.stderr.write(f"{page.relative_to(ROOT)}: renewed: {line}\n")
        if new != text:
            page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
