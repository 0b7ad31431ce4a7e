"""Measure a finished run again from its weights: ``python -m stdo.evaluate run=outputs/… save=video``."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from stdo.doors import build_job, enter, load_config
from stdo.settings import check
from stdo.types import UserError


def task(config: DictConfig) -> Path:
    """Rebuild the run from its own directory, measure, and print."""
    check({"network": config.network})
    directory = Path(config.run)
    from stdo.pipeline import SAVES, evaluate
    from stdo.rundir import read_result

    if config.save is not None and config.save not in SAVES:
        raise UserError(f"save={config.save}: must be null or one of {', '.join(SAVES)}")
    run = load_config(directory)
    read_result(directory)
    # Its scores and labels are kept; no scorer has to run again, least of all one that a folder names.
    bicubic = {"_target_": "stdo.video.degrade.BicubicUpscaler", "scale": run.scale}
    run.scorer = {"name": "bicubic", "measure": {"_target_": "stdo.chunks.score.ByPsnr", "upscale": bicubic}}
    if config.paths.cache is not None:
        run.paths.cache = config.paths.cache
    from stdo.evaluation.table import closing_table

    metrics = evaluate(build_job(run, directory), config.save, only=config.network)
    out = directory if config.network is None else directory / f"network-{config.network}"
    sys.stdout.write(f"{closing_table(metrics)}\n\n{out}\n")
    return directory


def main() -> None:
    """Entry point of ``stdo-evaluate``."""
    enter(task, "evaluate")


if __name__ == "__main__":
    main()
