"""Long lives: fits and players by the dozen in one process do not grow."""

import gc
import os
import shutil
import threading
from pathlib import Path

import psutil
import pytest
from tiny_package import make

from stdo.delivery.client import Player
from stdo.pipeline import train

pytestmark = pytest.mark.slow


def footprint() -> tuple[float, int, int]:
    """Resident MiB, open files, threads."""
    gc.collect()
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
    assert late[0] < early[0] + 25
    assert late[1:] <= early[1:]


def test_fifty_players_in_one_process_do_not_grow(tmp_path: Path) -> None:
    path = make(tmp_path).path
    for number in range(60):
        assert len(list(Player(path, threads=2))) == 6
        if number == 9:
            early = footprint()
    late = footprint()
    print(f"MiB, files, threads after 10 and 60 players: {early}, {late}")  # noqa: T201
    assert late[0] < early[0] + 25
    assert late[1:] <= early[1:]
