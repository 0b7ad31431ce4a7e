"""Processes share cores slice by slice: never two at once, none left out, none stuck behind one
that does not move."""

import errno
import json
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from stdo.core import timeshare as module
from stdo.core.timeshare import timeshare, yield_cores

WORK = """
import json, sys, time
from stdo.core import timeshare
timeshare.SLICE, timeshare._PATIENCE, timeshare.usable_cores = 0.02, float(sys.argv[3]), lambda: 2
timeshare._ALONE = 0.005
with timeshare.timeshare(2, timeshare.Path(sys.argv[1])):
    print("in", flush=True)
    if sys.argv[2] == "stay":
        time.sleep(100)
    for _ in range(int(sys.argv[2])):
        began = time.monotonic()
        while time.monotonic() - began < 0.01:
            pass
        print(json.dumps([began, time.monotonic()]), flush=True)
        timeshare.yield_cores()
"""


def start(folder: Path, steps: object, patience: float = 30.0) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WORK, str(folder), str(steps), str(patience)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def spans(process: subprocess.Popen[str]) -> list[list[float]]:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines() if line != "in"]


def test_steps_of_three_processes_never_overlap_and_all_get_on(tmp_path: Path) -> None:
    processes = [start(tmp_path, 12) for _ in range(3)]
    found = [spans(process) for process in processes]
    assert [len(each) for each in found] == [12] * 3
    ordered = sorted((*span, who) for who, each in enumerate(found) for span in each)
    assert all(end <= begin for (_, end, _), (begin, _, _) in pairwise(ordered))
    # The last to start may find the others done; those that met alternated
    changes = sum(a != b for (_, _, a), (_, _, b) in pairwise(ordered))
    assert changes > 3, ordered


def test_a_process_that_is_killed_leaves_the_cores(tmp_path: Path) -> None:
    holder = start(tmp_path, "stay")
    assert holder.stdout is not None and holder.stdout.readline() == "in\n"
    other = start(tmp_path, 3)
    time.sleep(0.5)
    holder.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    assert min(begin for begin, _ in spans(other)) >= killed - 0.05
    holder.wait()


def test_nobody_waits_for_long_behind_one_that_does_not_move(tmp_path: Path) -> None:
    """Nor again and again: 20 times would be 40 seconds."""
    holder = start(tmp_path, "stay")
    assert holder.stdout is not None and holder.stdout.readline() == "in\n"
    try:
        found = spans(start(tmp_path, 20, patience=2.0))
        assert len(found) == 20 and found[-1][1] - found[0][0] < 20
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.parametrize(
    ("threads", "cores", "shared"),
    [(2, 2, True), (2, 3, True), (1, 1, False), (1, 8, False), (2, 4, False)],
)
def test_cores_are_shared_where_two_processes_do_not_fit(
    threads: int, cores: int, shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    with timeshare(threads, tmp_path), timeshare(threads, tmp_path):
        assert (module._current is not None) == shared
        yield_cores()
    assert module._current is None and bool(list(tmp_path.iterdir())) == shared
    yield_cores()


def test_a_folder_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 2)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = module._folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with timeshare(2):
        assert module._current is None, "others can write there"
    folder.rmdir()
    (tmp_path / "theirs").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "theirs")
    with timeshare(2):
        assert module._current is None
    folder.unlink()
    folder.mkdir(mode=0o700)
    with timeshare(2):
        assert module._current is not None


def test_locks_are_left_when_the_work_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 2)
    with pytest.raises(KeyError), timeshare(2, tmp_path):
        raise KeyError
    assert len(spans(start(tmp_path, 1))) == 1


def test_a_file_system_without_locks_shares_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(module, "usable_cores", lambda: 2)
    monkeypatch.setattr("fcntl.flock", no_locks)
    with timeshare(2, tmp_path):
        assert module._current is None
        yield_cores()
