"""What other methods reached on the video of a run, for the table that the run ends with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from stdo.core.types import Json, UserError
from stdo.metrics.registry import OTHERS, PROTOCOLS
from stdo.reporting.names import names
from stdo.reporting.results import comparable, equal_work
from stdo.reporting.runs import Run, collect
from stdo.reporting.videos import same_video
from stdo.runs.directory import RESULT
from stdo.runs.files import read_metrics

METHODS = ("awdnn", "nas", "cafm", "repcam", "eps", "stdo")
"""The methods of papers that a run is shown beside."""


def beside(directory: Path) -> list[tuple[str, Json]]:
    """The finished runs of other methods in the same folder that a run can be compared with: same
    video and conditions, equal work.

    Args:
        directory: Of the run.

    Returns:
        The name of each method, such as ``NAS k=4``, with the settings that tell apart several of
        one method, and its metrics as in metrics.json: of the run of the same seed, else the mean
        of the seeds. Runs that cannot be read are left out.
    """
    (ours, *_) = collect([directory])
    points: dict[str, list[Run]] = {}
    others = _others(ours)
    for run, name in zip(others, names(others), strict=True):
        reading = f", equal {run.reading}"
        told = run.reading in (None, ours.reading) or reading in name
        points.setdefault(name if told else name + reading, []).append(run)
    seed = ours.metrics["seed"]
    same = {
        name: [run for run in runs if run.metrics["seed"] == seed] or runs
        for name, runs in points.items()
    }
    return [(name, _mean(runs)) for name, runs in same.items()]


def _others(ours: Run) -> list[Run]:
    facts = ours.metrics
    found: list[Run] = []
    for directory in _candidates(ours):
        try:
            runs = collect([directory])
        except UserError:
            continue
        found += [run for run in runs if run.metrics["network"] is None]
    work = facts["patch_presentations"]
    return [
        run
        for run in sorted(found, key=lambda run: METHODS.index(run.metrics["method"]))
        if comparable(run, ours) and equal_work(run.metrics["patch_presentations"], work)
    ]


def _candidates(ours: Run) -> Iterator[Path]:
    """Run directories that may be comparable, by a look at metrics.json alone: there may be
    hundreds."""
    facts = ours.metrics
    for file in sorted(ours.directory.parent.glob(f"*/{RESULT}")):
        if file.parent == ours.directory:
            continue
        try:
            other = read_metrics(file.parent)
        except (UserError, OSError):
            continue
        alike = all(other[key] == facts[key] for key in ("backbone", "scale"))
        alike = alike and same_video(other, facts) and not other.get("shortened")
        if alike and other["method"] in METHODS and other["method"] != facts["method"]:
            yield file.parent


def _mean(runs: Sequence[Run]) -> Json:
    figures = [run.metrics["psnr"] for run in runs]
    psnr = {name: _known([each.get(name) for each in figures]) for name in PROTOCOLS}
    others = {name: _known([run.metrics.get(name) for run in runs]) for name in OTHERS}
    return {"psnr": psnr, **others}


def _known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
