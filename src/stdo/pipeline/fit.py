"""One fit: the parts of a job, and training from patches to weights."""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers import Logger

from stdo.chunks.sample import Sampler
from stdo.chunks.score import ByPsnr
from stdo.core.locks import main_process
from stdo.core.signals import deferred
from stdo.core.types import F32, I64, Json, UserError
from stdo.evaluation.identity import FINGERPRINT, fingerprint_of
from stdo.evaluation.reconstruct import Reconstructor
from stdo.models.common import Backbone
from stdo.models.sharing import BackboneFactory, Sharing, Single
from stdo.models.weights import save_networks, write_safetensors
from stdo.pipeline.phases import MakeSampler, Start, Tensors, read_scores, read_weights, samplers
from stdo.runs.directory import (
    CHECKPOINT,
    KEPT,
    START_CHECKPOINT,
    START_SCORES,
    START_WEIGHTS,
    WEIGHTS,
    write_chunks,
    write_facts,
)
from stdo.runs.tracking.tracker import FilesOnly, MakeTracker, Tracker, curve_loggers
from stdo.training.callbacks import AtomicCheckpointIO, Curve, FitProgress, KeepLast, hush
from stdo.training.data import PatchData
from stdo.training.module import Optimizer, Overfit, Schedule, peak_rate_of
from stdo.training.options import Options, shortened_facts
from stdo.training.processes import environment
from stdo.training.shortened import Shortened, planned
from stdo.training.validation import ValidateWhenDue, frames_to_measure, is_due, steps_between


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        directory: The run directory.
        config: Its configuration as text, kept beside the result.
        facts: What is known before the run starts and belongs into metrics.json (method, backbone,
            seed, …).
        data: The clip, how it is scored and split.
        backbone: Builds one network.
        shared: ``backbone`` and the number of chunks -> the networks.
        sampler: Chunk and learner of each patch -> which patches are shown.
        optimizer: See `stdo.training.module.Optimizer`.
        schedule: See `stdo.training.module.Schedule`.
        trainer: A Lightning Trainer but for ``callbacks``, ``plugins``, ``logger`` and the number
            of epochs.
        checkpoint_seconds: Between two checkpoints.
        command: The words of the command that repeats this run, for its provenance.
        tracker: Who is told of the run beside its directory.
        start: A first phase, in which one network learns for all chunks.
        loss: See `stdo.training.loss.LOSSES`.
        options: What a user adds to the fit.
        metrics: What is measured beside the metrics that are always computed.
    """

    directory: Path
    config: str
    facts: Json
    data: PatchData
    backbone: BackboneFactory
    shared: Callable[[BackboneFactory, int], Sharing]
    sampler: MakeSampler
    optimizer: Optimizer
    schedule: Schedule
    trainer: Callable[..., pl.Trainer]
    checkpoint_seconds: float = 30.0
    command: Sequence[str] = tuple(sys.argv)
    tracker: MakeTracker = FilesOnly
    start: Start | None = None
    loss: str = "l1"
    options: Options = field(default_factory=Options)
    metrics: Sequence[str] = ()

    def sharing(self, chunks: int, first: Tensors | None = None) -> Sharing:
        """The networks of so many chunks. first: the parameters that each begins with; None: the
        backbone's own.

        Raises RuntimeError where they are those of another architecture.
        """

        def copy() -> Backbone:
            backbone = self.backbone()
            if first is not None:
                backbone.load_state_dict(first)
            return backbone

        return self.shared(copy, chunks)

    def samplers(self, label_N: I64, learner_N: I64) -> list[Sampler]:
        """One sampler for each phase, see `stdo.pipeline.phases.samplers`, as short as it is to
        be."""
        whole = samplers(self.start, self.sampler, label_N, learner_N)
        return self.options.limit.apply(whole)


@dataclass(frozen=True)
class Phase:
    """One phase of a fit.

    Attributes:
        checkpoint: Where it resumes.
        number: Of several phases, from 1; else 0.
        past: The phases before it, which took so many seconds.
        following: The phases after it.
        whole_curve: Whether the learning rate moves over the whole of this phase, rather than over
            all phases.
        optimizer: In place of the job's.
    """

    sharing: Sharing
    sampler: Sampler
    checkpoint: Path
    number: int = 0
    past: Sequence[Sampler] = ()
    seconds: float = 0.0
    following: Sequence[Sampler] = ()
    whole_curve: bool = False
    optimizer: Optimizer | None = None

    @property
    def name(self) -> str:
        """How folders and files of several phases are called."""
        return f"phase-{self.number}" if self.number else ""

    @property
    def bar(self) -> str:
        """What its progress bar is called."""
        count = len(self.past) + 1 + len(self.following)
        return f"train {self.number}/{count}" if self.number else "train"


def fit(job: Job, tracker: Tracker) -> pl.Trainer:
    """Train all phases of a job, and keep the weights and the chunks.

    Returns:
        The Trainer of the last phase.

    Raises:
        UserError: The memory is not there, Lightning refuses the fit, or it diverges.
    """
    hush()
    data, loggers = job.data, curve_loggers(job.directory, tracker)
    chunks, label_N = int(data.labels.max()) + 1, _flat(data)
    sharing = job.sharing(chunks)
    *before, sampler = job.samplers(label_N, sharing.learner_of(label_N))
    phase, done = Phase(sharing, sampler, job.directory / CHECKPOINT), []
    rates: list[float | None] = []
    for first in before:
        weights, steps, seconds, rate = _start(
            job, Single(job.backbone, chunks, seed=first.seed), first, sampler, loggers
        )
        done.append(Shortened(first, steps))
        rates.append(rate)
        sharing, label_N = job.sharing(chunks, weights), _flat(data)
        sampler = job.samplers(label_N, sharing.learner_of(label_N))[-1]
        phase = Phase(sharing, sampler, job.directory / CHECKPOINT, 2, [*done], seconds)
    trainer, seconds = train_phase(job, phase, loggers)
    done.append(Shortened(sampler, trainer.global_step))
    # Else its threads may end this process, or a child that is done, with an abort
    if dist.is_initialized():
        dist.destroy_process_group()
    if trainer.is_global_zero:
        rates.append(peak_rate_of(trainer))
        save(job, sharing, done, seconds, str(trainer.strategy.root_device), rates)
    return trainer


def _start(
    job: Job, sharing: Single, sampler: Sampler, following: Sampler, loggers: list[Logger]
) -> tuple[Tensors, int, float, float | None]:
    """Train one network for all chunks, unless that was done, and split the patches anew by what it
    makes of them.

    Returns:
        The network's parameters as they were trained, weight norm and all: folded into plain
        weights, an optimizer would move them by other steps. And the steps that were done, and the
        seconds that training and scoring took, and the highest learning rate.
    """
    data, kept, scored = job.data, job.directory / START_WEIGHTS, job.directory / START_SCORES
    if scored.exists():
        weights = read_weights(kept, sharing.backbone)
        scores, steps, seconds, rate = read_scores(scored, data.labels.shape, sampler.steps)
    else:
        start = job.directory / START_CHECKPOINT
        phase = Phase(sharing, sampler, start, 1, following=[following])
        trainer, seconds = train_phase(job, phase, loggers)
        steps, rate = trainer.global_step, peak_rate_of(trainer)
        weights = {
            name: tensor.detach().cpu() for name, tensor in sharing.backbone.state_dict().items()
        }
        scores = data.scores
        if trainer.is_global_zero:
            began = time.monotonic()
            with explained(job, sampler):
                scores = _score(data, sharing.network(0), trainer.strategy.root_device)
            seconds += time.monotonic() - began
            write_safetensors(kept, weights, {})
            told = {"seconds": str(seconds), "steps": str(steps), "rate": str(rate)}
            write_safetensors(scored, {"scores": torch.from_numpy(scores)}, told)
            phase.checkpoint.unlink(missing_ok=True)
        scores = trainer.strategy.broadcast(scores)
    wrong = data.rescore(scores)
    if wrong and main_process():
        sys.stderr.write(
            f"note: {wrong} by the network of the first phase (init=warm); each chunk keeps its "
            "number of patches\n"
        )
    return weights, steps, seconds, rate


def train_phase(job: Job, phase: Phase, loggers: list[Logger]) -> tuple[pl.Trainer, float]:
    """Train one phase, or resume it. Returns its Trainer, and the seconds of this phase and those
    before it."""
    data, sampler, last = job.data, phase.sampler, phase.checkpoint
    options, steps = job.options, sampler.steps
    border = data.grid.halo * data.video.scale
    done = sum(each.steps for each in phase.past), sum(each.presentations for each in phase.past)
    before, after = (sum(map(planned, part)) for part in (phase.past, phase.following))
    others = (0, 0) if phase.whole_curve else (before, planned(sampler) - steps + after)
    own = options.callbacks(job.directory / KEPT / phase.name)
    every = _show(job, phase, single=bool(own))
    moves = phase.optimizer or job.optimizer
    module = Overfit(
        phase.sharing, moves, job.schedule, steps, border, sampler.at_once, job.loss, others=others,
        clip=options.clip, clip_by=options.clip_by, accumulate=options.accumulate,
    )  # fmt: skip
    module.telling, module.to_loggers = bool(own), False
    module.noting = sampler.online.note if sampler.online else None
    patches_per_step = sampler.shown * sampler.worth
    curve = Curve(patches_per_step, *done, phase.seconds)
    with explained(job, sampler), deferred() as asked:
        kept = KeepLast(
            last, job.checkpoint_seconds, asked, steps if phase.following else None,
            lambda done: is_due(done, every, steps),
        )  # fmt: skip
        due = [ValidateWhenDue(every, steps)] if every is not None else []
        trainer = job.trainer(
            max_epochs=1,
            callbacks=[*due, *own, curve, FitProgress(patches_per_step, phase.bar), kept],
            logger=loggers,
            plugins=[AtomicCheckpointIO(), *environment(job.trainer)],
            # every process sees every step, and takes its share of its patches
            use_distributed_sampler=False,
            **options.arguments(own, every is not None, job.directory, job.trainer, phase.name),
        )
        trainer.fit(
            module, datamodule=data, ckpt_path=last if last.exists() else None, weights_only=True
        )
        if (stop := asked()) is not None:
            raise stop
    if trainer.global_step != steps and not trainer.should_stop:
        raise UserError(
            f"{job.directory}: the fit ended after {trainer.global_step} of {steps} steps, and "
            "nothing asked for it; force=true trains again"
        )
    return trainer, curve.seconds


def _show(job: Job, phase: Phase, single: bool) -> int | None:
    """Say what a phase shows and what it validates. Returns the steps between two validations,
    or None."""
    data, sampler, options = job.data, phase.sampler, job.options
    whole = sum(each.steps for each in (*phase.past, sampler, *phase.following))
    every = steps_between(options.validate_every, whole)
    data.show(sampler, single)
    if every is None:
        data.measure(None, None, phase.sharing.served)
        return None
    seen = data.clip.inference_grid(phase.sharing.network(0).receptive_radius)
    frames = frames_to_measure(
        len(data.video.lr),
        options.validate_frames,
        math.ceil(whole / every),
        round(data.grid.patches * seen.pixels / data.grid.pixels),
        sampler.presented(whole),
    )
    data.measure(frames, every, phase.sharing.served, seen)
    return every


@contextmanager
def explained(job: Job, sampler: Sampler) -> Iterator[None]:
    """Raise UserError for what a machine or Lightning refuses."""
    batch = job.facts.get("batch", sampler.batch_size) // job.options.accumulate
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"out of GPU memory: lower budget.batch ({batch}) or use trainer=cpu"
        ) from error
    except MisconfigurationException as error:
        raise UserError(
            f"trainer: Lightning refuses the fit ({' '.join(str(error).split())[:300]})"
        ) from error
    except (MemoryError, RuntimeError) as error:
        if "loading state_dict" in str(error):  # such as of CaFM before its form was the published
            raise UserError(
                f"{job.directory}: its checkpoint holds other weights than this version trains; "
                "force=true trains again"
            ) from error
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
            raise
        raise UserError(
            f"out of memory: lower budget.batch ({batch}), patches.halo "
            f"({job.data.grid.halo}), patches.height or patches.width"
        ) from error


def _flat(data: PatchData) -> I64:
    """The chunk of each patch, (N,)."""
    return data.labels.ravel().astype(np.int64)


def _score(data: PatchData, network: Backbone, device: torch.device) -> F32:
    """PSNR in dB of what one network makes of every patch, (T, rows, cols)."""
    grid, video = data.grid, data.video
    alone = Reconstructor.of([network.to(device)], [0], data.clip, device)
    chunk = np.zeros((grid.rows, grid.cols), np.int16)
    scorer = ByPsnr(lambda lr_HWC: grid.assemble(alone.patches(lr_HWC, chunk)))
    frames = data.clip.progress(range(len(video.lr)), len(video.lr), "rescore")
    return scorer.scores(((video.lr[t], video.hr[t]) for t in frames), grid)


def save(
    job: Job,
    sharing: Sharing,
    phases: Sequence[Sampler],
    seconds: float,
    device: str,
    rates: Sequence[float | None],
    more: Json | None = None,
) -> None:
    """Keep chunks, facts and weights of a fit. rates: of each phase the highest learning rate.
    more: facts that take the place of others."""
    data, grid, network_of = (
        job.data,
        job.data.grid,
        sharing.network_of(np.arange(sharing.chunks)).tolist(),
    )
    finished = Reconstructor.of(sharing.distinct(), network_of, data.clip, torch.device("cpu"))
    label_N = _flat(data)
    patches_seen = sum(sampler.presentations for sampler in phases)
    shown_C = np.sum([sampler.chunk_presentations(label_N) for sampler in phases], axis=0)
    last, known = phases[-1], [rate for rate in rates if rate is not None]
    before = sum(sampler.steps for sampler in phases[:-1])
    side_by_side = any(sampler.at_once > 1 for sampler in phases)
    facts = job.facts | {
        "batch": last.batch_size,
        "equal": job.facts.get("equal", "batch") if side_by_side else None,
        "network_steps": [before + steps for steps in last.learner_steps()],
        "peak_lr": max(known) if len(known) == len(rates) else None,
        "halo": grid.halo,
        "whole": data.clip.patches.whole,
        "loss": job.loss,
        "params": sharing.params,
        "params_base": sharing.params_base,
        "params_per_chunk": sharing.params_per_chunk,
        "bicubic_chunks": sharing.chunks - sharing.served,
        "macs_per_frame": finished.macs_per_frame(data.labels),
        "patch_presentations": patches_seen,
        "chunk_presentations": shown_C.tolist(),
        "steps": sum(sampler.steps for sampler in phases),
        "train_seconds": seconds,
        "score_seconds": data.score_seconds,
        "device": device,
        FINGERPRINT: fingerprint_of(data.clip.source),
    }
    for sampler in phases:
        facts |= sampler.facts
    facts |= shortened_facts(phases, job.options.limit, patches_seen / len(label_N))
    if job.start is not None:
        facts["branch_step"] = phases[0].steps
    facts |= more or {}
    write_chunks(job.directory, data.scores, data.labels, network_of)
    write_facts(job.directory, facts)  # before the weights: whoever finds them finds these as well
    save_networks(job.directory / WEIGHTS, sharing)
