"""The steps of a run in order, without Hydra: train, evaluate, measure single networks.

- ``train(job)`` prepares, chunks, fits, saves and evaluates. It resumes what was interrupted and
  repeats no finished work.
- ``evaluate(directory, clip)`` measures a finished run again from its weights.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from stdo.core.locks import main_process
from stdo.core.timeshare import timeshare
from stdo.core.types import I16, Json, UserError
from stdo.evaluation.crops import choose_crops, hardest, save_crops
from stdo.evaluation.identity import FINGERPRINT, check_source, fingerprint_of, own_video
from stdo.evaluation.measure import Measured, Sink, measure, pictures_of
from stdo.evaluation.pictures import comparison, heatmap
from stdo.evaluation.reconstruct import Reconstructor, device_of
from stdo.metrics.registry import METRICS, OPTIONAL, check
from stdo.models.weights import load_networks
from stdo.pipeline.chain import fit_chain, is_chain
from stdo.pipeline.fit import Job, fit
from stdo.reporting.runs import method_name
from stdo.runs.directory import (
    DELIVERED,
    RESULT,
    WEIGHTS,
    claimed,
    read_chunks,
    read_result,
    start_directory,
    write_maps,
    write_result,
    write_rows,
)
from stdo.runs.files import read_facts
from stdo.runs.tracking.tracker import Tracker, forget, tracked
from stdo.training.processes import device_of_fit, fit_of, processes_of, threads_on
from stdo.video.clip import Clip
from stdo.video.store import Prepared
from stdo.video.writer import VideoWriter

__all__ = ["SAVES", "Job", "alone", "evaluate", "train"]

SAVES: dict[str, tuple[str, str, int | None]] = {
    "video": ("sr.mp4", "x264", 12),
    "png": ("sr", "png", None),
}
"""How SR frames are kept: name in the run directory, codec, quality. Only PNG is lossless."""


def train(job: Job, force: bool = False) -> Json:
    """Train a job; resume it where it was interrupted; read its result where it is finished.

    Args:
        job: What to train, and its run directory.
        force: Train again even where it is finished.

    Returns:
        The content of metrics.json.

    Raises:
        BusyError: Another process trains this run.
    """
    with fit_of(job.trainer), claimed(job.directory):
        finished = not force and (job.directory / RESULT).exists()
        if finished and not main_process():
            return {}
        if finished:
            check_source(job.directory, read_result(job.directory), job.data.clip.source)
        elif main_process():
            start_directory(job.directory, job.config, job.command, force)
            if force:
                forget(job.directory)
        with tracked(job.tracker, job.directory, job.facts) as tracker:
            metrics = read_result(job.directory) if finished else _run(job, tracker)
            if finished and lacks(metrics, job.metrics):
                metrics = evaluate(job.directory, job.data.clip, metrics=job.metrics)
            if metrics:
                tracker.result(metrics)
        return metrics


def _run(job: Job, tracker: Tracker) -> Json:
    if (job.directory / WEIGHTS).exists():
        if not main_process():
            return {}
        return evaluate(job.directory, job.data.clip, metrics=job.metrics)
    began = time.monotonic()
    job.data.prepare_data()
    job.data.setup()
    prepared = time.monotonic() - began
    one = processes_of(job.trainer) == 1  # several of one fit compute together
    with timeshare(threads_on(device_of_fit(job.trainer)) if one else 1):
        trainer = (fit_chain if is_chain(job.shared) else fit)(job, tracker)
    return (
        evaluate(job.directory, job.data.clip, prepare_seconds=prepared, metrics=job.metrics)
        if trainer.is_global_zero
        else {}
    )


def evaluate(
    directory: Path,
    clip: Clip,
    save: str | None = None,
    prepare_seconds: float | None = None,
    only: int | None = None,
    metrics: Sequence[str] = (),
) -> Json:
    """Measure a trained run from its weights; write metrics.json, tables, patch maps and pictures.

    Args:
        directory: The run directory.
        clip: What the run was trained on.
        save: ``video`` or ``png`` keeps the SR frames.
        prepare_seconds: What preparing the clip took; None: unknown, or as noted before.
        only: Use this one network for every chunk (paper, Table 1); all is then written into
            ``network-<only>``.
        metrics: Names of metrics beside those that are always computed. Those that the result had
            before are measured again as well.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: The run is damaged, or the clip is another one.
    """
    if save is not None and save not in SAVES:
        raise UserError(f"save={save}: must be null or one of {', '.join(SAVES)}")
    check(metrics)
    with claimed(directory):
        return _evaluate(directory, clip, save, prepare_seconds, only, metrics)


def _evaluate(
    directory: Path,
    clip: Clip,
    save: str | None,
    prepare_seconds: float | None,
    only: int | None,
    extra: Sequence[str],
) -> Json:
    began = time.monotonic()
    networks, meta = load_networks(directory / WEIGHTS)
    facts = read_facts(directory, meta) | {"network": only}
    labels, network_of = read_chunks(directory, networks=len(networks))
    known = read_result(directory) if (directory / RESULT).exists() else {}
    video = own_video(directory, known | facts, labels, clip)
    facts[FINGERPRINT] = fingerprint_of(clip.source)
    out = directory
    if only is not None:
        if not 0 <= only < len(networks):
            raise UserError(
                f"network={only}: must be from 0 to {len(networks) - 1}, the networks of this run"
            )
        network_of, out = [only] * len(network_of), directory / f"network-{only}"
        out.mkdir(exist_ok=True)
    before = read_result(out) if (out / RESULT).exists() else {}
    extra = [name for name in OPTIONAL if name in extra or name in before]
    device = device_of(facts["device"])
    for network in networks:
        network.to(device).eval()
    reconstructor = Reconstructor.of(networks, network_of, clip, device)
    with timeshare(threads_on(device)):
        with _sink(out, video, save) as sink:
            measured = measure(video, reconstructor, labels, sink, clip.progress, extra)
        _draw(out, facts, clip, measured, reconstructor, labels)
    write_rows(out / "frames.csv", measured.rows)
    write_maps(out, measured.ours_TRC, measured.bicubic_TRC)
    if prepare_seconds is None and before:
        prepare_seconds = before["seconds"].get("prepare")
    seconds = {
        "prepare": prepare_seconds,
        "score": facts.pop("score_seconds"),
        "train": facts.pop("train_seconds"),
        "evaluate": time.monotonic() - began,
    }
    size = {"frames": len(video.lr), "width": video.width, "height": video.height}
    size |= {"patches": int(labels.size), "chunk_patches": np.bincount(labels.ravel()).tolist()}
    metrics: Json = facts | size | measured.ours | {"bicubic": measured.bicubic, "seconds": seconds}
    metrics["bicubic"].pop("chunk_psnr")
    metrics |= {key: before[key] for key in DELIVERED if key in before}
    write_result(out, metrics)
    return metrics


def alone(directory: Path, clip: Clip, metrics: Sequence[str] = ()) -> list[Json]:
    """Measure the first and the last chunk's network, each for every patch (paper, Table 1), unless
    that was done. metrics: as for `evaluate`."""
    last = max(read_chunks(directory)[1])
    if not last:
        return []
    found = []
    for only in (0, last):
        out = directory / f"network-{only}"
        result = read_result(out) if (out / RESULT).exists() else None
        if result is None or lacks(result, metrics):
            result = evaluate(directory, clip, only=only, metrics=metrics)
        found.append(result)
    return found


def lacks(result: Json, metrics: Sequence[str]) -> bool:
    """Whether a result was measured without one of these metrics."""
    paths = [METRICS[name].path().split(".") for name in metrics]
    places = [result if len(path) == 1 else result[path[0]] for path in paths]
    return any(path[-1] not in place for path, place in zip(paths, places, strict=True))


@contextmanager
def _sink(folder: Path, video: Prepared, save: str | None) -> Iterator[Sink | None]:
    """Where SR frames go: a video or a folder of PNGs in the run directory, or nowhere."""
    if save is None:
        yield None
        return
    name, codec, crf = SAVES[save]
    path = folder / name
    if path.is_dir():
        shutil.rmtree(path)
    info = video.info
    size, colour = (info.width, info.height), info.colour
    with VideoWriter(
        path, *size, info.rate, codec, crf, colour=colour, timeline=video.timeline, marks=info.marks
    ) as writer:
        yield writer.write


def _draw(
    folder: Path,
    facts: Json,
    clip: Clip,
    measured: Measured,
    reconstructor: Reconstructor,
    labels: I16,
) -> None:
    """heatmap.png, comparison.png and the crops."""
    video, grid = clip.video, clip.grid
    pictures = pictures_of(video, reconstructor, labels)
    name = method_name(facts["method"])
    which = "" if facts["network"] is None else f", network {facts['network']} for all"
    title = (
        f"{facts['video']} ×{grid.scale}, {name} {facts['backbone'].upper()}, "
        f"k={facts['chunks']}{which}"
    )
    frames = sorted({len(video.lr) // 4, 3 * len(video.lr) // 4})
    rows = [
        (
            f"frame {t}",
            pictures(t)[0],
            {"bicubic": measured.bicubic_TRC[t], name: measured.ours_TRC[t]},
        )
        for t in frames
    ]
    heatmap(folder / "heatmap.png", grid, rows, title=title)
    crops = choose_crops(measured.bicubic_TRC, measured.ours_TRC)
    comparison(folder / "comparison.png", grid, crops, pictures, name=name, title=title)
    save_crops(
        folder / "crops",
        [*hardest(measured.bicubic_TRC, measured.ours_TRC), *crops],
        grid,
        pictures,
    )
