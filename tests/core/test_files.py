"""Files are whole or not there; what a killed process left goes, what a living one writes stays."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stdo.core.files import (
    CONTENT,
    FLUSHED,
    OWNER,
    atomic,
    atomic_folder,
    atomic_stream,
    scratch,
    sweep_up,
)
from stdo.core.types import UserError

HOLD = """
import sys, time
from pathlib import Path
from stdo.core.files import atomic, scratch
with {what}(Path(sys.argv[1])):
    print("holding", flush=True)
    time.sleep(60)
"""


def left(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if "partial" in path.name)


def holder(what: str, path: Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(what=what), str(path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"holding\n"
    return process


@pytest.mark.parametrize("what", ["atomic", "scratch"])
def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(
    tmp_path: Path, what: str
) -> None:
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


def users_own(folder: Path) -> dict[str, Path]:
    """Files and folders that look like ours, by what they are; a FIFO would let a careless reader
    wait forever."""
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / OWNER).write_bytes(CONTENT)
    made = {
        name: folder / f".stdo-{name:_<8}.partial"
        for name in ("file", "folder", "owner", "link", "fifo", "pipe")
    }
    made["file"].write_text("mine")
    made["folder"].mkdir()
    (made["folder"] / "thesis.txt").write_text("mine")
    made["owner"].mkdir()
    (made["owner"] / OWNER).write_text("somebody else's")
    made["link"].symlink_to(elsewhere)
    os.mkfifo(made["fifo"])
    made["pipe"].mkdir()
    os.mkfifo(made["pipe"] / OWNER)
    for name in (
        "clip.abc.partial.mp4",
        "notes.partial",
        "clip.partially.mp4",
        ".stdo-abcdefgh.partial.txt",
    ):
        (folder / name).write_text("mine")
        made[name] = folder / name
    os.mkfifo(folder / "clip.abcdefgh.partial.mp4")
    made["an old name"] = folder / "clip.abcdefgh.partial.mp4"
    return made


@pytest.mark.parametrize("clean", ["atomic", "folder", "scratch", "sweep_up"])
def test_what_only_looks_like_ours_stays(tmp_path: Path, clean: str) -> None:
    here = tmp_path / "here"
    here.mkdir()
    own = users_own(here)
    if clean == "sweep_up":
        sweep_up(tmp_path)
    else:
        with {"atomic": atomic, "folder": atomic_folder, "scratch": scratch}[clean](
            here / "clip.mp4"
        ):
            pass
    assert all(os.path.lexists(path) for path in own.values())
    assert (own["folder"] / "thesis.txt").read_text() == "mine"
    assert (tmp_path / "elsewhere" / OWNER).exists()


def test_sweeping_follows_no_link(tmp_path: Path) -> None:
    dead = tmp_path / "elsewhere" / ".stdo-abcdefgh.partial"
    dead.mkdir(parents=True)
    (dead / OWNER).write_bytes(CONTENT)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "crops").symlink_to(tmp_path / "elsewhere")
    sweep_up(tmp_path / "run")
    assert (dead / OWNER).exists()
    sweep_up(tmp_path)
    assert not dead.exists(), "and so it was one that goes"


@pytest.mark.parametrize("content", [None, b""])
def test_who_is_killed_before_the_owner_file_is_whole_leaves_nothing(
    tmp_path: Path, content: bytes | None
) -> None:
    dead = tmp_path / ".stdo-abcdefgh.partial"
    dead.mkdir()
    if content is not None:
        (dead / OWNER).write_bytes(content)
    sweep_up(tmp_path)
    assert not dead.exists()


@pytest.mark.parametrize("length", [200, 246, 255])
def test_long_names(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("x" * (length - 4) + ".mp4")
    with atomic(path) as partial:
        assert partial.name == path.name
        partial.write_text("new")
    assert path.read_text() == "new"
    with atomic_folder(path.with_suffix(".png")) as folder:
        (folder / "1").write_text("new")
    assert sorted(tmp_path.iterdir()) == [path, path.with_suffix(".png")]


def test_a_link_in_place_of_the_target_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "private").write_text("mine")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_text("mine")
    (tmp_path / "file").symlink_to("private")
    (tmp_path / "folder").symlink_to("secrets")
    with atomic(tmp_path / "file") as partial:
        partial.write_text("new")
    with atomic_folder(tmp_path / "folder") as partial:
        (partial / "new").write_text("new")
    assert (
        (tmp_path / "private").read_text() == (tmp_path / "secrets" / "key").read_text() == "mine"
    )
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "new").read_text() == "new"
    assert not (tmp_path / "folder").is_symlink()


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
    parts = [
        wide_HWC[:, :, :3],
        wide_HWC[:3, ::2, 1:],
        *[wide_HWC] * (FLUSHED // wide_HWC.nbytes + 1),
        wide_HWC[:1],
    ]
    with atomic_stream(tmp_path / "frames.u8") as append:
        for part in parts:
            append(part)
        assert not (tmp_path / "frames.u8").exists()
    assert (tmp_path / "frames.u8").read_bytes() == b"".join(part.tobytes() for part in parts)
    assert left(tmp_path) == []


@pytest.mark.parametrize("more", [0, 1])
def test_what_the_disk_says_on_the_way_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    """The kernel tells of a failed write once: to the flush on the way, not to the last one."""
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
