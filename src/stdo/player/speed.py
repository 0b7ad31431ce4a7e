"""Measure playing speed on this machine, by stage and together."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from stdo.core.types import I16, U8
from stdo.player.client import WAIT, Player

_FRAMES = 240
"""Frames that are measured at most; ``--start`` and ``--duration`` choose others."""

_HELD = 48
"""LR frames that are kept in memory for the stages after decoding."""


def speeds(player: Player, began: float) -> str:
    """A table in frames per second, as text. began: `time.perf_counter` when the package was
    opened."""
    count = min(len(player), _FRAMES)
    next(iter(player.lent()))
    first = time.perf_counter() - began
    whole = _rate(count, lambda: _exhaust(islice(player.lent(), count)))
    decode, networks = player.apart.stages() if player.apart else stages(player)
    rows = [
        ("decode", f"{decode:.1f}"),
        ("networks", f"{networks:.1f}"),
        ("whole", f"{whole:.1f}"),
        ("whole/networks", f"{whole / networks:.3f}"),
        ("first frame", f"{first:.2f} s"),
        ("peak memory", _peak(player)),
    ]
    source = player.manifest.source
    head = (
        f"{count} frames of {source.width}x{source.height}, {player.threads} threads; frames "
        "per second\n"
    )
    return head + "\n".join(f"{name:<16}{figure:>9}" for name, figure in rows)


def stages(player: Player) -> list[float]:
    """Frames per second of decoding alone, and of the networks alone."""
    numbers = player.span[:_FRAMES]
    decode = _rate(
        len(numbers), lambda: _exhaust(islice(player.lr.frames(numbers.start), len(numbers)))
    )
    held = list(zip(numbers[:_HELD], player.lr.frames(numbers.start), strict=False))
    return [decode, _networks(player, [(lr_HWC, player.labels[t]) for t, lr_HWC in held])]


def _peak(player: Player) -> str:
    """Peak resident memory of this process, where the kernel tells, and of the one that decodes.

    getrusage would count what started this process as well.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    peak = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
    peak += player.apart.peak if player.apart else 0
    return f"{peak / 2**20:.0f} MiB"


def _networks(player: Player, work: list[tuple[U8, I16]]) -> float:
    """Frames per second of the networks alone: padded patches in memory, results dropped."""
    grid, network_of = player.manifest.patch_grid, np.asarray(player.manifest.network.network_of)
    sides = [player.manifest.scale * side for side in grid.padded_patch]
    jobs = [(grid.extract(lr_HWC), network_of[labels_RC.ravel()]) for lr_HWC, labels_RC in work]

    def run(job: tuple[U8, I16]) -> None:
        padded_patches, chosen = job
        patches = np.empty((len(padded_patches), *sides, 3), np.uint8)
        for index in np.unique(chosen).tolist():
            if 0 <= index < len(player.networks):
                player.networks.run(
                    index, padded_patches, patches, np.flatnonzero(chosen == index).tolist()
                )

    with ThreadPoolExecutor(player.threads) as pool:
        return _rate(len(jobs), lambda: _exhaust(pool.map(run, jobs, timeout=WAIT)))


def _rate(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def _exhaust(items: Iterable[object]) -> None:
    for _ in items:
        pass
