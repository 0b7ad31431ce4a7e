"""The W&B dashboard as code: every method against NAS, CaFM and bicubic, by backbone, scale, chunks
and video.

    python experiments/dashboard.py --entity me --runs outputs            # differences, panels
    python experiments/dashboard.py --entity me --runs outputs --print    # show them; no account

W&B cannot subtract one run from another. So the differences are computed here, from the run
directories: PSNR of a run minus PSNR of the NAS (or CaFM) run of equal work, which is the one with
the same video, settings, number of chunks and seed, and as many patch presentations. They are
written into the summary of the run's W&B run, one name for each method (``over_nas/stdo/frame``),
because a bar chart groups by one setting and shows the methods as its bars.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stdo.core.types import Json, UserError
from stdo.reporting import results
from stdo.reporting.runs import NAMES, Run, collect
from stdo.runs.tracking.memory import Memory

BASELINES = ("nas", "cafm")
GROUPS = ("backbone", "scale", "chunks", "video")
PROTOCOLS = ("frame", "pooled", "stdo_patch", "cafm_frame", "y")


def comparable(run: Run, other: Run) -> bool:
    """Whether two runs differ in their method alone, as results.tsv has it, with the same chunks,
    seed and pixels, and showed as many patches, but for rounding to whole steps."""
    ours, theirs = run.metrics, other.metrics
    step = max(facts["patch_presentations"] / facts["steps"] for facts in (ours, theirs))
    return (
        results.comparable(run, other)
        and ours["seed"] == theirs["seed"]
        and ours["bicubic"]["psnr"] == theirs["bicubic"]["psnr"]  # the very same pixels, in and out
        and (
            ours["chunks"] == theirs["chunks"] or "whole" in (ours["chunking"], theirs["chunking"])
        )
        and abs(ours["patch_presentations"] - theirs["patch_presentations"]) <= step
    )


def differences(runs: Sequence[Run]) -> dict[Path, dict[str, float]]:
    """Run directory -> ``over_<baseline>/<method>/<protocol>`` in dB.

    awDNN has no chunks: it is compared with the mean of the baselines of any number of chunks.
    """
    whole = [run for run in runs if run.metrics["network"] is None]
    found: dict[Path, dict[str, float]] = {}
    for run in whole:
        values: dict[str, float] = {}
        for baseline in BASELINES:
            others = [
                other
                for other in whole
                if other.metrics["method"] == baseline and comparable(run, other)
            ]
            if others and run.metrics["method"] != baseline:
                values |= _over(baseline, run, others)
        if values:
            found[run.directory] = values
    return found


def _over(baseline: str, run: Run, others: Sequence[Run]) -> dict[str, float]:
    method, ours = run.metrics["method"], run.metrics["psnr"]
    theirs = [other.metrics["psnr"] for other in others]
    return {
        f"over_{baseline}/{method}/{protocol}": value
        - sum(psnr[protocol] for psnr in theirs) / len(theirs)
        for protocol, value in ours.items()
        if value is not None and all(psnr.get(protocol) is not None for psnr in theirs)
    }


def workspace(entity: str, project: str, protocol: str = "frame", study: str | None = None) -> Any:
    """The dashboard, not saved. protocol: the PSNR that the panels show. study: only its runs."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    figures = [
        "scale",
        "chunks",
        "seed",
        f"psnr/{protocol}",
        f"gain/{protocol}",
        "ssim",
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
        name="stdo: methods at equal work" + (f", {study}" if study else ""),
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis="train/presentations", max_runs=50),
        runset_settings=ws.RunsetSettings(
            filters=f"Metric('Group') = '{study}'" if study else "",
            pinned_columns=[
                "run:displayName",
                "run:jobType",
                "run:tags",
                *(f"summary:{name}" for name in figures),
            ],
        ),
    )


def _against(baseline: str, protocol: str) -> Any:
    """A section: the difference to one baseline, by each setting, a bar for each method."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    metrics = [f"over_{baseline}/{method}/{protocol}" for method in NAMES if method != baseline]
    note = (
        f"PSNR ({protocol}) of each method minus that of **{NAMES[baseline]}** with the same "
        "video, settings, seed, number of chunks and **equal work** (patch presentations). Bars: "
        "mean over the runs; whiskers: least and most. `experiments/dashboard.py --runs` computes "
        "it from the run directories."
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


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="dashboard.py", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--entity", default=None, help="a W&B user or team; default: your own")
    parser.add_argument("--project", default="stdo")
    parser.add_argument(
        "--runs",
        nargs="*",
        type=Path,
        default=[],
        help="run directories, folders of them, sweep files",
    )
    parser.add_argument(
        "--protocol", default="frame", choices=PROTOCOLS, help="the PSNR that the panels show"
    )
    parser.add_argument("--study", default=None, help="show only the runs of this study")
    parser.add_argument(
        "--print", action="store_true", help="show it as JSON and save nothing; needs no account"
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Compute the differences, write them into W&B's runs, save the panels."""
    asked = arguments(words)
    found = differences(collect(asked.runs)) if asked.runs else {}
    if asked.print:
        entity = asked.entity or "your-entity"
        board = workspace(entity, asked.project, asked.protocol, asked.study)
        spec: Json = json.loads(
            board._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
        )
        shown = {str(directory): values for directory, values in found.items()}
        summaries = tracked_runs(found, entity, asked.project)
        sys.stdout.write(
            json.dumps({"differences": shown, "summaries": summaries, "workspace": spec}, indent=2)
            + "\n"
        )
        return
    import wandb

    try:
        if not wandb.login(prompt=False, verify=False):
            raise UserError("W&B: no API key; wandb login asks for one, and --print needs none")
        api = wandb.Api()
        entity = str(asked.entity or api.default_entity)
        missing = write(api, tracked_runs(found, entity, asked.project))
        board = workspace(entity, asked.project, asked.protocol, asked.study).save()
    except wandb.Error as error:
        raise UserError(f"W&B: {' '.join(str(error).split())}") from error
    for path in missing:
        sys.stderr.write(
            f"note: {path} is not at W&B yet; wandb sync its folder and run this again\n"
        )
    sys.stdout.write(f"{board.url}\n")


if __name__ == "__main__":
    try:
        main()
    except ImportError as error:
        sys.exit(f"stdo: needs the package {error.name}; pip install 'stdo[train,dashboard]'")
    except UserError as error:
        sys.exit(f"stdo: {error}")
