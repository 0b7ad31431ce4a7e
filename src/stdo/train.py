"""Overfit networks to a video: ``python -m stdo.train backbone=wdsr scale=4 chunks=4``."""

import sys

from omegaconf import DictConfig

from stdo.doors import build_job, enter


def task(config: DictConfig) -> None:
    """One run, or one job of a sweep."""
    job = build_job(config)
    from stdo.evaluation.table import closing_table
    from stdo.pipeline import RESULT, train

    finished = (job.directory / RESULT).exists() and not config.force
    if finished:
        sys.stderr.write(f"{job.directory} is finished; this is its result (force=true trains again)\n")
    for note in job.data.notes:
        sys.stderr.write(f"note: {note}\n")
    metrics = train(job, config.force)
    if metrics:
        sys.stdout.write(f"{closing_table(metrics)}\n\n{job.directory}\n")


def main() -> None:
    """Entry point of ``stdo-train``."""
    enter(task, "train")


if __name__ == "__main__":
    main()
