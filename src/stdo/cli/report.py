"""Put finished runs together: ``python -m stdo.report runs=[outputs] out=report``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from stdo.cli.app import enter
from stdo.config.settings import check
from stdo.config.studies import Study, open_study
from stdo.core.types import Json, UserError
from stdo.runs.sweeps import Sweep

if TYPE_CHECKING:
    from stdo.reporting.runs import Run


def task(config: DictConfig) -> None:
    """Write results.tsv, and plot.png and report.html where they are asked for; print the table."""
    check(config)
    study = open_study(config.study) if config.study else None
    asked: Json = study.report if study else {}
    settings = asked | {str(key): value for key, value in config.items() if value is not None}
    settings = dict.fromkeys(map(str, config)) | settings
    plot: dict[str, Any] = dict(asked.get("plot") or {})
    plot |= {key: value for key, value in _plain(config.plot).items() if value is not None}
    for switch in ("html", "networks_alone"):
        if settings[switch] is None:
            settings[switch] = study is None
    where = _where(settings["runs"], config, study)
    out = Path(settings["out"] or (f"experiments/{study.name}" if study else "report"))
    title = settings["title"] or (study.name if study else "Runs")

    from stdo.reporting.runs import collect
    from stdo.reporting.table import comparison_table
    from stdo.reporting.whole import whole

    runs = [
        run
        for run in collect(where)
        if settings["networks_alone"] or run.metrics["network"] is None
    ]
    if not runs:
        raise UserError(
            "runs: all of them are of one network alone; networks_alone=true shows them"
        )
    if settings["html"] or plot.get("kind") in ("heatmaps", "crops"):
        runs = whole(runs, pictures=True)
    written = _write(out, runs, plot, str(title), settings["html"], settings["private"])
    sys.stdout.write(f"{comparison_table(runs)}\n\n{out}\n  {'  '.join(written)}\n")


def _write(
    out: Path, runs: Sequence[Run], plot: dict[str, Any], title: str, html: bool, private: bool
) -> list[str]:
    """Write what is asked for into a folder, nothing where the plot is a mistake. Returns the names
    of the files."""
    from stdo.reporting.page import write_page
    from stdo.reporting.plots import draw, save
    from stdo.reporting.results import write_tsv

    figure = draw(runs, plot, title) if plot.get("kind") else None
    written = ["results.tsv"]
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_tsv(out / "results.tsv", runs)
        if figure:
            save(out / "plot.png", figure)
            written.append("plot.png")
    except OSError as error:
        raise UserError(f"out={out}: cannot be written ({error.strerror})") from error
    if html:
        write_page(out / "report.html", runs, title, private)
        written.append("report.html")
    return written


def _where(runs: Any, config: DictConfig, study: Study | None) -> list[Path]:
    if runs is None and study is not None:
        sweep = Sweep(Path(config.paths.outputs), study.name)
        found = [path for path in (sweep.path, sweep.former) if path.exists()]
        if not found:
            raise UserError(
                f"study={config.study}: no {sweep.path} yet; train it with study={config.study}, "
                "or give runs=…"
            )
        return found
    if runs is None:
        raise UserError("runs: name run directories, folders of them, or sweep files")
    return [Path(path) for path in ([runs] if isinstance(runs, str) else runs)]


def _plain(node: Any) -> dict[str, Any]:
    plain: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    return plain


def main() -> None:
    """Entry point of ``stdo-report``."""
    enter(task, "report")
