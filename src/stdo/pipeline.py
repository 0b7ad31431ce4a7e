"""The steps of the house in order, with no Hydra in it: what a notebook or another program calls.

job = Job(...)                 the parts, already built
metrics = train(job)           prepare, chunk, fit, save, evaluate; resumes and never repeats finished work
metrics = evaluate(job)        measures a finished run again from its weights
"""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from tqdm import tqdm

from stdo.chunks.branch import Branching
from stdo.chunks.sample import Sampler
from stdo.chunks.score import ByPsnr
from stdo.evaluation.crops import choose_crops, hardest, save_crops
from stdo.evaluation.measure import Measured, Sink, measure, pictures_of
from stdo.evaluation.pictures import comparison, heatmap
from stdo.evaluation.reconstruct import Reconstructor
from stdo.locks import main_process
from stdo.models.common import Backbone
from stdo.models.cost import macs_per_patch
from stdo.models.sharing import Sharing
from stdo.models.weights import load_networks, save_networks
from stdo.reporting.runs import method_name
from stdo.rundir import (
    CHECKPOINT,
    DELIVERED,
    RESULT,
    WEIGHTS,
    claimed,
    read_chunks,
    read_result,
    start_directory,
    write_chunks,
    write_maps,
    write_result,
    write_rows,
)
from stdo.signals import deferred
from stdo.tracking.tracker import FilesOnly, MakeTracker, Tracker, curve_loggers, forget, tracked
from stdo.training.callbacks import AtomicCheckpointIO, Curve, FitProgress, KeepLast, hush
from stdo.training.data import PatchData
from stdo.training.module import Optimizer, Overfit, Schedule
from stdo.training.stop import StopWhenSlow
from stdo.training.warm import Branch
from stdo.types import F32, I16, Json, T, UserError
from stdo.video.store import Prepared
from stdo.video.writer import VideoWriter

SAVES: dict[str, tuple[str, str, int | None]] = {"video": ("sr.mp4", "x264", 12), "png": ("sr", "png", None)}
"""How SR frames are kept: name in the run directory, codec, quality. Only PNG is lossless."""


def terminal(items: Iterable[T], total: int | None, label: str) -> Iterable[T]:
    """Progress with an ETA on the terminal, of the main process alone."""
    hidden = not main_process()
    bar: Iterable[T] = tqdm(items, total=total, desc=label, unit=" frames", dynamic_ncols=True, disable=hidden)
    return bar


@dataclass(frozen=True)
class Job:
    """One run.

    directory: the run directory. config: its configuration as text, kept beside the result.
    facts: what is known before the run starts and belongs into metrics.json (method, backbone, seed, …).
    sharing: number of chunks -> the networks. sampler: chunk and learner of each patch -> which patches are shown.
    trainer: a Lightning Trainer but for ``callbacks``, ``plugins``, ``logger`` and the number of epochs.
    command: the words of the command that repeats this run, for its provenance.
    tracker: who is told of the run beside its directory.
    warm: where one network learns for all chunks first: ``sampler`` as ``then`` -> which patches the whole fit shows.
    loss: see `stdo.training.loss.LOSSES`. min_gain: dB per minute under which a fit ends early; None: never.
    """

    directory: Path
    config: str
    facts: Json
    data: PatchData
    sharing: Callable[[int], Sharing]
    sampler: Callable[..., Sampler]
    optimizer: Optimizer
    schedule: Schedule
    trainer: Callable[..., pl.Trainer]
    checkpoint_seconds: float = 30.0
    command: Sequence[str] = tuple(sys.argv)
    tracker: MakeTracker = FilesOnly
    warm: Callable[..., Sampler] | None = None
    loss: str = "l1"
    min_gain: float | None = None


def train(job: Job, force: bool = False) -> Json:
    """Run a job, or go on with it where it was left, or read its result when it is finished.

    force: begin again even so. Returns the content of metrics.json. Raises `stdo.locks.BusyError` while another process
    is at this run.
    """
    with claimed(job.directory):
        finished = not force and (job.directory / RESULT).exists()
        if not finished:
            start_directory(job.directory, job.config, job.command, force)
            if force:
                forget(job.directory)
        with tracked(job.tracker, job.directory, job.facts) as tracker:
            metrics = read_result(job.directory) if finished else _run(job, tracker)
            if metrics:
                tracker.result(metrics)
        return metrics


