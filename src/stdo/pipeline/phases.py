"""Phases of a fit: divide the patches seen between them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from stdo.chunks.sample import Sampler
from stdo.core.types import F32, I64, UserError
from stdo.models.common import Backbone
from stdo.models.weights import read_safetensors

Tensors = dict[str, torch.Tensor]
"""Parameters by name."""

MakeSampler = Callable[..., Sampler]
"""(chunk of each patch, learner of each patch) -> which patches are shown; takes batch, passes and
seed by name."""


@dataclass(frozen=True)
class Start:
    """A first phase, in which one network learns for all chunks. Then the patches are scored with
    it.

    Attributes:
        share: Of the presentations of the whole fit, between 0 and 1.
        sampler: Which patches the network is shown.
        batch: Patches per step.
        passes: Presentations of the whole fit, as a multiple of the video's patches.
        seed: Of the sampler and of the network's first weights.
    """

    share: float
    sampler: MakeSampler
    batch: int
    passes: float
    seed: int


def samplers(start: Start | None, main: MakeSampler, label_N: I64, learner_N: I64) -> list[Sampler]:
    """One sampler for each phase, the main one last. Together they show as many patches as the main
    one would alone.

    Args:
        start: The first phase, if there is one.
        main: Which patches the chunks' networks are shown; batch, passes and seed are set.
        label_N: The chunk of each patch, int64.
        learner_N: The learner of each patch in the main phase, int64.

    Raises:
        UserError: A setting of a sampler does not fit the video, or the budget leaves no step to
            the main phase.
    """
    if start is None:
        return [main(label_N, learner_N)]
    patches = len(label_N)
    settings = {"batch": start.batch, "passes": start.share * start.passes, "seed": start.seed}
    first = start.sampler(label_N, np.zeros_like(learner_N), **settings)
    step = first.batch_size * first.worth  # patches of a step of the first phase
    left = round(start.passes * patches / start.batch) - round(first.steps * step / start.batch)
    if left < 1:
        least = least_passes(patches, start.batch, start.share, step)
        raise UserError(
            f"budget.passes={start.passes:g}: must be at least {least:g} for this video with "
            f"init=warm: one network has init.share={start.share:g} of the patches seen, and each "
            f"step shows budget.batch={start.batch} of {patches} patches"
        )
    return [first, main(label_N, learner_N, passes=left * start.batch / patches)]


def least_passes(
    patches: int, batch: int, share: float, step: Fraction | int | None = None
) -> float:
    """The fewest passes, in four digits, with which a first phase leaves a step to the main one.

    Args:
        patches: Of the video.
        batch: Patches of a step of the main phase.
        share: Of the first phase.
        step: Patches of a step of the first phase, not whole for crops; None: as of the main one.

    >>> least_passes(60, 4, 0.5), least_passes(60, 4, 0.9)
    (0.1334, 0.4)
    """
    step = batch if step is None else step
    steps = max(2, math.floor(0.5 / (1 - share)))
    while True:
        exact = steps * batch / patches
        digit = 10.0 ** (math.floor(math.log10(exact)) - 3)
        passes = float(f"{math.ceil(exact / digit) * digit:.4g}")
        first = max(1, round(share * passes * patches / step))
        if round(passes * patches / batch) - round(first * step / batch) >= 1:
            return passes
        steps += 1


def read_weights(path: Path, backbone: Backbone) -> Tensors:
    """The parameters that the first phase has left. Raises UserError unless they are those of this
    backbone."""
    tensors, _ = read_safetensors(path)
    known = {name: tensor.shape for name, tensor in backbone.state_dict().items()}
    if {name: tensor.shape for name, tensor in tensors.items()} != known:
        raise UserError(f"{path}: holds another network; force=true trains again")
    return tensors


def read_scores(
    path: Path, shape: tuple[int, ...], most: int
) -> tuple[F32, int, float, float | None]:
    """The scores that the first phase has left, (T, rows, cols) in dB, its steps, all of ``most``
    where an older version does not tell them, the seconds that it took, and its highest learning
    rate, None where an older version does not tell it."""
    tensors, meta = read_safetensors(path)
    try:
        scores, seconds = tensors["scores"].numpy().astype(np.float32), float(meta["seconds"])
        steps = int(meta.get("steps", most))
        rate = float(meta["rate"]) if "rate" in meta else None
    except (KeyError, ValueError):
        raise UserError(f"{path}: damaged; force=true trains again") from None
    if not 0 < steps <= most:
        raise UserError(f"{path}: damaged; force=true trains again")
    if scores.shape != shape:
        raise UserError(
            f"{path}: holds scores of {scores.shape} patches, the video {shape}; force=true "
            "trains again"
        )
    return scores, steps, seconds, rate
