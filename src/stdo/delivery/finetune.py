"""A short training of weights that are already rounded: forwards they are multiples of their steps, backwards not."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from stdo.chunks.sample import Sampler
from stdo.delivery.delta import fold
from stdo.delivery.weights import Tensors, Weights
from stdo.models.common import Backbone
from stdo.models.pixels import to_float
from stdo.models.sharing import by_chunk
from stdo.models.weights import load_parts
from stdo.training.data import Batch, PatchBatches, PatchData
from stdo.training.loss import loss_of
from stdo.types import F32, Progress, UserError, silent

LR = 0.003
"""Learning rate of rounded weights at the start, in steps of their rows. From 0.01 on, too many jump at once."""

LR_OTHERS = 0.001
"""Learning rate of biases and deltas, and of the logarithm of the steps."""

EDGE = 0.45
"""How far from its multiple, in steps, a weight may start: towards where it was, less than half so that it stays."""

Tree = list[dict[str, Tensor]]


def load_weights(path: str | Path) -> Weights:
    """What there is to send of a run's weights.safetensors: base and deltas, or the networks."""
    networks, deltas = load_parts(path)
    return Weights([_arrays(state) for state in networks], [_arrays(delta) for delta in deltas])


def batches_of(data: PatchData, sampler: Sampler) -> Iterator[Batch]:
    """Every batch of a sampler, from its first step on, whether ``data`` has been through a fit or not."""
    batches = PatchBatches(data.video, data.grid, data.labels, sampler, rank=0, world=1)
    return (batches[step] for step in range(sampler.steps))


def finetune(
    rounded: Weights,
    before: Weights,
    bits: int,
    backbone: Backbone,
    batches: Iterable[Batch],
    updates: int,
    network_of: Sequence[int],
    border: int = 0,
    device: torch.device | None = None,
    progress: Progress = silent,
    loss: str = "l1",
) -> Weights:
    """Train rounded weights and their steps for the low bits they have.

    rounded: what `stdo.delivery.rounding.rounded` made of ``before``, the weights as they were trained. bits: 8 or
    fewer. backbone: the architecture. batches: ``updates`` of them, as training sees them. network_of: the network of
    each chunk. border: HR pixels of halo to cut off. loss: the fit's, a key of `stdo.training.loss.LOSSES`.

    Raises UserError for a loss that is not finite.
    """
    assert bits <= 8 and len(rounded.steps) == len(rounded.networks), "round the weights first"
    backbone = backbone.to(device)
    learned = _Learned(rounded, before, bits, device)
    optimizer = torch.optim.Adam(learned.groups())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    number_of = torch.as_tensor(network_of)
    for batch in progress(batches, updates, "finetune"):
        sr_NCHW = learned.enlarge(backbone, to_float(batch["lr"].to(device)), number_of[batch["chunk"]])
        error, _ = loss_of(loss, sr_NCHW, batch["hr"].to(device), border)
        if not math.isfinite(error.item()):
            raise UserError(f"weights.finetune: the loss became {error.item()}; set weights.finetune=0")
        optimizer.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return learned.weights()


class _Learned:
    """The weights as leaves that an optimizer moves, and the networks that they make when rounded.

    Weights that are rounded are kept in units of their rows' steps, so that one learning rate suits all.
    """

    def __init__(self, rounded: Weights, before: Weights, bits: int, device: torch.device | None) -> None:
        self._most = 2 ** (bits - 1) - 1
        steps = [{name: step[:, None, None, None] for name, step in each.items()} for each in rounded.steps]
        symbols = [
            {name: _started(start[name], tensors[name], step) for name, step in each.items()}
            for start, tensors, each in zip(before.networks, rounded.networks, steps, strict=True)
        ]
        others = [
            {name: tensor for name, tensor in tensors.items() if name not in each}
            for tensors, each in zip(rounded.networks, steps, strict=True)
        ]
        self._names = list(rounded.networks[0])
        self._steps = _tensors(steps, device)
        self._symbols, self._others = _leaves(symbols, device), _leaves(others, device)
        self._growth = [
            {name: torch.zeros_like(step, requires_grad=True) for name, step in each.items()} for each in self._steps
        ]
        self._deltas = _leaves(rounded.deltas, device)

    def groups(self) -> list[dict[str, Any]]:
        """All that is trained, with its learning rates."""
        others = [*self._others, *self._growth, *self._deltas]
        return [
            {"params": [leaf for each in self._symbols for leaf in each.values()], "lr": LR},
            {"params": [leaf for each in others for leaf in each.values()], "lr": LR_OTHERS},
        ]

    def enlarge(self, backbone: Backbone, lr_NCHW: Tensor, number_N: Tensor) -> Tensor:
        """SR of windows, each by its network as it would be delivered, with gradients as if nothing were rounded."""
        states = {number: self._state(number) for number in set(number_N.tolist())}

        def network(part_NCHW: Tensor, number: int) -> Tensor:
            sr_NCHW: Tensor = functional_call(backbone, states[number], part_NCHW)
            return sr_NCHW

        return by_chunk(lr_NCHW, number_N, network)

    def _state(self, number: int) -> dict[str, Tensor]:
        if self._deltas:
            return fold(self._rounded(0), self._deltas[number])
        return self._rounded(number)

    def _step(self, number: int, name: str) -> Tensor:
        return self._steps[number][name] * self._growth[number][name].exp()

    def _rounded(self, number: int) -> dict[str, Tensor]:
        state = dict(self._others[number])
        for name, leaf in self._symbols[number].items():
            symbols = leaf.detach().round().clamp_(-self._most, self._most)
            state[name] = (leaf + (symbols - leaf.detach())) * self._step(number, name)
        return state

    @torch.no_grad()
    def weights(self) -> Weights:
        """The trained weights, rounded, with steps that float16 can hold."""
        networks, all_steps = [], []
        for number, symbols in enumerate(self._symbols):
            steps = {name: self._step(number, name).half().float() for name in symbols}
            state = dict(self._others[number])
            for name, leaf in symbols.items():
                state[name] = leaf.round().clamp_(-self._most, self._most) * steps[name]
            networks.append(_arrays({name: state[name] for name in self._names}))
            all_steps.append({name: step.flatten() for name, step in _arrays(steps).items()})
        return Weights(networks, [_arrays(each) for each in self._deltas], all_steps)


def _started(before: F32, rounded: F32, step: F32) -> F32:
    """Rounded weights in units of their steps, drawn towards what they were; 0 where the step is."""
    unit = np.where(step > 0, step, np.float32(np.inf))
    drawn: F32 = np.rint(rounded / unit) + np.clip((before - rounded) / unit, -EDGE, EDGE).astype(np.float32)
    return drawn


def _tensors(trees: Sequence[Tensors], device: torch.device | None) -> Tree:
    return [{name: torch.tensor(tensor, device=device) for name, tensor in tree.items()} for tree in trees]


def _leaves(trees: Sequence[Tensors], device: torch.device | None) -> Tree:
    return [{name: leaf.requires_grad_() for name, leaf in tree.items()} for tree in _tensors(trees, device)]


def _arrays(tensors: Mapping[str, Tensor]) -> Tensors:
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
