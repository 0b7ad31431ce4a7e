"""One fit: what a run is made of, and from its patches to its weights."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from lightning_fabric.utilities.exceptions import MisconfigurationException

from stdo.chunks.branch import Branching
from stdo.chunks.sample import Sampler
from stdo.chunks.score import ByPsnr
from stdo.core.signals import deferred
from stdo.core.types import F32, Json, UserError
from stdo.evaluation.identity import FINGERPRINT, fingerprint_of
from stdo.evaluation.reconstruct import Reconstructor
from stdo.models.common import Backbone
from stdo.models.cost import macs_per_patch
from stdo.models.sharing import Sharing
from stdo.models.weights import save_networks
from stdo.runs.directory import CHECKPOINT, WEIGHTS, write_chunks
from stdo.runs.tracking.tracker import FilesOnly, MakeTracker, Tracker, curve_loggers
from stdo.training.callbacks import AtomicCheckpointIO, Curve, FitProgress, KeepLast, hush
from stdo.training.data import PatchData
from stdo.training.module import Optimizer, Overfit, Schedule
from stdo.training.processes import environment
from stdo.training.warm import Branch


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
    loss: see `stdo.training.loss.LOSSES`.
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

    def sampling(self) -> Callable[..., Sampler]:
        """Chunk and learner of each patch -> which patches the whole fit shows."""
        return self.sampler if self.warm is None else partial(self.warm, then=self.sampler)


def fit(job: Job, tracker: Tracker) -> pl.Trainer:
    """Train, and keep the weights and the chunks."""
    hush()
    data, labels = job.data, job.data.labels
    sharing = job.sharing(int(labels.max()) + 1)
    sampler = data.sample(job.sampling(), sharing.learner_of(labels.ravel()))
    border = data.grid.halo * data.video.scale
    module = Overfit(sharing, job.optimizer, job.schedule, sampler.steps, border, sampler.at_once, job.loss)
    last = job.directory / CHECKPOINT
    curve = Curve(sampler.shown)
    branch = (
        [Branch(data, sampler, sharing.learner_of, partial(_score, data))] if isinstance(sampler, Branching) else []
    )
    try:
        with deferred() as asked:
            kept = KeepLast(last, job.checkpoint_seconds, asked)
            trainer = job.trainer(
                max_epochs=1,
                callbacks=[*branch, curve, FitProgress(sampler.shown), kept],
                logger=curve_loggers(job.directory, tracker),
                plugins=[AtomicCheckpointIO(), *environment(job.trainer)],
                use_distributed_sampler=False,  # every process sees every step, and takes its share of its patches
            )
            trainer.fit(module, datamodule=data, ckpt_path=last if last.exists() else None, weights_only=True)
        if dist.is_initialized():  # else its threads may end this process, or a child that is done, with an abort
            dist.destroy_process_group()
    except torch.OutOfMemoryError as error:
        raise UserError(f"out of GPU memory: lower budget.batch ({sampler.batch_size}) or use trainer=cpu") from error
    except MisconfigurationException as error:
        raise UserError(f"trainer: Lightning refuses the fit ({' '.join(str(error).split())[:300]})") from error
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
            raise
        raise UserError(
            f"out of memory: lower budget.batch ({sampler.batch_size}), patches.halo ({data.grid.halo}), "
            "patches.height or patches.width"
        ) from error
    if trainer.is_global_zero:
        _save(job, sharing, sampler, curve.seconds, str(trainer.strategy.root_device))
    return trainer


def _score(data: PatchData, network: Backbone, device: torch.device) -> F32:
    """PSNR in dB of what one network makes of every patch, (T, rows, cols)."""
    grid, video = data.grid, data.video
    alone = Reconstructor([network.to(device)], [0], grid, video.scale, device)
    chunk = np.zeros((grid.rows, grid.cols), np.int16)
    scorer = ByPsnr(lambda lr_HWC: grid.assemble(alone.patches(lr_HWC, chunk), video.scale))
    frames = data.clip.progress(range(len(video.lr)), len(video.lr), "score anew")
    return scorer.scores(((video.lr[t], video.hr[t]) for t in frames), grid, video.scale)


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
        "train_seconds": seconds,
        "score_seconds": data.score_seconds,
        "device": device,
        FINGERPRINT: fingerprint_of(data.clip.source),
    }
    facts |= sampler.facts
    write_chunks(job.directory, data.scores, data.labels, network_of)
    save_networks(job.directory / WEIGHTS, sharing, {"facts": json.dumps(facts)})
