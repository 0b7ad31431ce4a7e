"""The steps of the house in order, with no Hydra in it: what a notebook or another program calls.

job = Job(...)                 the parts, already built
metrics = train(job)           prepare, chunk, fit, save, evaluate; resumes and never repeats finished work
metrics = evaluate(job)        measures a finished run again from its weights
"""

import csv
import json
import logging
import os
import shutil
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from tqdm import tqdm

from stdo.chunks.sample import Uniform
from stdo.evaluation.crops import choose_crops
from stdo.evaluation.measure import Measured, Sink, measure, pictures_of
from stdo.evaluation.pictures import comparison, heatmap
from stdo.evaluation.reconstruct import Reconstructor
from stdo.files import atomic
from stdo.models.cost import count
from stdo.models.sharing import Sharing
from stdo.models.weights import load_networks, save_networks
from stdo.provenance import provenance
from stdo.training.callbacks import AtomicCheckpointIO, Clock, FitProgress, KeepLast
from stdo.training.data import PatchData
from stdo.training.module import Optimizer, Overfit, Schedule
from stdo.types import I16, I64, Json, T, UserError
from stdo.video.writer import VideoWriter

RESULT, WEIGHTS, CHUNKS = "metrics.json", "weights.safetensors", "chunks.npz"
CHECKPOINT = Path("checkpoints") / "last.ckpt"
SAVES: dict[str, tuple[str, str, int | None]] = {"video": ("sr.mp4", "x264", 12), "png": ("sr", "png", None)}
"""How SR frames are kept: name in the run directory, codec, quality. Only PNG is lossless."""


def terminal(items: Iterable[T], total: int | None, label: str) -> Iterable[T]:
    """Progress with an ETA on the terminal, of the main process alone."""
    hidden = os.environ.get("LOCAL_RANK", "0") != "0"
    bar: Iterable[T] = tqdm(items, total=total, desc=label, unit=" frames", dynamic_ncols=True, disable=hidden)
    return bar


@dataclass(frozen=True)
class Job:
    """One run.

    directory: the run directory. config: its configuration as text, kept beside the result.
    facts: what is known before the run starts and belongs into metrics.json (method, backbone, seed, …).
    sharing: number of chunks -> the networks. sampler: network of each patch -> which patches are shown.
    trainer: a Lightning Trainer but for ``callbacks``, ``plugins`` and the number of epochs.
    """

    directory: Path
    config: str
    facts: Json
    data: PatchData
    sharing: Callable[[int], Sharing]
    sampler: Callable[[I64], Uniform]
    optimizer: Optimizer
    schedule: Schedule
    trainer: Callable[..., pl.Trainer]
    checkpoint_seconds: float = 30.0


def train(job: Job, force: bool = False) -> Json:
    """Run a job, or go on with it where it was left, or read its result when it is finished.

    force: begin again even so. Returns the content of metrics.json.
    """
    if not force and (job.directory / RESULT).exists():
        return read_result(job.directory)
    start_directory(job, force)
    began = time.monotonic()
    job.data.prepare_data()
    job.data.setup()
    prepared = time.monotonic() - began
    if not (job.directory / WEIGHTS).exists():
        trainer = _fit(job)
        if not trainer.is_global_zero:
            return {}
    return evaluate(job, prepare_seconds=prepared)


def start_directory(job: Job, force: bool) -> None:
    """Make the run directory with its configuration and provenance. Raises UserError when it cannot be written."""
    try:
        if force and job.directory.exists():
            for name in (RESULT, WEIGHTS, CHUNKS):
                (job.directory / name).unlink(missing_ok=True)
            shutil.rmtree(job.directory / CHECKPOINT.parent, ignore_errors=True)
        job.directory.mkdir(parents=True, exist_ok=True)
        with atomic(job.directory / "config.yaml") as partial:
            partial.write_text(job.config)
        with atomic(job.directory / "provenance.json") as partial:
            partial.write_text(json.dumps(provenance(), indent=2))
    except OSError as error:
        raise UserError(f"{job.directory}: cannot be written ({error.strerror}); set paths.outputs") from error


def _fit(job: Job) -> pl.Trainer:
    """Train, and keep the weights and the chunks."""
    hush()
    data, labels = job.data, job.data.labels
    sharing = job.sharing(int(labels.max()) + 1)
    sampler = data.sample(job.sampler, sharing.network_of(labels.ravel()))
    module = Overfit(sharing, job.optimizer, job.schedule, sampler.steps, data.grid.halo * data.video.scale)
    last = job.directory / CHECKPOINT
    clock = Clock()
    trainer = job.trainer(
        max_epochs=1,
        callbacks=[FitProgress(sampler.batch_size * sharing.networks), KeepLast(last, job.checkpoint_seconds), clock],
        plugins=[AtomicCheckpointIO()],
        use_distributed_sampler=False,  # every process sees every step, and takes its share of the step's patches
    )
    try:
        trainer.fit(module, datamodule=data, ckpt_path=last if last.exists() else None, weights_only=True)
    except SystemExit as stop:  # how Lightning ends a fit on Ctrl-C
        raise (KeyboardInterrupt if trainer.interrupted else stop) from stop
    except torch.OutOfMemoryError as error:
        raise UserError(f"out of GPU memory: lower budget.batch ({sampler.batch_size}) or use trainer=cpu") from error
    if trainer.is_global_zero:
        _save(job, sharing, sampler, clock.seconds, str(trainer.strategy.root_device))
    return trainer


