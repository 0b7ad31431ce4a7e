"""One network that is trained chunk after chunk: a phase for each chunk, each of which starts from
the weights that the one before left.

    chunk 0 ─► trial 1 ─► chunk 1 ─► trial 2 ─► chunk 2 ─► …

A trial chooses the weights that the chunk after it changes (`stdo.models.chain.Chain`); where all
of them change, there is none. Each phase has an optimizer and a learning-rate curve of its own, and
a checkpoint to resume from. What earlier phases have left is written after each of them.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.loggers import Logger

from stdo.chunks.inorder import InOrder
from stdo.chunks.sample import Sampler
from stdo.chunks.score import ByPsnr
from stdo.core.locks import main_process
from stdo.core.networks import PLACES, VALUES
from stdo.core.types import Json, UserError
from stdo.evaluation.reconstruct import Reconstructor
from stdo.models.chain import Chain
from stdo.models.weights import read_safetensors, write_safetensors
from stdo.pipeline.fit import Job, Phase, explained, save, train_phase
from stdo.runs.directory import CHAIN, CHECKPOINT
from stdo.runs.tracking.tracker import Tracker, curve_loggers
from stdo.training.callbacks import hush
from stdo.training.gradients import GradientSum, sums_of
from stdo.training.module import peak_rate_of
from stdo.training.processes import device_of_fit
from stdo.training.shortened import Shortened


def kind_of(part: Any) -> Any:
    """The class that a partial makes."""
    return getattr(part, "func", part)


def is_chain(shared: Any) -> bool:
    """Whether a partial makes a network that is trained chunk after chunk."""
    kind = kind_of(shared)
    return isinstance(kind, type) and issubclass(kind, Chain)


def check_chain(shared: Any, sampler: Any, chunking: str, warm: bool) -> None:
    """Check that the parts of a configuration belong together.

    Args:
        shared: What makes the networks, a partial.
        sampler: What makes the sampler, a partial.
        chunking: Name of the chunking.
        warm: Whether one network is trained first.

    Raises:
        UserError: A network that is trained chunk after chunk needs chunks of the time line and a
            sampler that goes through them in order; or such a sampler is asked for without one.
    """
    in_order = kind_of(sampler) is InOrder
    if not is_chain(shared):
        if in_order:
            raise UserError("sampler=inorder: must be another one, or sharing=chain")
        return
    if not in_order:
        raise UserError("sharing=chain: needs sampler=inorder: its chunks are trained in order")
    if chunking != "time":
        raise UserError(f"chunking={chunking}: must be time with sharing=chain")
    if warm:
        raise UserError("init=warm: must be scratch or general with sharing=chain")
    fraction, trial = shared.keywords.get("fraction", 1), sampler.keywords.get("trial", 0)
    if fraction < 1 and not trial:
        raise UserError(
            f"sampler.trial={trial}: must be more than 0 with sharing.fraction={fraction:g}: "
            "a trial chooses the weights that change"
        )
    if fraction == 1 and trial:
        raise UserError(
            f"sampler.trial={trial:g}: must be 0 with sharing.fraction={fraction:g}: "
            "there are no weights to choose"
        )


def fit_chain(job: Job, tracker: Tracker) -> pl.Trainer:
    """Train a chain and keep its weights and chunks, see `stdo.pipeline.fit.fit`."""
    hush()
    loggers = curve_loggers(job.directory, tracker)
    label_N = job.data.labels.ravel().astype(np.int64)
    chain = job.sharing(int(label_N.max()) + 1)
    whole = job.sampler(label_N, chain.learner_of(label_N))
    assert isinstance(chain, Chain) and isinstance(whole, InOrder)
    fit = _Fit(job, chain, whole, loggers)
    trainer = fit.train()
    if dist.is_initialized():
        dist.destroy_process_group()
    if trainer.is_global_zero:
        fit.save(str(trainer.strategy.root_device))
    return trainer


class _Fit:
    """The phases of one fit, and what is kept between them.

    Attributes:
        done: Steps that each phase has done so far.
        rates: The highest learning rate of each.
        seconds: What they took.
        places: Numbers of the weights that the next phase changes, where a trial has chosen them.
    """

    def __init__(self, job: Job, chain: Chain, whole: InOrder, loggers: list[Logger]) -> None:
        self.job, self.chain, self.whole, self.loggers = job, chain, whole, loggers
        self.kept = job.directory / CHAIN
        stretches = whole.stretches()
        limited = job.options.limit.apply([stretch for _, _, stretch in stretches])
        self.phases = [
            (chunk, trial, sampler)
            for (chunk, trial, _), sampler in zip(stretches, limited, strict=True)
        ]
        self.done: list[int] = []
        self.rates: list[float] = []
        self.seconds = 0.0
        self.places: torch.Tensor | None = None
        if self.kept.exists():
            self._read()

    def train(self) -> pl.Trainer:
        """Do the phases that are left. Returns the Trainer of the last one."""
        for number in range(len(self.done), len(self.phases)):
            chunk, trial, _ = self.phases[number]
            if self.whole.hardest < 1 and chunk not in self.whole.chosen:
                self._choose_patches(chunk)
            self.chain.begin(chunk, self.places)
            trainer = self._phase(number)
            if trial:
                self.places = self.chain.farthest(self._important(trainer))
            else:
                self.places = None
                self.chain.end()
            self.done.append(trainer.global_step)
            self.rates.append(peak_rate_of(trainer))
            if number + 1 < len(self.phases) and trainer.is_global_zero:
                self._write()
                _checkpoint(self.job, number).unlink(missing_ok=True)
        return trainer

    def save(self, device: str) -> None:
        """Keep chunks, facts and weights."""
        passed = np.zeros(self.chain.chunks, int)
        for (chunk, trial, _), steps in zip(self.phases, self.done, strict=True):
            if not trial:
                passed[chunk:] += steps
        facts: Json = {"network_steps": passed.tolist()}
        save(self.job, self.chain, self._past(), self.seconds, device, self.rates, facts)

    def _past(self) -> list[Sampler]:
        """The phases that are done, as they were done."""
        samplers = [sampler for _, _, sampler in self.phases]
        return [
            sampler if steps == sampler.steps else Shortened(sampler, steps)
            for sampler, steps in zip(samplers, self.done, strict=False)
        ]

    def _phase(self, number: int) -> pl.Trainer:
        _, trial, sampler = self.phases[number]
        by_gradient = trial and self.chain.choose == "gradient"
        phase = Phase(
            self.chain,
            sampler,
            _checkpoint(self.job, number),
            number + 1,
            self._past(),
            self.seconds,
            [sampler for _, _, sampler in self.phases[number + 1 :]],
            whole_curve=True,
            optimizer=GradientSum if by_gradient else None,
        )
        trainer, self.seconds = train_phase(self.job, phase, self.loggers)
        return trainer

    def _important(self, trainer: pl.Trainer) -> torch.Tensor:
        """How important a trial finds each weight, (params_base,)."""
        if self.chain.choose == "gradient":
            return sums_of(trainer.optimizers[0], self.chain.following)
        return self.chain.moved.cpu()

    def _choose_patches(self, chunk: int) -> None:
        """Show the network of a chunk the places where the network before it makes the largest
        errors, in frames that are looked at and in those up to the next one."""
        began = time.monotonic()
        data, grid = self.job.data, self.job.data.grid
        device = device_of_fit(self.job.trainer)
        network = self.chain.network(max(0, chunk - 1)).to(device)
        alone = Reconstructor([network], [0], grid, device)
        zeros = np.zeros((grid.rows, grid.cols), np.int16)
        scorer = ByPsnr(lambda lr_HWC: grid.assemble(alone.patches(lr_HWC, zeros)))
        frames = np.flatnonzero((data.labels == chunk).all(axis=(1, 2)))
        looked = frames[:: self.whole.look_every]
        with explained(self.job, self.whole):
            pairs = ((data.video.lr[t], data.video.hr[t]) for t in looked)
            scores_TRC = scorer.scores(pairs, grid)
        count = max(1, round(self.whole.hardest * grid.patches))
        order_TP = np.argsort(scores_TRC.reshape(len(looked), -1), axis=1, kind="stable")
        nearest = np.searchsorted(looked, frames, side="right") - 1
        patch_FP = frames[:, None] * grid.patches + np.sort(order_TP[:, :count])[nearest]
        self.whole.choose(chunk, patch_FP.ravel().astype(np.int64))
        self.seconds += time.monotonic() - began
        if main_process():
            self._write()

    def _write(self) -> None:
        """Keep what the phases so far have left."""
        tensors = {
            f"base.{name}": tensor.detach().cpu().contiguous()
            for name, tensor in self.chain.backbone.state_dict().items()
        }
        for number, update in enumerate(self.chain.updates):
            tensors |= {f"update.{number}.{name}": tensor for name, tensor in update.items()}
        for chunk, patch_N in self.whole.chosen.items():
            tensors[f"shown.{chunk}"] = torch.from_numpy(patch_N)
        if self.places is not None:
            tensors["places"] = self.places
        self.kept.parent.mkdir(exist_ok=True)
        told = {"done": self.done, "rates": self.rates, "seconds": self.seconds}
        write_safetensors(self.kept, tensors, {name: json.dumps(told[name]) for name in told})

    def _read(self) -> None:
        """Take up what an earlier process has left."""
        tensors, meta = read_safetensors(self.kept)
        try:
            self.done = [int(steps) for steps in json.loads(meta["done"])]
            self.rates = [float(rate) for rate in json.loads(meta["rates"])]
            self.seconds = float(json.loads(meta["seconds"]))
            base = {name: tensors[f"base.{name}"] for name in self.chain.backbone.state_dict()}
            self.chain.backbone.load_state_dict(base)
            ended = [chunk for chunk, trial, _ in self.phases[: len(self.done)] if not trial]
            self.chain.updates = [
                {name: tensors[f"update.{number}.{name}"] for name in (PLACES, VALUES)}
                for number in range(sum(chunk > 0 for chunk in ended))
            ]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{self.kept}: damaged, or of other phases; force=true trains again"
            ) from error
        self.places = tensors.get("places")
        for name, tensor in tensors.items():
            if name.startswith("shown."):
                self.whole.choose(int(name.removeprefix("shown.")), tensor.numpy())


def _checkpoint(job: Job, number: int) -> Path:
    """Where a phase resumes, by its number from 0."""
    return job.directory / CHECKPOINT.with_name(f"phase-{number + 1}.ckpt")
