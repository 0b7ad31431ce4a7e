"""Measure a finished run again from its weights: ``python -m stdo.evaluate run=outputs/… save=video``."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from stdo.doors import build_job, enter, load_config
from stdo.types import UserError


def task(config: DictConfig) -> None:
    """Rebuild the run from its own directory, measure, and print."""
    directory = Path(config.run)
    from stdo.pipeline import SAVES, evaluate, read_result

    if config.save is not None and config.save not in SAVES:
        raise UserError(f"save={config.save}: must be null or one of {', '.join(SAVES)}")
    run = load_config(directory)
    read_result(directory)
    # Its scores and labels are kept; no scorer has to run again, least of all one that a folder names.
    run.scorer = {"_target_": "stdo.video.degrade.BicubicUpscaler", "scale": run.scale}
    if config.paths.cache is not None:
        run.paths.cache = config.paths.cache
    from stdo.evaluation.table import closing_table

    metrics = evaluate(build_job(run, directory), config.save)
    sys.stdout.write(f"{closing_table(metrics)}\n\n{directory}\n")


def main() -> None:
    """Entry point of ``stdo-evaluate``."""
    enter(task, "evaluate")


if __name__ == "__main__":
    main()