def hush() -> None:
    """Keep Lightning's remarks off the terminal where they do not apply to us."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for remark in (
        "The 'train_dataloader' does not have many workers",  # batches are one indexed read, no work for workers
        "You're resuming from a checkpoint that ended before the epoch ended",  # ours starts at any step
        "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # Lightning's own use of torch
    ):
        warnings.filterwarnings("ignore", message=f".*{remark}")


def _save(job: Job, sharing: Sharing, sampler: Uniform, seconds: float, device: str) -> None:
    data = job.data
    window = data.grid.patch_h + 2 * data.grid.halo, data.grid.patch_w + 2 * data.grid.halo
    cost = count(sharing.network(0), data.video.scale, *window)
    facts = job.facts | {
        "params": sharing.params,
        "macs_per_frame": cost.macs * data.grid.patches,
        "patch_presentations": sampler.presentations,
        "steps": sampler.steps,
        "train_seconds": seconds,
        "device": device,
    }
    with atomic(job.directory / CHUNKS) as partial:
        network_of = sharing.network_of(np.arange(sharing.chunks))
        with partial.open("wb") as file:
            np.savez_compressed(file, scores=data.scores, labels=data.labels, network_of=network_of)
    save_networks(job.directory / WEIGHTS, sharing, {"facts": json.dumps(facts)})


def evaluate(job: Job, save: str | None = None, prepare_seconds: float | None = None) -> Json:
    """Measure a trained run from its weights; write metrics.json, frames.csv, heatmap.png and comparison.png.

    save: ``video`` or ``png`` keeps the SR frames in the run directory. Returns the content of metrics.json.
    """
    if save is not None and save not in SAVES:
        raise UserError(f"save={save}: must be null or one of {', '.join(SAVES)}")
    began = time.monotonic()
    data = job.data
    data.prepare_data()
    data.setup()
    networks, meta = load_networks(job.directory / WEIGHTS)
    facts = json.loads(meta["facts"])
    labels, network_of = read_chunks(job.directory)
    device = torch.device(facts["device"] if torch.cuda.is_available() else "cpu")
    for network in networks:
        network.to(device).eval()
    reconstructor = Reconstructor(networks, network_of, data.grid, data.video.scale, device)
    with _sink(job, save) as sink:
        measured = measure(data.video, reconstructor, labels, sink, data.progress)
    _draw(job, measured, reconstructor, labels)
    _write_rows(job.directory / "frames.csv", measured.rows)
    earlier = read_result(job.directory)["seconds"]["prepare"] if (job.directory / RESULT).exists() else None
    seconds = {
        "prepare": earlier if prepare_seconds is None else prepare_seconds,
        "train": facts.pop("train_seconds"),
        "evaluate": time.monotonic() - began,
    }
    size = {"frames": len(data.video.lr), "patches": int(labels.size), "width": data.video.width}
    size["height"] = data.video.height
    metrics: Json = facts | size | measured.ours | {"bicubic": measured.bicubic, "seconds": seconds}
    metrics["bicubic"].pop("chunk_psnr")
    with atomic(job.directory / RESULT) as partial:
        partial.write_text(json.dumps(metrics, indent=2))
    return metrics


def read_result(directory: Path) -> Json:
    """metrics.json of a finished run. Raises UserError when there is none."""
    try:
        metrics: Json = json.loads((directory / RESULT).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"run={directory}: not a finished run (no readable {RESULT} in it)") from error
    return metrics


def read_chunks(directory: Path) -> tuple[I16, list[int]]:
    """Labels (T, rows, cols) and the network of each chunk. Raises UserError when chunks.npz is missing or damaged."""
    try:
        with np.load(directory / CHUNKS, allow_pickle=False) as stored:
            return stored["labels"], stored["network_of"].tolist()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{directory / CHUNKS}: missing or damaged; force=true trains again") from error


@contextmanager
def _sink(job: Job, save: str | None) -> Iterator[Sink | None]:
    """Where SR frames go: a video or a folder of PNGs in the run directory, or nowhere."""
    if save is None:
        yield None
        return
    video = job.data.video
    name, codec, crf = SAVES[save]
    path = job.directory / name
    if path.is_dir():
        shutil.rmtree(path)
    info = video.info
    with VideoWriter(path, info.width, info.height, info.rate, codec, crf=crf, colour=info.colour) as writer:
        yield writer.write


def _draw(job: Job, measured: Measured, reconstructor: Reconstructor, labels: I16) -> None:
    video, grid = job.data.video, job.data.grid
    pictures = pictures_of(video, reconstructor, labels)
    name = str(job.facts["method"]).upper() if job.facts["method"] != "awdnn" else "awDNN"
    title = f"{job.facts['video']} ×{video.scale}, {name} {job.facts['backbone'].upper()}, k={job.facts['chunks']}"
    frames = sorted({len(video.lr) // 4, 3 * len(video.lr) // 4})
    rows = [
        (f"frame {t}", pictures(t)[0], {"bicubic": measured.bicubic_TRC[t], name: measured.ours_TRC[t]}) for t in frames
    ]
    heatmap(job.directory / "heatmap.png", grid, video.scale, rows, title=title)
    crops = choose_crops(measured.bicubic_TRC, measured.ours_TRC)
    comparison(job.directory / "comparison.png", grid, video.scale, crops, pictures, name=name, title=title)


def _write_rows(path: Path, rows: list[Json]) -> None:
    with atomic(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
