"""Memory that a fit needs at least, and memory that there is."""

from __future__ import annotations

import contextlib
import copy
import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from stdo.core.types import UserError
from stdo.models.common import Backbone, Convolution

PER_PATCH = 32
"""Bytes that a patch of the video takes beside its pixels: score, label, learner, and its place in
an order."""

PER_STEP = 24
"""Bytes that a step takes before it is done, where learners have turns."""

PER_WEIGHT = 16
"""Bytes of a weight in training: itself, its gradient, and two numbers of the optimizer at most."""

_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Need:
    """Something that takes memory. what: as a user knows it. settings: what makes it smaller, the
    first one most."""

    what: str
    size: int
    settings: tuple[str, ...]
    on_device: bool = False


def saved_by_step(network: Backbone, padded_patch: tuple[int, int], half: bool) -> int:
    """Bytes that a backward pass keeps of one patch: found by a pass over tensors without content.

    Args:
        padded_patch: Height and width of the padded patch in LR pixels.
        half: In 16-bit arithmetic, which halves most of it.
    """
    seen: set[int] = set()
    size = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal size
        storage = tensor.untyped_storage()
        if storage._cdata not in seen:
            seen.add(storage._cdata)
            size += storage.nbytes()
        held.append(tensor)  # so that no storage takes the place of another
        return tensor

    held: list[Tensor] = []
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        _on_meta(network)(torch.empty(1, 3, *padded_patch, device="meta"))
    return size // 2 if half else size


def peak_of_pass(network: Backbone, padded_patch: tuple[int, int]) -> int:
    """Bytes of the largest layer's input and output for one patch: what evaluating needs at
    least."""
    largest = 0

    def measure(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal largest
        largest = max(largest, sum(each.nbytes for each in given) + out.nbytes)

    probe = _on_meta(network)
    for module in probe.modules():
        if isinstance(module, Convolution):
            module.register_forward_hook(measure)
    with torch.no_grad():
        probe(torch.empty(1, 3, *padded_patch, device="meta"))
    return largest


def _on_meta(network: Backbone) -> Backbone:
    return copy.deepcopy(network).to("meta")


def check_memory(needs: Callable[[], Iterator[Need]], device: torch.device) -> None:
    """Raise UserError for the first need that is larger than all the memory there is.

    Args:
        needs: Yields them, what can be told without effort first.
        device: Where networks are trained.
    """
    host, there = host_memory(), _device_memory(device)
    for need in needs():
        limit = there if need.on_device and there is not None else host
        if limit is not None and need.size > limit:
            first, *others = need.settings
            remedy = f"; lower {', '.join(each.split('=')[0] for each in (first, *others))}"
            where = "the GPU has" if limit is there else "there are"
            raise UserError(
                f"{first}: {need.what} takes {need.size / 1e9:,.1f} GB of memory at least, "
                f"{where} {limit / 1e9:,.1f}"
                f"{remedy}"
            )


def host_memory() -> int | None:
    """Bytes of memory that this process may have: the machine's, or less where a container or a
    limit says so."""
    found = []
    with contextlib.suppress(ValueError, OSError, AttributeError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in _CGROUPS:
        try:
            found.append(int(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    found.append(resource.getrlimit(resource.RLIMIT_AS)[0])
    known = [each for each in found if each > 0]  # RLIM_INFINITY is -1
    return min(known) if known else None


def _device_memory(device: torch.device) -> int | None:
    if device.type != "cuda":
        return None
    return int(torch.cuda.get_device_properties(device).total_memory)
