"""Measure a finished run again from its weights: ``python -m stdo.evaluate run=outputs/…
save=video``."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from stdo.cli.app import enter
from stdo.config.clips import clip_of
from stdo.config.settings import check
from stdo.core.types import UserError


def task(config: DictConfig) -> Path:
    """Rebuild the run from its own directory, measure, and print."""
    check({key: value for key, value in config.items() if key != "paths"})
    directory = Path(config.run)
    from stdo.pipeline.steps import SAVES, evaluate

    if config.save is not None and config.save not in SAVES:
        raise UserError(f"save={config.save}: must be null or one of {', '.join(SAVES)}")
    clip = clip_of(directory, config.paths.cache, config.video)
    from stdo.evaluation.table import closing_table

    metrics = evaluate(directory, clip, config.save, only=config.network, metrics=config.metrics)
    out = directory if config.network is None else directory / f"network-{config.network}"
    sys.stdout.write(f"{closing_table(metrics)}\n\n{out}\n")
    return directory


def main() -> None:
    """Entry point of ``stdo-evaluate``."""
    enter(task, "evaluate")
