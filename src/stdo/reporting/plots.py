"""Every study's plot, drawn from finished runs by one module, so that all look alike.

A method has the same colour and shape everywhere (`stdo.reporting.look`). Seeds of one point become
their mean, with their range as a band or a bar. `charts` draws figures, `plates` pictures.
"""

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from stdo.core.files import atomic
from stdo.core.types import Json, UserError
from stdo.reporting.charts import bars, lines, scatter
from stdo.reporting.plates import crops, heatmaps
from stdo.reporting.results import rows as rows_of
from stdo.reporting.runs import Run
from stdo.reporting.style import DPI, LABELS
from stdo.runs.settings import SETTINGS, refuse

_CHARTS: dict[str, Callable[..., Figure]] = {"lines": lines, "bars": bars, "scatter": scatter}
_PLATES: dict[str, Callable[..., Figure]] = {"heatmaps": heatmaps, "crops": crops}
_COLUMN = "must be a column of results.tsv"


def draw(runs: Sequence[Run], plot: Mapping[str, Any], title: str) -> Figure:
    """Draw what a study's ``plot`` asks for.

    Args:
        plot: ``kind`` (lines, bars, scatter, heatmaps, crops), ``where`` (column of results.tsv ->
            the value or values that are wanted), and the arguments of the function of that name.
            Columns are those of results.tsv.

    Raises UserError for an unknown kind, column or argument, and when no run is left.
    """
    asked = {key: value for key, value in plot.items() if value is not None}
    kind = asked.pop("kind", None)
    function = (_CHARTS | _PLATES).get(kind)
    if function is None:
        raise UserError(f"plot.kind={kind}: must be one of {', '.join([*_CHARTS, *_PLATES])}")
    table = rows_of(runs)
    _check_types(asked, table[0])
    where = asked.pop("where", {})
    _check_arguments(kind, function, asked)
    kept = [
        i
        for i, row in enumerate(table)
        if all(_matches(row[key], wanted) for key, wanted in where.items())
    ]
    if not kept:
        raise UserError(f"plot.where={dict(where)}: none of the {len(runs)} runs is like that")
    if kind in _PLATES:
        return function([runs[i] for i in kept], title=title, **asked)
    rows = [table[i] for i in kept]
    for axis in ("x", "y"):
        _check_numbers(axis, asked.get(axis), rows)
    if "equal" in asked.get("by", ()):
        rows = under_both(rows)
    return function(rows, title=title, **asked)


def under_both(rows: Sequence[Json]) -> list[Json]:
    """Rows by their reading of equal work: those that are the same under both readings stand under
    each that other rows of their method, video, backbone and scale have.

    >>> place = {"method": "stdo", "video": "v", "backbone": "b", "scale": 4}
    >>> table = [place | {"chunks": k, "equal": e} for k, e in ((1, None), (4, "batch"))]
    >>> for row in under_both(table):
    ...     print(row["chunks"], row["equal"])
    1 batch
    4 batch
    """
    readings: dict[tuple[Any, ...], dict[str, None]] = {}
    for row in rows:
        if row["equal"]:
            readings.setdefault(_kind(row), {})[row["equal"]] = None
    found: list[Json] = []
    for row in rows:
        several = [] if row["equal"] else sorted(readings.get(_kind(row), ()))
        found += [row | {"equal": reading} for reading in several] or [row]
    return found


def _kind(row: Json) -> tuple[Any, ...]:
    return tuple(row[key] for key in ("method", "video", "backbone", "scale"))


def save(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, 144 dots per inch."""
    with atomic(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI)


def _check_types(asked: dict[str, Any], row: Json) -> None:
    """Refuse values of the wrong kind and columns that do not exist; ``by`` becomes a list."""
    for setting, value in asked.items():
        schema = SETTINGS.get(f"plot.{setting}")
        if schema is not None and not schema.accepts(value):
            raise refuse(f"plot.{setting}", value)
    if isinstance(asked.get("by"), str):
        asked["by"] = [asked["by"]]
    columns: dict[str, list[str]] = {
        setting: [asked[setting]] for setting in ("x", "y", "text", "paper") if setting in asked
    }
    columns |= {setting: list(asked.get(setting, ())) for setting in ("by", "where")}
    for setting, names in columns.items():
        for name in names:
            if name not in row:
                raise UserError(f"plot.{setting}={name}: {_COLUMN}, such as {', '.join(LABELS)}")


def _check_arguments(kind: str, function: Callable[..., Figure], asked: Mapping[str, Any]) -> None:
    _, *taken = [
        parameter
        for parameter in signature(function).parameters.values()
        if parameter.name != "title"
    ]
    names = [parameter.name for parameter in taken]
    for setting in asked:
        if setting not in names:
            raise UserError(
                f"plot.{setting}={asked[setting]}: {kind} takes "
                f"{', '.join(names) or 'nothing'} and where"
            )
    for parameter in taken:
        if parameter.default is Parameter.empty and parameter.name not in asked:
            raise UserError(f"plot.{parameter.name}=null: {kind} needs one; {_COLUMN}")


def _check_numbers(axis: str, column: str | None, rows: Sequence[Json]) -> None:
    known = [row[column] for row in rows if row[column] is not None] if column else [0]
    if not known:
        raise UserError(f"plot.{axis}={column}: none of these runs has it")
    if not all(isinstance(value, int | float) for value in known):
        raise UserError(f"plot.{axis}={column}: must be a column of numbers")


def _matches(value: Any, wanted: Any) -> bool:
    return value in (
        wanted if isinstance(wanted, Sequence) and not isinstance(wanted, str) else [wanted]
    )
