"""Every metric, whatever files there are: in results, tables, the page and settings."""

import math
from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from stdo.chunks.grid import PatchGrid
from stdo.core.types import UserError
from stdo.evaluation.metrics import Comparison, Meter
from stdo.evaluation.table import closing_table
from stdo.metrics.base import Metric
from stdo.metrics.registry import METRICS, OPTIONAL, chosen
from stdo.pipeline.steps import Job, lacks, train
from stdo.reporting.results import rows
from stdo.reporting.runs import collect
from stdo.runs.objective import check_objective
from stdo.runs.schema import RESULT, Metrics, columns
from stdo.runs.settings import SETTINGS

FACTS = {
    "video": "tiny", "method": "stdo", "backbone": "espcn", "scale": 2, "chunks": 3, "seed": 0,
    "chunking": "score", "sharing": "Independent", "sampler": "Uniform", "scorer": "bicubic",
    "passes": 3, "batch": 4, "precision": "32-true",
}  # fmt: skip
GRID = PatchGrid(96, 100, 24, 25, scale=2)
HEIGHT, WIDTH = 192, 200


@pytest.fixture(scope="module")
def measured() -> tuple[dict, list[dict]]:
    """All metrics of two frames that get worse."""
    rng = np.random.default_rng(0)
    meter, rows = Meter(GRID, 1, OPTIONAL), []
    hr = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for noise in (4, 40):
        sr = (hr + rng.normal(0, noise, hr.shape)).clip(0, 255).astype(np.uint8)
        patches = [GRID.hr.extract(frame) for frame in (hr, sr)]
        rows.append(meter.add(hr, sr, *patches, np.zeros(GRID.patches, np.int16)))
    return meter.result(), rows


def at(result: dict, metric: type[Metric]) -> float | None:
    place = result["psnr"] if metric.protocol else result
    return place[metric.name()]


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_in_results_columns_tables_and_settings(name: str, measured) -> None:
    metric, (result, rows) = METRICS[name], measured
    value = at(result, metric)
    assert metric.limits[0] <= value <= metric.limits[1]
    if metric.row is not None:
        better, worse = (row[metric.row] for row in rows)
        assert better > worse
        assert value == pytest.approx((better + worse) / 2)

    found = {column: f"{field}.{path}".strip(".") for column, field, path in columns()}
    assert found[metric.column()] == metric.path()
    assert found[f"bicubic_{name}"] == f"bicubic.{metric.path()}"
    assert RESULT[metric.path().partition(".")[0]].page
    check_objective(metric.path(), delivers=False, metrics=[name])
    setting = SETTINGS["protocol" if metric.protocol else "metrics"]
    assert setting.accepts(name if metric.protocol else [name]) == (
        metric.protocol or not metric.default
    )


@pytest.mark.parametrize("name", METRICS)
def test_a_result_holds_a_metric_in_its_range_alone(name: str, measured) -> None:
    metric, figures = METRICS[name], {key: measured[0][key] for key in ("psnr", "seams")}
    others = {key: measured[0][key] for key in METRICS if key in measured[0]}
    for bad in (metric.limits[1] + 1, metric.limits[0] - 1, "many"):
        result = {**figures, **others, "psnr": dict(figures["psnr"])}
        place = result["psnr"] if metric.protocol else result
        msgspec.convert(result, Metrics)
        place[name] = bad
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(result, Metrics)


def test_nothing_measured_is_nothing() -> None:
    for metric in METRICS.values():
        assert metric().value() is None


def test_what_is_not_asked_for_is_not_measured() -> None:
    assert Comparison().result().keys().isdisjoint(OPTIONAL)
    assert not {metric.name() for metric in chosen()} & set(OPTIONAL)
    assert Comparison(OPTIONAL).result().keys() >= set(OPTIONAL)
    with pytest.raises(UserError, match="metrics=sim: must be of "):
        chosen(["sim"])
    for name in OPTIONAL:
        with pytest.raises(UserError, match="is not measured; add metrics="):
            check_objective(METRICS[name].path(), delivers=False)


def test_the_closing_table_shows_what_was_measured(measured) -> None:
    result = measured[0]
    metrics = {
        "video": "clip", "method": "stdo", "backbone": "espcn", "scale": 2, "chunks": 1,
        "frames": 2, "params": 1, "macs_per_frame": 1.0, "patch_presentations": 1, "seconds": {},
        **result, "bicubic": result,
    }  # fmt: skip
    heads = closing_table(metrics).splitlines()[2].split("  ")
    for name, metric in METRICS.items():
        shown = name if metric.protocol else metric.label
        assert shown in [head.strip() for head in heads]
    for name in OPTIONAL:
        del metrics[name]
        assert METRICS[name].label not in closing_table(metrics).splitlines()[2].split()
    assert all(math.isfinite(value) for value in result["psnr"].values())


def test_a_run_is_measured_again_for_a_metric_that_it_lacks(
    make_job: Callable[..., Job],
) -> None:
    """And results.tsv and the table have a column for it, where a run has it."""
    job = make_job(facts=FACTS, config="seed: 0\n")
    plain = train(job)
    (row,) = rows(collect([job.directory]))
    assert not any(name in column for name in OPTIONAL for column in row)

    asked = train(replace(job, metrics=OPTIONAL))
    assert asked.keys() - plain.keys() == set(OPTIONAL)
    assert asked["bicubic"].keys() - plain["bicubic"].keys() == set(OPTIONAL)
    for name in plain.keys() - {"seconds", "bicubic"}:
        assert asked[name] == plain[name], name
    assert not lacks(asked, OPTIONAL)
