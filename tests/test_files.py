"""Files are whole or not there; what a killed process left goes, what a living one writes stays."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stdo.files import FLUSHED, atomic, atomic_folder, atomic_stream, scratch, sweep_up
from stdo.types import UserError

HOLD = """
import sys, time
from pathlib import Path
from stdo.files import atomic, scratch
with {what}(Path(sys.argv[1])):
    print("holding", flush=True)
    time.sleep(60)
"""


def left(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if "partial" in path.name)


def holder(what: str, path: Path) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", HOLD.format(what=what), str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"holding\n"
    return process


@pytest.mark.parametrize("what", ["atomic", "scratch"])
def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path, what: str) -> None:
    target = tmp_path / "sub [1]" / "clip.mp4"
    target.parent.mkdir()
    living, dying = holder(what, target), holder(what, target)
    try:
        assert len(left(tmp_path)) == 2
        dying.kill()
        dying.wait(10)
        assert len(left(tmp_path)) == 2
        with {"atomic": atomic, "scratch": scratch}[what](target):
            assert len(left(tmp_path)) == 2, "the dead one's is gone, ours is there"
        sweep_up(tmp_path)
        assert len(left(tmp_path)) == 1, "the living one's stays"
    finally:
        living.kill()
        living.wait(10)
    sweep_up(tmp_path)
    assert left(tmp_path) == []


def test_other_files_of_a_like_name_stay(tmp_path: Path) -> None:
    for name in ("clip.mp4", "clip.partially.mp4", "clip.partial.mp4.txt", "clip2.x.partial.mp4"):
        (tmp_path / name).write_text("mine")
    with atomic(tmp_path / "clip.mp4") as partial:
        partial.write_text("new")
    assert len(list(tmp_path.iterdir())) == 4
    assert (tmp_path / "clip.mp4").read_text() == "new"


@pytest.mark.parametrize("make", [atomic, atomic_folder])
@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, OSError(28, "full")])
def test_a_block_that_fails_leaves_the_old_one(tmp_path: Path, make, error) -> None:
    path = tmp_path / "thing"
    for content in ("old", "new"):
        try:
            with make(path) as partial:
                (partial / "file" if make is atomic_folder else partial).write_text(content)
                if content == "new":
                    raise error
        except (KeyError, KeyboardInterrupt, UserError):
            assert content == "new"
    assert (path / "file" if make is atomic_folder else path).read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["thing"]


def test_rights_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic(tmp_path / "file") as partial:
            partial.write_text("x")
        with atomic_folder(tmp_path / "folder") as partial:
            (partial / "file").write_text("x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_sigterm_leaves_nothing(tmp_path: Path) -> None:
    process = holder("atomic", tmp_path / "clip.mp4")
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    sweep_up(tmp_path)
    assert left(tmp_path) == []


def test_a_stream_holds_what_was_appended(tmp_path: Path) -> None:
    wide_HWC = np.random.default_rng(0).integers(0, 256, (1000, 5000, 4), np.uint8)
    parts = [wide_HWC[:, :, :3], wide_HWC[:3, ::2, 1:], *[wide_HWC] * (FLUSHED // wide_HWC.nbytes + 1), wide_HWC[:1]]
    with atomic_stream(tmp_path / "frames.u8") as append:
        for part in parts:
            append(part)
        assert not (tmp_path / "frames.u8").exists()
    assert (tmp_path / "frames.u8").read_bytes() == b"".join(part.tobytes() for part in parts)
    assert left(tmp_path) == []


@pytest.mark.parametrize("more", [0, 1])
def test_what_the_disk_says_on_the_way_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    """The kernel tells of a failed write once: to the flush on the way, not to the one in the end."""
    told: list[int] = []
    flush = os.fsync

    def fails_once(descriptor: int) -> None:
        told.append(descriptor)
        if len(told) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(descriptor)

    def write() -> None:
        with atomic_stream(tmp_path / "frames.u8") as append:
            for _ in range(1 + more):
                append(np.zeros(2 * FLUSHED, np.uint8))

    monkeypatch.setattr(os, "fsync", fails_once)
    with pytest.raises(UserError, match="disk is full|No space"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_stream_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_stream(tmp_path / "frames.u8") as append:
            append(np.zeros(2 * FLUSHED, np.uint8))
            raise RuntimeError("on the way")

    (tmp_path / "frames.u8").write_text("old")
    with pytest.raises(RuntimeError, match="on the way"):
        fail()
    assert (tmp_path / "frames.u8").read_text() == "old"
    assert left(tmp_path) == []
