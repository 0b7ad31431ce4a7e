"""Make the W&B dashboard: ``python -m stdo.dashboard runs=[outputs] entity=me``."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from stdo.cli.app import enter
from stdo.config.settings import check
from stdo.core.types import Json, UserError

ANYBODY = "your-entity"
"""The W&B user of a dashboard that is printed without one."""

Differences = dict[Path, dict[str, float]]
"""Run directory -> differences in dB, by their names in W&B's summaries."""


def task(config: DictConfig) -> None:
    """Compute the differences, write them into W&B's runs and save the panels, or print all that
    as JSON."""
    check(config)
    for package in ("wandb", "wandb_workspaces"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"dashboard: needs the package {package}; pip install 'stdo[train,dashboard]'"
            )
    from stdo.reporting.dashboard import PROJECT, differences
    from stdo.reporting.runs import collect
    from stdo.runs.tracking.wandb_told import told_to_wandb

    told = told_to_wandb()
    project = config.project or told.get("project") or PROJECT
    entity = config.entity or told.get("entity")
    found = differences(collect(_where(config.runs))) if config.runs else {}
    if config.print:
        shown = _print(found, entity or ANYBODY, project, config)
        sys.stdout.write(f"{json.dumps(shown, indent=2)}\n")
    else:
        sys.stdout.write(f"{_send(found, entity, project, config, told)}\n")


def _print(found: Differences, entity: str, project: str, config: DictConfig) -> Json:
    """What would be sent, and the differences of runs that W&B does not have."""
    from stdo.reporting.dashboard import tracked_runs, workspace

    board = workspace(entity, project, config.protocol, config.group)
    spec: Json = json.loads(
        board._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
    )
    return {
        "differences": {str(directory): values for directory, values in found.items()},
        "summaries": tracked_runs(found, entity, project),
        "workspace": spec,
    }


def _send(
    found: Differences, entity: str | None, project: str, config: DictConfig, told: Json
) -> str:
    """Write the differences and save the panels; returns their address."""
    import wandb

    from stdo.reporting.dashboard import tracked_runs, workspace, write
    from stdo.runs.tracking.wandb_told import mode_of

    mode = mode_of("auto", told)
    if mode.name in ("offline", "disabled"):
        raise UserError(f"{mode.why}: the dashboard is at W&B's server; print=true shows it here")
    try:
        if not wandb.login(prompt=False, verify=False):
            raise UserError("W&B: no API key; wandb login asks for one, and print=true needs none")
        api = wandb.Api()
        entity = str(entity or api.default_entity)
        missing = write(api, tracked_runs(found, entity, project))
        url = workspace(entity, project, config.protocol, config.group).save().url
    except (wandb.Error, OSError) as error:
        raise UserError(f"W&B: {' '.join(str(error).split())}") from error
    for path in missing:
        sys.stderr.write(
            f"note: {path} is not at W&B yet; wandb sync its folder and run this again\n"
        )
    return str(url)


def _where(runs: Any) -> list[Path]:
    return [Path(path) for path in ([runs] if isinstance(runs, str) else runs)]


def main() -> None:
    """Entry point of ``stdo-dashboard``."""
    enter(task, "dashboard")
