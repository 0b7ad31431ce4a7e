"""The cache of prepared videos: what was not used for long goes first, what is in use stays."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stdo.core.locks import exclusive
from stdo.video.cache import IN_USE, Use, evict, listed, remove, screen
from stdo.video.degrade import Degrade
from stdo.video.sample import GeneratedClip
from stdo.video.store import Prepared, prepare

HOLD = """
import sys
from pathlib import Path
from stdo.video.cache import Use
use = Use(Path(sys.argv[1]))
print("holding", flush=True)
sys.stdin.read()
"""
BYTES = 5 * 3 * (48 * 72 + 24 * 36)
"""Of one prepared video: 5 frames of 48x72 at x2."""


def made(cache: Path, seed: int, limit: float | None = None) -> Prepared:
    source = GeneratedClip(width=72, height=48, frames=5, rate=25, seed=seed)
    return prepare(source, cache, Degrade(2), limit=limit)


def sizes(cache: Path) -> int:
    return sum(each.bytes for each in listed(cache))


def test_the_cache_stays_below_its_limit_and_the_oldest_goes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = []
    for seed in range(3):
        folders.append(made(tmp_path, seed).folder)
        os.utime(folders[-1] / IN_USE, (seed + 1, seed + 1))
    assert BYTES <= sizes(tmp_path) / 3 < BYTES + 1000
    assert [each.folder for each in listed(tmp_path)] == folders
    made(tmp_path, 0)  # asked for again: the second is the oldest now
    limit = 3.2 * BYTES / 1e9
    fourth = made(tmp_path, 3, limit)
    assert np.array_equal(fourth.hr[0], made(tmp_path, 3).hr[0])
    assert {each.folder for each in listed(tmp_path)} == {folders[0], folders[2], fourth.folder}
    said = capsys.readouterr().err
    assert said.startswith("paths.cache_limit=") and f"MB: {folders[1].name}\n" in said
    again = made(tmp_path, 1)
    assert np.array_equal(again.hr[2], made(tmp_path / "other", 1).hr[2]), "made anew, the same"
    assert f"prepared videos: 5, {sizes(tmp_path) / 1e6:.1f} MB\n" in screen(listed(tmp_path))


def test_frames_that_are_there_need_no_room(tmp_path: Path) -> None:
    folders = [made(tmp_path, seed).folder for seed in range(2)]
    source = GeneratedClip(width=72, height=48, frames=5, rate=25, seed=1)
    prepare(source, tmp_path, Degrade(4), limit=2.5 * BYTES / 1e9)
    assert {each.folder for each in listed(tmp_path)} == set(folders)


def test_what_is_in_use_is_never_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = made(tmp_path, 0)
    frame = first.hr[1].copy()
    assert evict(tmp_path, 0) == [] and not remove(first.folder)
    second = made(tmp_path, 1, limit=1e-9)
    assert "above paths.cache_limit=1e-09: the rest is in use" in capsys.readouterr().err
    assert np.array_equal(first.hr[1], frame)

    copied = pickle.loads(pickle.dumps(first.use))
    folders = first.folder, second.folder
    del first
    assert not remove(folders[0]), "of another copy"
    del copied, second
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, folders[0]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None and other.stdout.readline() == b"holding\n"
    assert [each.folder for each in evict(tmp_path, 0)] == [folders[1]]
    other.kill()
    other.communicate(timeout=20)
    assert [each.folder for each in evict(tmp_path, 0)] == [folders[0]], "its user was killed"
    assert listed(tmp_path) == []


def test_what_is_being_prepared_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    folder = made(tmp_path, 0).folder
    (folder / "notes.txt").write_text("mine")
    with exclusive(folder / ".lock", "", 0):
        assert not remove(folder), "this process is at it itself"
    assert remove(folder)
    assert {path.name for path in folder.iterdir()} == {"notes.txt", IN_USE, ".lock"}
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "hr.u8").write_bytes(b"x")
    assert listed(tmp_path) == [], "no lock: no folder of ours"
    assert evict(tmp_path / "nowhere", 0) == []


def test_without_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made(tmp_path, 0).folder

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", flock)
    use = Use(folder)
    assert not remove(folder) and sizes(tmp_path) > 0
    del use
