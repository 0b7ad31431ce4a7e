"""The figure of a result that a search over settings looks at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from stdo.core.types import Json, UserError
from stdo.metrics.registry import OPTIONAL
from stdo.runs.directory import read_result
from stdo.runs.schema import DELIVERED, RESULT, columns

_ASKED = frozenset(
    [
        "width",
        "height",
        "frames",
        "scale",
        "chunks",
        "bicubic_chunks",
        "network",
        "seed",
        "patches",
        "passes",
        "batch",
    ]
)
"""Numbers of metrics.json that a user sets, or that belong to the video."""


def figures() -> list[str]:
    """The figures that a run can be searched by, as dotted names: ``psnr.frame``."""
    return [name for name in _numbers() if name.partition(".")[0] not in _ASKED]


def _numbers() -> Iterator[str]:
    for _, field, path in columns():
        kind = inspect.type_info(RESULT[field].kind)
        for part in path.split(".") if path else ():
            kind = _below(kind, part)
        if any(isinstance(each, inspect.IntType | inspect.FloatType) for each in _kinds(kind)):
            yield f"{field}.{path}" if path else field


def _kinds(kind: inspect.Type) -> list[inspect.Type]:
    return list(kind.types) if isinstance(kind, inspect.UnionType) else [kind]


def _below(kind: inspect.Type, name: str) -> inspect.Type:
    for each in _kinds(kind):
        if isinstance(each, inspect.DictType):
            return each.value_type
        if isinstance(each, inspect.StructType):
            return next(field.type for field in each.fields if field.name == name)
    return kind


def check_objective(name: str, delivers: bool, metrics: Sequence[str] = ()) -> None:
    """Raise UserError where no run will have such a figure.

    Args:
        name: ``psnr.frame``.
        delivers: Whether the runs write packages too.
        metrics: What the runs measure beside the metrics that are always computed.
    """
    known = figures()
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(
            f"objective={name}: must be a figure of metrics.json: {', '.join(known)}{hint}"
        )
    metric = name.rpartition(".")[2]
    if metric in OPTIONAL and metric not in metrics:
        raise UserError(f"objective={name}: is not measured; add metrics=[{metric}]")
    if name.partition(".")[0] in DELIVERED and not delivers:
        raise UserError(f"objective={name}: is known of delivered runs alone; add deliver=true")


def figure(metrics: Json, name: str) -> float | None:
    """A figure of a result; None where the run does not have it."""
    found: Any = metrics
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    try:
        value = msgspec.convert(found, float, strict=True)
    except msgspec.ValidationError:
        return None
    return value if math.isfinite(value) else None


def figure_of(directory: str | Path | None, objective: str) -> float | None:
    """A figure of a run's result; None where there is no result, or none that has it."""
    if directory is None:
        return None
    try:
        return figure(read_result(Path(directory)), objective)
    except (UserError, KeyError, TypeError, ValueError):
        return None
