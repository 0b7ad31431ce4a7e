"""Try a fit before decoding: build its parts and check memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from stdo.core.types import UserError
from stdo.evaluation.reconstruct import BATCH
from stdo.models.common import Backbone
from stdo.pipeline.fit import Job
from stdo.training.memory import (
    PER_PATCH,
    PER_STEP,
    PER_WEIGHT,
    Need,
    check_memory,
    peak_of_pass,
    saved_by_step,
)
from stdo.training.module import Overfit
from stdo.training.trainer import check_processes

_PATCHES = 1 << 22
"""Most patches of the video that stands in for the real one."""


_HALO = 64
"""Widest ``patches.halo`` where the network sees less: more is memory and arithmetic for
nothing."""


def rehearse(job: Job, trainer: pl.Trainer, network: Backbone, chunks: int) -> None:
    """Build what a fit is made of, for a video of the same size with made-up scores.

    Args:
        job: The run.
        trainer: Built from its settings.
        network: One of its networks.
        chunks: How many chunks it asks for.

    Raises:
        UserError: A setting of the sampler or the budget does not fit the video, or the memory is
            not there.
    """
    data = job.data
    farthest = max(_HALO, network.receptive_radius)
    if data.grid.halo > farthest:
        sees = (
            f"{network.label} sees {network.receptive_radius} LR pixels around a patch and no more"
        )
        raise UserError(f"patches.halo={data.grid.halo}: must be at most {farthest}: {sees}")
    frames = data.clip.info.frames
    if not frames:
        return  # nobody knows yet how long it is, or decoding will say that there is nothing
    device = trainer.strategy.root_device
    check_memory(partial(_needs, job, network, chunks, frames), device)
    if frames * data.grid.patches > _PATCHES:
        return
    shape = (frames, data.grid.rows, data.grid.cols)
    label_N = data.split_evenly(shape).ravel().astype(np.int64)
    with named("sharing"), torch.random.fork_rng(devices=[]):
        sharing = job.sharing(int(label_N.max()) + 1)
    with named("sampler, init.sampler"):
        samplers = job.samplers(label_N, sharing.learner_of(label_N))
    for sampler in samplers:
        check_processes(trainer, sampler.shown, job.options.accumulate)
    with named("optim"):
        Overfit(sharing, job.optimizer, job.schedule, samplers[-1].steps).configure_optimizers()


@contextmanager
def named(settings: str) -> Iterator[None]:
    """Say of which settings another library complains, whatever it raises."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{settings}: cannot be built as it is set ({type(error).__name__}: {reason})"
        ) from error


def _needs(job: Job, network: Backbone, chunks: int, frames: int) -> Iterator[Need]:
    """What takes memory, the easiest to tell first."""
    settings: dict[str, Any] = job.facts
    grid, batch = job.data.grid, int(settings["batch"]) // job.options.accumulate
    side_by_side = 1
    if settings.get("equal") == "batch":  # each network has a whole batch
        side_by_side = chunks - getattr(job.shared, "keywords", {}).get("bicubic_chunks", 0)
    part = batch * side_by_side  # what is computed in one piece
    patches = frames * grid.patches
    sides = (f"patches.height={grid.patch_h}", f"patches.width={grid.patch_w}")
    yield Need(
        f"the list of {patches:,} patches", patches * PER_PATCH, (*sides, "video.max_frames")
    )
    shown = part * job.options.accumulate
    if crop := settings.get("crop"):
        shown *= crop**2 / (grid.patch_h * grid.patch_w)
    steps = round(settings["passes"] * patches / shown)
    yield Need(
        f"the list of {steps:,} steps", steps * PER_STEP, (f"budget.passes={settings['passes']:g}",)
    )

    seen = job.data.clip.inference_grid(network.receptive_radius)
    padded_patch, halo = seen.padded_patch, f"patches.halo={grid.halo}"
    if seen != grid:
        halo = "patches.whole=true"
    around = padded_patch[0] * padded_patch[1] / (grid.patch_h * grid.patch_w)
    ordered = (halo, *sides) if around > 4 else (*sides, halo)
    size = f"{padded_patch[1]}x{padded_patch[0]} LR pixels"
    what = f"the {grid.patches:,} patches of a frame, each of {size} with its halo,"
    yield Need(what, 3 * seen.pixels, ordered)
    weights = sum(parameter.numel() for parameter in network.parameters())
    kind = getattr(job.shared, "func", job.shared)  # of a partial, the class
    learners = chunks if getattr(kind, "ONE_EACH", False) else 1
    many = (f"chunks={chunks}",) if learners > 1 else ("backbone.width",)
    yield Need(
        f"training {learners:,} networks", learners * weights * PER_WEIGHT, many, on_device=True
    )

    at_once = min(BATCH, grid.patches)
    yield Need(
        f"evaluating {at_once} padded patches of {size}",
        at_once * peak_of_pass(network, padded_patch),
        ordered,
        True,
    )
    of_batch = f"budget.batch={batch}"
    fewer = (f"chunks={chunks}",) if side_by_side > 1 else ()
    smaller = (*ordered, of_batch, *fewer)
    if part > 16 * around:
        smaller = (of_batch, *fewer, *ordered)
    padded_patch = grid.padded_patch
    size = f"{padded_patch[1]}x{padded_patch[0]} LR pixels"
    half = "16" in str(settings["precision"])
    what = f"a step of {part} padded patches of {size}"
    if crop := settings.get("crop"):
        padded_patch = (crop + 2 * grid.halo, crop + 2 * grid.halo)
        smaller = (of_batch, *fewer, f"sampler.crop={crop}", halo)
        what = f"a step of {part} crops of {padded_patch[0]}x{padded_patch[1]} LR pixels"
    each = saved_by_step(network, padded_patch, half) + 12 * padded_patch[0] * padded_patch[1]
    yield Need(what, part * each, smaller, on_device=True)
