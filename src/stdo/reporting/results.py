"""results.tsv: one flat row per run, with the paper's figures and the run's provenance."""

import csv
import math
from collections.abc import Sequence, Set
from pathlib import Path
from statistics import fmean
from typing import Any

from stdo.core.files import atomic
from stdo.core.provenance import as_typed
from stdo.core.types import Json
from stdo.metrics.registry import METRICS, OPTIONAL
from stdo.reporting.names import names
from stdo.reporting.paper import FIRST_ALONE, LAST_ALONE, paper_figure, paper_frames, paper_gain
from stdo.reporting.publish import published
from stdo.reporting.runs import EQUAL, Run
from stdo.reporting.videos import raw_name, same_video
from stdo.runs.schema import columns
from stdo.runs.setting import Role
from stdo.runs.settings import role_of

EQUAL_WORK = 0.02
"""Runs whose patch presentations differ by more than this share have not done the same work."""

REFERENCES = ("awdnn", "nas", "cafm")
"""The methods that the others are counted from."""

_FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Signs that make a cell a formula; the last four are the wide ones of East Asian keyboards."""

_OWN_FACTS = ("network", "passes")
"""What may differ between runs that are compared, beside settings of a method."""


_PLACE = ("scale", "backbone")
"""Figures that runs must have in common, beside their video, before they can be compared."""


def rows(runs: Sequence[Run]) -> list[Json]:
    """One flat row for each run, all with the same columns; None where a figure does not exist.
    Metrics that are not always computed have columns where a run has them.

    ``run`` is the run's name without its seed, ``equal`` its reading of equal work.
    ``over_awdnn``, ``over_nas``, ``over_cafm``: difference of the ``frame`` PSNR in dB to that
    method on the same video, backbone and settings with equal work: of the same number of chunks
    and seed where there are such, else to the mean. ``paper_…``: what the paper prints, see
    `stdo.reporting.paper`.
    """
    found = [_row(run, name, runs) for run, name in zip(runs, names(runs), strict=True)]
    for name in OPTIONAL:
        for column in (METRICS[name].column(), f"bicubic_{name}"):
            if all(row[column] is None for row in found):
                for row in found:
                    del row[column]
    return found


def write_tsv(path: Path, runs: Sequence[Run]) -> None:
    """Write `rows` as tab-separated values with a heading; decibels and seconds are rounded to four
    digits."""
    write_table(path, rows(runs))


def write_table(path: Path, table: Sequence[Json]) -> None:
    """Write rows that have the same columns as tab-separated values with a heading, numbers to four
    digits."""
    with atomic(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]), dialect="excel-tab", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _text(value) for key, value in row.items()} for row in table)


def _row(run: Run, name: str, runs: Sequence[Run]) -> Json:
    facts = run.metrics
    row: Json = {"run": name}
    row |= {column: _at(facts.get(field), path) for column, field, path in columns()}
    row["equal"] = run.reading  # runs of before do not say it
    row["gain_frame"] = _difference(row["psnr_frame"], row["bicubic_frame"])
    row |= {f"over_{method}": over(run, method, runs) for method in REFERENCES}
    return row | _of_paper(run) | _origin(run)


def _at(value: Any, path: str) -> Any:
    """What is at a path such as ``psnr.frame`` of a figure; None where there is nothing."""
    for part in path.split(".") if path else ():
        value = None if value is None else value.get(part)
    return value


def over(run: Run, method: str, runs: Sequence[Run]) -> float | None:
    """Difference of the ``frame`` PSNR in dB to another method under the same conditions with equal
    work, if it ran."""
    others = references(run, method, runs)
    if not others:
        return None
    return float(run.metrics["psnr"]["frame"]) - fmean(o.metrics["psnr"]["frame"] for o in others)


def references(run: Run, method: str, runs: Sequence[Run]) -> list[Run]:
    """The runs of another method that a run may be counted from.

    Args:
        run: The run.
        method: The other method, by its name in metrics.json.
        runs: All runs of the report.

    Returns:
        Those under the same conditions with equal work: with the run's own recipe where there is
        one, else with any that belongs to a method; of the run's number of chunks where there is
        one, else of every number; and then the same with its seed. For a run that is the same
        under both readings of equal work, those of the reading in which the other method is
        better. Empty for runs of that method itself and for shortened ones.
    """
    if run.metrics["method"] == method or run.metrics.get("shortened"):
        return []
    others = [
        other
        for other in runs
        if other.metrics["method"] == method
        and other.metrics["network"] is None
        and not other.metrics.get("shortened")
        and comparable(other, run)
        and equal_work(other.metrics["patch_presentations"], run.metrics["patch_presentations"])
    ]
    own = [other for other in others if _recipe(other) == _recipe(run)] or others
    return _alike(_under_one_reading(_alike(own, run, "chunks")), run, "seed")


def _alike(others: list[Run], run: Run, figure: str) -> list[Run]:
    """Those that have a figure in common with a run; all, where there are none."""
    return [o for o in others if o.metrics[figure] == run.metrics[figure]] or others


def _under_one_reading(others: list[Run]) -> list[Run]:
    """Those of the reading of equal work whose mean PSNR is highest."""
    readings = {other.reading for other in others}
    groups = [[other for other in others if other.reading == each] for each in readings]
    return max(groups, key=lambda runs: fmean(r.metrics["psnr"]["frame"] for r in runs), default=[])


_RECIPE = (
    "optim", "backbone.residual", "backbone.negative_slope", "patches.halo", "sampler.crop",
)  # fmt: skip


def _recipe(run: Run) -> dict[str, str]:
    """How networks are trained, whatever the structure: what conf/recipe/ sets, and whether on
    crops."""
    return {
        key: value
        for key, value in run.shaping.items()
        if key in _RECIPE or key.startswith("optim.")
    }


def equal_work(presentations: float, other: float) -> bool:
    """Whether two numbers of patch presentations are the same to within `EQUAL_WORK`."""
    return abs(presentations - other) <= EQUAL_WORK * max(presentations, other)


def comparable(run: Run, other: Run) -> bool:
    """Whether all that shapes the two results is equal, but for what belongs to their methods.

    A method is its chunking, sharing, sampling, budget, optimizer and first weights, and whatever
    else its own file in conf/ sets, such as the halo of B-STDO. The reading of equal work must be
    the same, or one of the runs has none, as awDNN: then it is the same fit under both.
    """
    # First what is cheap: among many videos, most pairs end here
    if any(run.metrics[key] != other.metrics[key] for key in _PLACE):
        return False
    if not same_video(run.metrics, other.metrics):
        return False
    if run.reading != other.reading and None not in (run.reading, other.reading):
        return False
    ours = {EQUAL, *run.metrics.get("own_settings", ()), *other.metrics.get("own_settings", ())}
    return _conditions(run, ours) == _conditions(other, ours)


def _conditions(run: Run, but: Set[str]) -> dict[str, str]:
    """The settings that runs must have in common before their methods can be compared."""
    return {
        key: value
        for key, value in run.shaping.items()
        if role_of(key) is not Role.METHOD and key not in _OWN_FACTS and key not in but
    }


def _of_paper(run: Run) -> Json:
    """The paper's PSNR where our video is one of its videos, whole, and its mean differences for
    any other."""
    facts = run.metrics
    method, backbone, scale = facts["method"], facts["backbone"], facts["scale"]
    if facts["network"] is not None:
        ends = {0: FIRST_ALONE, facts["chunks"] - 1: LAST_ALONE}
        method = ends.get(facts["network"], "") if method == "stdo" else ""
    video = raw_name(facts)
    whole = paper_frames(video) == facts["frames"]
    figures: Json = {"paper_psnr": paper_figure(backbone, method, video, scale) if whole else None}
    for other in REFERENCES:
        own = _difference(figures["paper_psnr"], paper_figure(backbone, other, video, scale))
        mean = paper_gain(backbone, method, other, scale) if own is None else own
        figures[f"paper_over_{other}"] = None if method == other else mean
    return figures


def _origin(run: Run) -> Json:
    origin = run.provenance
    machine = origin.get("machine", {})
    return {
        "study": run.metrics.get("study"),
        "started": origin.get("started"),
        "commit": (origin.get("commit") or "")[:12] or None,
        "dirty": None if origin.get("diff") is None else bool(origin["diff"]),
        "processor": machine.get("processor"),
        "cores": machine.get("cores"),
        "accelerator": machine.get("accelerator"),
        "command": command(origin.get("command") or []) or None,
    }


def command(words: Sequence[str]) -> str:
    """The command as it was typed, fit for publication: of absolute paths the last name alone is
    kept.

    Args:
        words: Program and arguments, as provenance.json has them.

    >>> command(["train.py", "video.path=/home/me/holiday film.mp4", "sampler.ratios=[1,0.5]"])
    "python -m stdo.train 'video.path=holiday film.mp4' 'sampler.ratios=[1,0.5]'"
    """
    return as_typed([published(word) for word in words])


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _text(value: object) -> str:
    """A cell: whole numbers whole, other numbers to four digits after the point, lists with spaces
    between."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(_text(each) or "-" for each in value)
    if isinstance(value, float):
        return f"{round(value, 4):.12g}" if math.isfinite(value) else ""
    return _inert(" ".join(str(value).split()))


def _inert(text: str) -> str:
    """A text that no spreadsheet takes for a formula: with an apostrophe before the signs that
    formulas begin with."""
    return f"'{text}" if text.startswith(_FORMULAS) else text