def _run(job: Job, tracker: Tracker) -> Json:
    began = time.monotonic()
    job.data.prepare_data()
    job.data.setup()
    prepared = time.monotonic() - began
    if not (job.directory / WEIGHTS).exists():
        trainer = _fit(job, tracker)
        if not trainer.is_global_zero:
            return {}
    return evaluate(job, prepare_seconds=prepared)


def _fit(job: Job, tracker: Tracker) -> pl.Trainer:
    """Train, and keep the weights and the chunks."""
    hush()
    data, labels = job.data, job.data.labels
    sharing = job.sharing(int(labels.max()) + 1)
    sampling = job.sampler if job.warm is None else partial(job.warm, then=job.sampler)
    sampler = data.sample(sampling, sharing.learner_of(labels.ravel()))
    border = data.grid.halo * data.video.scale
    module = Overfit(sharing, job.optimizer, job.schedule, sampler.steps, border, sampler.at_once, job.loss)
    last = job.directory / CHECKPOINT
    curve = Curve(sampler.shown)
    branch = (
        [Branch(data, sampler, sharing.learner_of, partial(_score, data))] if isinstance(sampler, Branching) else []
    )
    stop = [] if job.min_gain is None else [StopWhenSlow(job.min_gain, data, sampler, curve)]
    try:
        with deferred() as asked:
            kept = KeepLast(last, job.checkpoint_seconds, asked)
            trainer = job.trainer(
                max_epochs=1,
                callbacks=[*branch, curve, *stop, FitProgress(sampler.shown), kept],
                logger=curve_loggers(job.directory, tracker),
                plugins=[AtomicCheckpointIO()],
                use_distributed_sampler=False,  # every process sees every step, and takes its share of its patches
            )
            trainer.fit(module, datamodule=data, ckpt_path=last if last.exists() else None, weights_only=True)
        if dist.is_initialized():  # else its threads may end this process, or a child that is done, with an abort
            dist.destroy_process_group()
    except torch.OutOfMemoryError as error:
        raise UserError(f"out of GPU memory: lower budget.batch ({sampler.batch_size}) or use trainer=cpu") from error
    if trainer.is_global_zero:
        _save(job, sharing, sampler, curve.seconds, str(trainer.strategy.root_device))
    return trainer


def _score(data: PatchData, network: Backbone, device: torch.device) -> F32:
    """PSNR in dB of what one network makes of every patch, (T, rows, cols)."""
    grid, video = data.grid, data.video
    alone = Reconstructor([network.to(device)], [0], grid, video.scale, device)
    chunk = np.zeros((grid.rows, grid.cols), np.int16)
    scorer = ByPsnr(lambda lr_HWC: grid.assemble(alone.patches(lr_HWC, chunk), video.scale))
    return scorer.scores(((video.lr[t], video.hr[t]) for t in range(len(video.lr))), grid, video.scale)


def _save(job: Job, sharing: Sharing, sampler: Sampler, seconds: float, device: str) -> None:
    data, grid, network_of = job.data, job.data.grid, sharing.network_of(np.arange(sharing.chunks)).tolist()
    macs = macs_per_patch(sharing.distinct(), network_of, data.video.scale, grid.window, (grid.patch_h, grid.patch_w))
    facts = job.facts | {
        "params": sharing.params,
        "params_base": sharing.params_base,
        "params_per_chunk": sharing.params_per_chunk,
        "bicubic_chunks": sharing.chunks - sharing.served,
        "macs_per_frame": round(int(np.bincount(data.labels.ravel()) @ macs) / len(data.labels)),  # the mean
        "patch_presentations": sampler.presentations,
        "chunk_presentations": sampler.chunk_presentations(),
        "steps": sampler.steps,
        "stopped": sampler.stopped,
        "train_seconds": seconds,
        "score_seconds": data.score_seconds,
        "device": device,
    }
    facts |= sampler.facts
    write_chunks(job.directory, data.scores, data.labels, network_of)
    save_networks(job.directory / WEIGHTS, sharing, {"facts": json.dumps(facts)})


