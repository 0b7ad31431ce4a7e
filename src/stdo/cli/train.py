"""Overfit networks to a video: ``python -m stdo.train backbone=wdsr scale=4 chunks=4``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from stdo.cli.app import enter
from stdo.cli.deliver import delivery, pack
from stdo.config.command import in_sweep
from stdo.config.jobs import build_job
from stdo.core.types import Json, UserError, VideoInfo

if TYPE_CHECKING:
    from stdo.pipeline.steps import Job
    from stdo.runs.tracking.tracker import MakeTracker


def task(config: DictConfig) -> Path:
    """One run, or one job of a sweep."""
    job, results = perform(config)
    if results:
        from stdo.evaluation.table import closing_table
        from stdo.reporting.beside import beside

        others = () if in_sweep() else beside(job.directory)
        tables = [closing_table(results[0], others), *map(closing_table, results[1:])]
        sys.stdout.write("\n\n".join(tables))
        sys.stdout.write(f"\n\n{job.directory}\n  comparison.png  heatmap.png  frames.csv\n")
    return job.directory


def perform(
    config: DictConfig,
    command: Sequence[str] | None = None,
    watch: Callable[[Job], MakeTracker] | None = None,
) -> tuple[Job, list[Json]]:
    """Train as a configuration says, and pack and measure what else it asks for, unless that was
    done.

    Args:
        config: Every setting of the run.
        command: The words of the command that does the same; None: those of this process.
        watch: Returns the tracker in place of the job's own.

    Returns:
        The run's parts, and its results: its own, then those of single networks where they are
        asked for. A process that helps another one to train has none.

    Raises:
        UserError: A setting is out of range, does not fit the video, or asks for a package that
            cannot be.
    """
    job = build_job(config)
    sys.stderr.write(f"{which_method(config.method)}\n")
    if command is not None:
        job = replace(job, command=command)
    if watch is not None:
        job = replace(job, tracker=watch(job))
    told: tuple[str, ...] = ()
    from stdo.pipeline.steps import alone, train
    from stdo.runs.directory import RESULT

    if (job.directory / RESULT).exists() and not config.force:
        sys.stderr.write(
            f"{job.directory} is finished; this is its result (force=true trains again)\n"
        )
    else:
        sys.stderr.write(f"{summary(job.data.clip.info)}\n")
        told = _packable(job, config)
    metrics = train(job, config.force)
    if metrics and config.deliver:
        metrics = _packed(job, config, metrics, told)
    if not metrics:
        return job, []
    if not config.networks_alone:
        return job, [metrics]
    return job, [metrics, *alone(job.directory, job.data.clip, job.metrics)]


def _packable(job: Job, config: DictConfig) -> tuple[str, ...]:
    """Say what a package of the run will lack, before anything is decoded.

    Raises UserError where there will be none though it is asked for; a note says so where it is
    not.

    Returns:
        The notes that were printed.
    """
    from stdo.encoder.plan import Planned, check_run, stream_notes

    clip, bits = job.data.clip, config.weights.bits
    networks = Planned.expected(
        job.sharing, job.facts["chunks"], config.sharing.get("bicubic_chunks", 0)
    )
    _unless_asked(config, lambda: check_run(clip, networks, bits))
    notes = stream_notes(clip) if config.deliver else ()
    sys.stderr.write("".join(f"note: {note}\n" for note in notes))
    return notes


def _unless_asked(config: DictConfig, check: Callable[[], None]) -> None:
    """Make a note of what is wrong with a package that nobody asked for."""
    try:
        check()
    except UserError as error:
        if config.deliver:
            raise
        sys.stderr.write(f"note: this run cannot be packed: {error}\n")


def _packed(job: Job, config: DictConfig, metrics: Json, told: tuple[str, ...]) -> Json:
    """Deliver the run, unless that was done. told: notes that were printed before."""
    from stdo.encoder.pack import is_delivered

    wanted = delivery(config)
    if is_delivered(metrics, wanted, wanted.path(job.directory, job.data.clip.info.name)):
        return metrics
    return pack(job.directory, job.data.clip, wanted, told)


def which_method(method: str) -> str:
    """Whose method it is, and how the other is trained."""
    from stdo.reporting.runs import method_name

    name = method_name(method)
    if method == "bstdo":
        return f"method: {name}, our own, the default; method=stdo trains the paper's STDO"
    if method == "stdo":
        return f"method: {name}, the paper's; method=bstdo trains B-STDO, our own, the default"
    return f"method: {name}; method=bstdo trains B-STDO, our own, and method=stdo the paper's STDO"


def summary(info: VideoInfo) -> str:
    """What will be worked on, and what a user should know of it, one line each."""
    colour = f"{info.colour.matrix} {info.colour.range}" if info.colour.matrix != "rgb" else "rgb"
    length = f"{info.frames} frames" if info.frames else "unknown length"
    rate = f"{float(info.rate):.4g} frames/s"
    line = (
        f"{info.name}: {info.width}x{info.height}, {length}, {rate}, {info.bit_depth} bit "
        f"{info.chroma}, {colour}"
    )
    return "\n".join([line, *(f"note: {note}" for note in info.notes)])


def main() -> None:
    """Entry point of ``stdo-train``."""
    enter(task, "train")
