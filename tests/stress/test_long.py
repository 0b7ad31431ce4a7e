"""Long lives: fits and players by the dozen in one process do not grow, nor does evaluating by the
thousand frames."""

import ctypes
import gc
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from tiny_package import make
from torch import nn

from stdo.chunks.grid import PatchGrid
from stdo.evaluation.measure import measure
from stdo.evaluation.reconstruct import Reconstructor
from stdo.pipeline.steps import train
from stdo.player.client import Player

pytestmark = pytest.mark.slow

LIBC = ctypes.CDLL(None)


def footprint() -> tuple[float, int, int]:
    """Resident MiB, open files, threads."""
    gc.collect()
    if hasattr(LIBC, "malloc_trim"):
        # What glibc keeps of freed memory swings by 50 MiB from fit to fit and hides what grows
        LIBC.malloc_trim(0)
    me = psutil.Process()
    return me.memory_info().rss / 2**20, len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208


def test_fifty_fits_in_one_process_do_not_grow(make_job) -> None:
    for number in range(60):
        job = make_job(f"run{number}", passes=1.0)
        train(job)
        shutil.rmtree(job.directory)
        if number == 9:
            early = footprint()
    late = footprint()
    print(f"MiB, files, threads after 10 and 60 fits: {early}, {late}")  # noqa: T201 - shown by -rP
    assert late[0] < early[0] + 15
    assert late[1:] <= early[1:]


def test_fifty_players_in_one_process_do_not_grow(tmp_path: Path) -> None:
    path = make(tmp_path).path
    for number in range(60):
        assert len(list(Player(path, threads=2))) == 6
        if number == 9:
            early = footprint()
    late = footprint()
    print(f"MiB, files, threads after 10 and 60 players: {early}, {late}")  # noqa: T201
    assert late[0] < early[0] + 15
    assert late[1:] <= early[1:]


class HeapInfo(ctypes.Structure):
    """glibc's ``struct mallinfo2``: bytes of the heap, its free pieces, and more."""

    _fields_ = (
        ("arena", ctypes.c_size_t),
        ("holes", ctypes.c_size_t),
        ("others", ctypes.c_size_t * 8),
    )


class Loop:
    """A video of ``count`` frames that are the same few over and over."""

    def __init__(self, frames: np.ndarray, count: int) -> None:
        self.frames, self.count = frames, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, t: int) -> np.ndarray:
        return self.frames[t % len(self.frames)]


@pytest.mark.skipif(
    not hasattr(LIBC, "mallinfo2"), reason="needs the heap statistics of glibc 2.33"
)
def test_evaluating_leaves_no_holes_in_the_heap() -> None:
    """What a frame leaves behind splits the space between tensors: 1.4 holes a frame, 200 MiB in
    2,000 of 1080p."""
    count, early, scale = 700, 150, 4
    LIBC.mallinfo2.restype = HeapInfo
    # Freed, they make glibc take large pieces from its heap from now on
    for size in (31 << 20, (32 << 20) - 8192):
        np.empty(size, np.uint8)
    rng = np.random.default_rng(0)
    grid = PatchGrid(68, 120, 17, 15, scale=scale)
    hr, lr = (rng.integers(0, 256, (4, 68 * side, 120 * side, 3), np.uint8) for side in (scale, 1))
    shares = (rng.dirichlet(np.ones(4)) for _ in range(count))  # batches of all sizes
    labels = np.stack([rng.choice(4, (grid.rows, grid.cols), p=share) for share in shares]).astype(
        np.int16
    )
    networks = [
        nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 48, 1), nn.PixelShuffle(scale)
        ).eval()
        for _ in range(4)
    ]
    times = [Fraction(t) for t in range(count)]
    video = SimpleNamespace(
        scale=scale, height=272, width=480, hr=Loop(hr, count), lr=Loop(lr, count), pts=times
    )
    seen = []

    def progress(items: Iterable, total: int | None, label: str) -> Iterator:
        for item in items:
            info = LIBC.mallinfo2()
            seen.append((info.arena / 2**20, info.holes))
            yield item

    measure(
        video,
        Reconstructor(networks, range(4), grid, torch.device("cpu")),
        labels,
        progress=progress,
    )
    (heap, holes), (last_heap, last_holes) = (
        np.mean(part, axis=0) for part in (seen[early : early + 50], seen[-50:])
    )
    print(f"heap {heap:.1f} and {last_heap:.1f} MiB, {holes:.0f} and {last_holes:.0f} holes")  # noqa: T201
    assert last_holes < holes + 100
    assert last_heap < heap + 4
