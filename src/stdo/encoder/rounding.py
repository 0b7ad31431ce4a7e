"""Round weights so that a network's output on its own video changes least.

Rounding every weight to its nearest step shifts whole pictures in brightness: neighbouring pixels
are alike, so errors of one sign add up, and 8 bits cost up to two decibels. GPTQ
(https://arxiv.org/abs/2210.17323) rounds column after column and lets the columns to come make up
for the error, as far as the inputs that a layer really has allow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import pad, unfold

from stdo.chunks.grid import PatchGrid
from stdo.core.networks import Networks
from stdo.core.types import F32, F64, I16, U8
from stdo.encoder.sums import sums_of, surroundings
from stdo.models.common import Backbone, Convolution
from stdo.models.pixels import to_float
from stdo.models.weights import load_parts
from stdo.package.weights import Tensors, quantise, steps_of
from stdo.video.clip import Clip

WINDOWS = 12
"""Patches that show each network's inputs."""

EVERY = 5
"""Of their positions, neighbours of which are alike, every so many-th is looked at: 6,000 at the
paper's patch size."""

DAMPING = 0.01
"""Share of the mean energy that is added to every input, so that none is taken to be unused."""


def load_weights(path: str | Path) -> Networks[F32]:
    """What there is to send of a run's weights.safetensors: base and deltas, or the networks."""
    parts = load_parts(path)
    bases, deltas = map(_arrays, parts.bases), map(_arrays, parts.deltas)
    return Networks(list(bases), parts.kind, list(deltas))


def _arrays(tensors: Mapping[str, Tensor]) -> Tensors:
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


def rounded(
    networks: Networks[F32], bits: int, backbone: Backbone, padded_patches: Sequence[U8]
) -> Networks[F32]:
    """The networks with weights that are multiples of steps, 8 bits or fewer, chosen to change the
    results least.

    Args:
        backbone: The architecture.
        padded_patches: For each network LR padded patches that it will see, uint8 (N, h, w, 3).
    """
    assert bits <= 8, bits
    seen = [
        _inputs(backbone, state, part)
        for state, part in zip(networks.whole(), padded_patches, strict=True)
    ]
    if networks.deltas:  # all of them see what is made by one base
        seen = [_merged(seen)]
    convs = {
        name: module for name, module in backbone.named_modules() if isinstance(module, Convolution)
    }
    bases, steps = [], []
    for tensors, inputs in zip(networks.bases, seen, strict=True):
        multiples, step = _round_network(tensors, bits, inputs, convs)
        bases.append(multiples)
        steps.append(step)
    return replace(networks, bases=bases, steps=steps)


def _merged(seen: Sequence[Mapping[str, "_Inputs"]]) -> dict[str, "_Inputs"]:
    """What several networks see, convolution by convolution."""
    merged = {}
    for name in seen[0]:
        merged[name] = _Inputs.merged([inputs[name] for inputs in seen])
    return merged


def windows_of(
    clip: Clip,
    labels_TRC: I16,
    network_of: Sequence[int],
    seed: int = 0,
    grid: PatchGrid | None = None,
) -> list[U8]:
    """For each network up to `WINDOWS` padded patches, drawn over the whole video: uint8
    (N, h, w, 3). grid: of these; None: the clip's."""
    grid, network_N = grid or clip.grid, np.asarray(network_of)[labels_TRC.ravel()]
    drawn = []
    for number in range(max(network_of) + 1):
        members = np.flatnonzero(network_N == number)
        patch_N = np.random.default_rng((seed, number)).permutation(members)[:WINDOWS]
        frame_N, within_N = np.divmod(patch_N, grid.patches)
        rows, cols = grid.window_rows(within_N), grid.window_cols(within_N)
        drawn.append(clip.video.lr.gather_pixels(frame_N, rows, cols))
    return drawn


