"""Put finished runs together: ``python -m stdo.report runs=[outputs] out=report``."""

import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from stdo.doors import conf_dir, enter
from stdo.types import UserError


def task(config: DictConfig) -> None:
    """Write results.tsv, and plot.png and report.html where they are asked for; print the table."""
    study = _study(config.study)
    settings = {str(key): study.get(str(key)) if value is None else value for key, value in config.items()}
    plot: dict[str, Any] = dict(study.get("plot") or {})
    plot |= {key: value for key, value in _plain(config.plot).items() if value is not None}
    if settings["html"] not in (None, True, False):
        raise UserError(f"html={settings['html']}: must be true, false or null")
    where = _where(settings["runs"], config)
    out = Path(settings["out"] or (f"experiments/{config.study}" if config.study else "report"))
    title = settings["title"] or config.study or "Runs"

    from stdo.reporting.results import write_tsv
    from stdo.reporting.runs import collect
    from stdo.reporting.table import comparison_table

    runs = collect(where)
    figure = None
    if plot.get("kind"):
        from stdo.reporting.plots import draw

        figure = draw(runs, plot, title)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_tsv(out / "results.tsv", runs)
    except OSError as error:
        raise UserError(f"out={out}: cannot be written ({error.strerror})") from error
    written = ["results.tsv"]
    if figure:
        from stdo.reporting.plots import save

        save(out / "plot.png", figure)
        written.append("plot.png")
    if settings["html"] or (settings["html"] is None and not config.study):
        from stdo.reporting.page import write_page

        write_page(out / "report.html", runs, title)
        written.append("report.html")
    sys.stdout.write(f"{comparison_table(runs)}\n\n{out}\n  {'  '.join(written)}\n")


def _study(name: str | None) -> dict[str, Any]:
    """The report of a study, as conf/reports has it. (A config group ``study`` would take the setting's name.)"""
    if name is None:
        return {}
    known = sorted(path.stem for path in (conf_dir() / "reports").glob("*.yaml"))
    if name not in known:
        raise UserError(f"study={name}: must be one of {', '.join(known)}; any runs can be reported with runs=…")
    return _plain(OmegaConf.load(conf_dir() / "reports" / f"{name}.yaml"))


def _where(runs: Any, config: DictConfig) -> list[Path]:
    if runs is None and config.study:
        sweep = Path(config.paths.outputs) / "sweeps" / f"{config.study}.json"
        if not sweep.exists():
            raise UserError(f"study={config.study}: no {sweep} yet; run its sweep, or give runs=…")
        return [sweep]
    listed = [runs] if isinstance(runs, str) else list(runs) if isinstance(runs, list | ListConfig) else []
    if not listed:
        raise UserError("runs: name run directories, folders of them, or sweep files")
    return [Path(str(path)) for path in listed]


def _plain(node: Any) -> dict[str, Any]:
    plain: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    return plain


def main() -> None:
    """Entry point of ``stdo-report``."""
    enter(task, "report")


if __name__ == "__main__":
    main()