def evaluate(job: Job, save: str | None = None, prepare_seconds: float | None = None, only: int | None = None) -> Json:
    """Measure a trained run from its weights; write metrics.json, tables, patch maps and pictures.

    save: ``video`` or ``png`` keeps the SR frames. only: use this one network for every chunk (paper, Table 1); all is
    then written into ``network-<only>`` within the run directory. Returns the content of metrics.json.
    """
    if save is not None and save not in SAVES:
        raise UserError(f"save={save}: must be null or one of {', '.join(SAVES)}")
    with claimed(job.directory):
        return _evaluate(job, save, prepare_seconds, only)


def _evaluate(job: Job, save: str | None, prepare_seconds: float | None, only: int | None) -> Json:
    began = time.monotonic()
    data = job.data
    data.prepare_data()
    data.setup()
    networks, meta = load_networks(job.directory / WEIGHTS)
    facts = json.loads(meta["facts"]) | {"network": only}
    labels, network_of = read_chunks(job.directory)
    out = job.directory
    if only is not None:
        if not 0 <= only < len(networks):
            raise UserError(f"network={only}: must be from 0 to {len(networks) - 1}, the networks of this run")
        network_of, out = [only] * len(network_of), job.directory / f"network-{only}"
        out.mkdir(exist_ok=True)
    device = torch.device(facts["device"] if torch.cuda.is_available() else "cpu")
    for network in networks:
        network.to(device).eval()
    reconstructor = Reconstructor(networks, network_of, data.grid, data.video.scale, device)
    with _sink(out, data.video, save) as sink:
        measured = measure(data.video, reconstructor, labels, sink, data.progress)
    _draw(out, facts, data, measured, reconstructor, labels)
    write_rows(out / "frames.csv", measured.rows)
    write_maps(out, measured.ours_TRC, measured.bicubic_TRC)
    before = read_result(out) if (out / RESULT).exists() else {}
    if prepare_seconds is None and before:
        prepare_seconds = before["seconds"]["prepare"]
    seconds = {
        "prepare": prepare_seconds,
        "score": facts.pop("score_seconds"),
        "train": facts.pop("train_seconds"),
        "evaluate": time.monotonic() - began,
    }
    size = {"frames": len(data.video.lr), "width": data.video.width, "height": data.video.height}
    size |= {"patches": int(labels.size), "chunk_patches": np.bincount(labels.ravel()).tolist()}
    metrics: Json = facts | size | measured.ours | {"bicubic": measured.bicubic, "seconds": seconds}
    metrics["bicubic"].pop("chunk_psnr")
    metrics |= {key: before[key] for key in DELIVERED if key in before}
    write_result(out, metrics)
    return metrics


def alone(job: Job) -> list[Json]:
    """Measure the first and the last chunk's network, each for every patch (paper, Table 1), unless that was done."""
    last = max(read_chunks(job.directory)[1])
    done = [(only, job.directory / f"network-{only}") for only in ((0, last) if last else ())]
    return [read_result(out) if (out / RESULT).exists() else evaluate(job, only=only) for only, out in done]


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
    folder: Path, facts: Json, data: PatchData, measured: Measured, reconstructor: Reconstructor, labels: I16
) -> None:
    """heatmap.png, comparison.png and the crops."""
    video, grid, scale = data.video, data.grid, data.video.scale
    pictures = pictures_of(video, reconstructor, labels)
    name = method_name(facts["method"])
    which = "" if facts["network"] is None else f", network {facts['network']} for all"
    title = f"{facts['video']} ×{scale}, {name} {facts['backbone'].upper()}, k={facts['chunks']}{which}"
    frames = sorted({len(video.lr) // 4, 3 * len(video.lr) // 4})
    rows = [
        (f"frame {t}", pictures(t)[0], {"bicubic": measured.bicubic_TRC[t], name: measured.ours_TRC[t]}) for t in frames
    ]
    heatmap(folder / "heatmap.png", grid, scale, rows, title=title)
    crops = choose_crops(measured.bicubic_TRC, measured.ours_TRC)
    comparison(folder / "comparison.png", grid, scale, crops, pictures, name=name, title=title)
    save_crops(folder / "crops", [*hardest(measured.bicubic_TRC, measured.ours_TRC), *crops], grid, scale, pictures)