class _Inputs:
    """Second moments of what a convolution reads: every position is one vector of n numbers."""

    def __init__(self) -> None:
        self.products: F64 | float = 0.0
        self.sums: F64 | float = 0.0
        self.count = 0

    def add(self, conv: Convolution, x_NCHW: Tensor) -> None:
        sides, edges = surroundings(conv)
        mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
        padded = pad(x_NCHW, edges, mode=mode)
        for x_CHW in padded:
            columns = unfold(x_CHW[None], sides)[0, :, ::EVERY]
            self.products = self.products + (columns @ columns.T).double().numpy()
            self.sums = self.sums + columns.sum(dim=1).double().numpy()
            self.count += columns.shape[1]

    @staticmethod
    def merged(parts: Sequence["_Inputs"]) -> "_Inputs":
        """All positions together."""
        whole = _Inputs()
        for part in parts:
            whole.products, whole.sums = whole.products + part.products, whole.sums + part.sums
            whole.count += part.count
        return whole

    def moments(self) -> tuple[F64, F64]:
        """Covariance (n, n) and mean (n,)."""
        mean = np.asarray(self.sums) / self.count
        return np.asarray(self.products) / self.count - np.outer(mean, mean), mean


def _is_plain(module: nn.Module) -> TypeGuard[Convolution]:
    """Whether a module is a convolution as ours are. Others, such as the depthwise ones of plugins,
    are rounded to the nearest step."""
    if not isinstance(module, Convolution) or isinstance(module.padding, str):
        return False
    strided = isinstance(module, nn.Conv2d) and module.stride != (1, 1)
    return (
        module.bias is not None and module.groups == 1 and module.dilation == (1, 1) and not strided
    )


@torch.no_grad()
def _inputs(backbone: Backbone, state: Tensors, padded_patches: U8) -> dict[str, _Inputs]:
    """What every convolution of a network reads, by name."""
    found: dict[str, _Inputs] = {}

    def watch(name: str, conv: Convolution, x_NCHW: Tensor) -> None:
        found.setdefault(name, _Inputs()).add(conv, x_NCHW)

    convs = [(name, module) for name, module in backbone.named_modules() if _is_plain(module)]
    hooks = [
        conv.register_forward_pre_hook(
            lambda _, inputs, name=name, conv=conv: watch(name, conv, inputs[0])
        )
        for name, conv in convs
    ]
    try:
        tensors = {name: torch.from_numpy(tensor) for name, tensor in state.items()}
        for padded_patch in torch.from_numpy(padded_patches):
            functional_call(backbone, tensors, to_float(padded_patch[None]))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _round_network(
    tensors: Mapping[str, F32],
    bits: int,
    seen: dict[str, _Inputs],
    convs: Mapping[str, Convolution],
) -> tuple[Tensors, Tensors]:
    """The rounded network, and the step of each row of its weights."""
    out, steps = dict(tensors), {}
    for name, inputs in seen.items():
        weight = tensors[f"{name}.weight"]
        step = steps_of(weight.reshape(len(weight), -1), bits)
        step_of = np.repeat(step, weight[0].size)
        covariance, mean = inputs.moments()
        close, bias = weight.ravel().copy(), tensors[f"{name}.bias"]
        sums = sums_of(convs[name])
        for taps, columns in sums:
            rows = weight.ravel()[taps]
            close[taps] = _gptq(rows, step_of[taps], bits, covariance[np.ix_(columns, columns)])
            # what is left of the error on average goes into the bias
            bias = bias + ((rows - close[taps]) @ mean[columns] / len(sums)).astype(np.float32)
        out[f"{name}.weight"] = close.reshape(weight.shape)
        out[f"{name}.bias"] = bias
        steps[f"{name}.weight"] = step
    return out, steps


def _gptq(rows: F32, step: F32, bits: int, covariance: F64) -> F32:
    """Rows (outputs, n) as multiples of their steps, such that the outputs change least for inputs
    so distributed.

    Args:
        step: Of each weight, (outputs, n).
    """
    count = len(covariance)
    energy = covariance + np.eye(count) * (
        DAMPING * np.trace(covariance) / count + np.finfo(np.float32).tiny
    )
    # Strong inputs first, while others can still make up for them
    order = np.argsort(-np.diag(energy), kind="stable")
    spread = np.linalg.cholesky(np.linalg.inv(energy[np.ix_(order, order)])).T
    left, close = rows[:, order].astype(np.float64), np.empty_like(rows)
    for at, column in enumerate(order):
        now = left[:, at].astype(np.float32)
        close[:, column] = quantise(now[:, None], step[:, column], bits)[:, 0] * step[:, column]
        error = (left[:, at] - close[:, column]) / spread[at, at]
        left[:, at + 1 :] -= np.outer(error, spread[at, at + 1 :])
    return close
