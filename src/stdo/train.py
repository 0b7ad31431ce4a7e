"""Overfit networks to a video: ``python -m stdo.train backbone=wdsr scale=4 chunks=4``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from stdo.deliver import delivery, pack
from stdo.doors import enter
from stdo.jobs import build_job
from stdo.types import Json, VideoInfo

if TYPE_CHECKING:
    from stdo.pipeline import Job


def task(config: DictConfig) -> Path:
    """One run, or one job of a sweep."""
    job = build_job(config)
    from stdo.evaluation.table import closing_table
    from stdo.pipeline import alone, train
    from stdo.rundir import RESULT

    if (job.directory / RESULT).exists() and not config.force:
        sys.stderr.write(f"{job.directory} is finished; this is its result (force=true trains again)\n")
    else:
        sys.stderr.write(f"{summary(job.data.info)}\n")
    metrics = train(job, config.force)
    if metrics and config.deliver:
        metrics = _packed(job, config, metrics)
    if metrics:
        results = [metrics, *(alone(job) if config.networks_alone else ())]
        sys.stdout.write("\n\n".join(closing_table(result) for result in results))
        sys.stdout.write(f"\n\n{job.directory}\n  comparison.png  heatmap.png  frames.csv\n")
    return job.directory


def _packed(job: Job, config: DictConfig, metrics: Json) -> Json:
    """Deliver the run, unless that was done."""
    from stdo.delivery.deliver import is_delivered

    wanted = delivery(config)
    if is_delivered(metrics, wanted, wanted.path(job.directory, job.data.info.name)):
        return metrics
    return pack(job, wanted)


def summary(info: VideoInfo) -> str:
    """What will be worked on, and what a user should know of it, one line each."""
    colour = f"{info.colour.matrix} {info.colour.range}" if info.colour.matrix != "rgb" else "rgb"
    length = f"{info.frames} frames" if info.frames else "unknown length"
    rate = f"{float(info.rate):.4g} frames/s"
    line = f"{info.name}: {info.width}x{info.height}, {length}, {rate}, {info.bit_depth} bit {info.chroma}, {colour}"
    return "\n".join([line, *(f"note: {note}" for note in info.notes)])


def main() -> None:
    """Entry point of ``stdo-train``."""
    enter(task, "train")


if __name__ == "__main__":
    main()
