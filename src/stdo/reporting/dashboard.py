"""The W&B dashboard as code: every method against NAS, CaFM and bicubic, by backbone, scale, chunks
and video.

W&B cannot subtract one run from another. So the differences are computed here, from the run
directories, by the rule of results.tsv (`stdo.reporting.results.references`). They are written into
the summary of the run's W&B run, one name for each method (``over_nas/stdo/frame``), because a bar
chart groups by one setting and shows the methods as its bars.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from stdo.metrics.registry import METRICS, OTHERS
from stdo.reporting.results import references
from stdo.reporting.runs import NAMES, Run
from stdo.runs.tracking.memory import Memory

PROJECT = "stdo"
"""The project where neither the user nor W&B's own settings name one."""

BASELINES = ("nas", "cafm")
_PLAIN = re.compile(r"[^\w .,:+-]")
"""Signs that W&B may refuse in the name of a workspace."""

GROUPS = ("backbone", "scale", "chunks", "video")


def differences(runs: Sequence[Run]) -> dict[Path, dict[str, float]]:
    """Differences of finished runs to NAS and CaFM with equal work.

    Args:
        runs: All runs that are compared; those of one network alone are passed over.

    Returns:
        Run directory -> ``over_<baseline>/<method>/<protocol>`` in dB; of several runs of a
        baseline, to their mean.
    """
    found: dict[Path, dict[str, float]] = {}
    for run in runs:
        if run.metrics["network"] is not None:
            continue
        values: dict[str, float] = {}
        for baseline in BASELINES:
            others = references(run, baseline, runs)
            if others:
                values |= _over(baseline, run, others)
        if values:
            found[run.directory] = values
    return found


def _over(baseline: str, run: Run, others: Sequence[Run]) -> dict[str, float]:
    method, ours = run.metrics["method"], run.metrics["psnr"]
    theirs = [other.metrics["psnr"] for other in others]
    return {
        f"over_{baseline}/{method}/{protocol}": value - fmean(psnr[protocol] for psnr in theirs)
        for protocol, value in ours.items()
        if value is not None and all(psnr.get(protocol) is not None for psnr in theirs)
    }


def workspace(entity: str, project: str, protocol: str = "frame", group: str | None = None) -> Any:
    """The dashboard, not saved.

    Args:
        entity: A W&B user or team.
        project: Its project.
        protocol: The PSNR that the panels show.
        group: Show only the runs of this W&B group, a study or a multirun; None: all.

    Returns:
        A ``wandb_workspaces.workspaces.Workspace``.
    """
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    figures = [
        "scale",
        "chunks",
        "seed",
        f"psnr/{protocol}",
        f"gain/{protocol}",
        *(name for name in OTHERS if METRICS[name].default),
        "params",
        "patch_presentations",
    ]
    sections = [
        *(_against(baseline, protocol) for baseline in BASELINES),
        ws.Section(
            "Against bicubic (dB)",
            [_bars(f"gain/{protocol}", "method"), *_by_group([f"gain/{protocol}"])],
        ),
        ws.Section("Training", _curves(), is_open=True),
        ws.Section(
            "Cost",
            [
                _scatter(x, f"psnr/{protocol}")
                for x in ("params", "macs_per_frame", "seconds/train")
            ],
        ),
        ws.Section(
            "Pictures", [_pictures(key) for key in ("pictures/comparison", "pictures/heatmap")]
        ),
        ws.Section("Crops", [_pictures(f"crops/{name}") for name in ("truth", "bicubic", "ours")]),
        ws.Section("Settings", [wr.RunComparer(diff_only="split", layout=wr.Layout(w=24, h=12))]),
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name="stdo: methods at equal work" + (f", {_PLAIN.sub('_', group)}" if group else ""),
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis="train/presentations", max_runs=50),
        runset_settings=ws.RunsetSettings(
            filters=f"Metric('Group') == {_literal(group)}" if group else "",
            pinned_columns=[
                "run:displayName",
                "run:jobType",
                "run:tags",
                *(f"summary:{name}" for name in figures),
            ],
        ),
    )


def _literal(text: str) -> str:
    """A text in W&B's language of filters, which reads signs such as = also inside of quotes."""
    signs = [sign if sign.isalnum() else f"\\U{ord(sign):08x}" for sign in text]
    return f"'{''.join(signs)}'"


def _against(baseline: str, protocol: str) -> Any:
    """A section: the difference to one baseline, by each setting, a bar for each method."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    metrics = [f"over_{baseline}/{method}/{protocol}" for method in NAMES if method != baseline]
    note = (
        f"PSNR ({protocol}) of each method minus that of **{NAMES[baseline]}** with the same "
        "video, backbone, settings and **equal work** (patch presentations). Bars: mean over the "
        "runs; whiskers: least and most. `python -m stdo.dashboard runs=outputs` computes it from "
        "the run directories."
    )
    panels = [wr.MarkdownPanel(markdown=note, layout=wr.Layout(w=24, h=3)), *_by_group(metrics)]
    return ws.Section(f"Against {NAMES[baseline]} at equal work (dB)", panels, is_open=True)


def _by_group(metrics: Sequence[str]) -> list[Any]:
    return [_bars(metrics, group) for group in GROUPS]


def _bars(metrics: str | Sequence[str], group: str) -> Any:
    import wandb_workspaces.reports.v2 as wr

    names = [metrics] if isinstance(metrics, str) else list(metrics)
    return wr.BarPlot(
        title=f"by {group}",
        metrics=names,
        groupby=wr.Config(f"facts.{group}"),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
        orientation="v",
        title_y="dB",
        max_runs_to_show=1000,
        max_bars_to_show=100,
        line_titles={name: NAMES.get(name.split("/")[1], name) for name in names},
    )


def _curves() -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    axes = {"train/presentations": "patch presentations", "train/seconds": "seconds"}
    return [
        wr.LinePlot(
            title=f"{name} over {text}",
            x=x,
            y=[y],
            groupby=wr.Config("facts.method"),
            title_x=text,
            title_y=name,
        )
        for y, name in (("train/psnr", "PSNR of the step's patches (dB)"), ("train/loss", "loss"))
        for x, text in axes.items()
    ]


def _scatter(x: str, y: str) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.ScatterPlot(
        title=f"{y} over {x}", x=wr.SummaryMetric(x), y=wr.SummaryMetric(y), log_x=True
    )


def _pictures(key: str) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.MediaBrowser(title=key, media_keys=[key], num_columns=4, layout=wr.Layout(w=12, h=10))


def tracked_runs(
    found: Mapping[Path, dict[str, float]], entity: str, project: str
) -> dict[str, dict[str, float]]:
    """``entity/project/id`` of each run's W&B run -> its differences; runs of another project are
    left out."""
    paths = {}
    for directory, values in found.items():
        facts = Memory(directory / "wandb").facts
        if (
            facts.get("id")
            and facts.get("project") == project
            and facts.get("entity") in (None, entity)
        ):
            paths[f"{entity}/{project}/{facts['id']}"] = values
    return paths


def write(api: Any, paths: Mapping[str, dict[str, float]]) -> list[str]:
    """Write the differences into the summaries of W&B runs; returns the ones that W&B does not
    have."""
    from wandb.errors import CommError

    missing = []
    for path, values in paths.items():
        try:
            run = api.run(path)
        except (CommError, ValueError):
            missing.append(path)
            continue
        run.summary.update(values)
    return missing
