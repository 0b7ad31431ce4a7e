"""Locks between processes, and stopping when asked."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stdo.core.locks import RANKS, BusyError, exclusive, fitting, main_process
from stdo.core.signals import ASKING, Stopped, deferred, heeded
from stdo.core.types import UserError

HOLD = """
import sys, time
from pathlib import Path
from stdo.core.locks import exclusive
with exclusive(Path(sys.argv[1]), "", 1):
    print("holding", flush=True)
    time.sleep(60)
"""


def test_the_owner_is_named_and_a_killed_one_forgotten(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline() == b"holding\n"
    try:
        began = time.monotonic()
        with (
            pytest.raises(
                BusyError,
                match=rf"{tmp_path}: is being tested by process {other.pid} on .* since 20\d\d-",
            ),
            exclusive(lock, "is being tested", wait=0.2),
        ):
            pass
        assert 0.1 < time.monotonic() - began < 5
    finally:
        other.kill()
        other.wait(10)
    assert (tmp_path / ".lock.owner").exists(), "stale, and harmless"
    with exclusive(lock, "is being tested", wait=0) as outermost:
        assert outermost
        assert f"process {os.getpid()} " in (tmp_path / ".lock.owner").read_text()
        with exclusive(lock, "is being tested", wait=0) as inner:
            assert not inner
        assert (tmp_path / ".lock.owner").exists()
    assert not (tmp_path / ".lock.owner").exists()


@pytest.mark.parametrize(
    ("environment", "main"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"SLURM_PROCID": "3"}, False),
        ({"OMPI_COMM_WORLD_RANK": "2"}, False),
        ({"RANK": "4", "LOCAL_RANK": "0"}, False),
    ],
)
def test_one_process_of_a_distributed_fit_writes(
    environment, main: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in RANKS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with fitting(2):
        assert main_process() is main
    with fitting(1):
        assert main_process(), "a fit of one process has no other that could write"
    assert main_process()


@pytest.mark.parametrize("odd", ["link", "fifo", "folder"])
def test_a_lock_file_that_is_none_is_refused_at_once(odd: str, tmp_path: Path) -> None:
    lock, other = tmp_path / ".lock", tmp_path / "other"
    {"link": lambda: lock.symlink_to(other), "fifo": lambda: os.mkfifo(lock), "folder": lock.mkdir}[
        odd
    ]()
    began = time.monotonic()
    with pytest.raises((UserError, OSError)), exclusive(lock, "", 1):
        pass
    assert time.monotonic() - began < 1
    assert not other.exists()


WITHOUT_LOCKS = """
import errno, fcntl, os, sys
from pathlib import Path
def flock(file, operation):
    raise OSError(errno.{error}, os.strerror(errno.{error}))
fcntl.flock = flock
from stdo.core.files import atomic
from stdo.core.locks import exclusive
with exclusive(Path(sys.argv[1]) / ".lock", "is being tested", 0) as outermost:
    assert outermost
    for name in ("a", "b"):
        with atomic(Path(sys.argv[1]) / name) as partial:
            partial.write_text("whole")
"""


@pytest.mark.parametrize(
    "error", ["ENOSYS", "EOPNOTSUPP", "ENOLCK", "EBADF", "EINVAL", "EPERM", "EIO"]
)
def test_a_file_system_without_locks_is_said_once_and_work_goes_on(
    error: str, tmp_path: Path
) -> None:
    code = WITHOUT_LOCKS.format(error=error)
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stderr == "note: this file system has no locks: run one process at a time\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "a", "b"]
    with exclusive(tmp_path / ".lock", "is being tested", 0) as outermost:
        assert outermost, "nothing is left that another machine would take for a lock"


def ask(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.05)


@pytest.mark.parametrize("number", ASKING)
def test_asked_to_stop(
    number: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [signal.getsignal(each) for each in ASKING]
    monkeypatch.setattr("stdo.core.signals._ENDING", 0.5)
    monkeypatch.setattr("stdo.core.signals.atexit.register", lambda call: call)
    with pytest.raises(Stopped) as stopped, heeded():
        ask(number)
    assert stopped.value.exit_code == 128 + number
    with heeded(), deferred() as asked:
        assert asked() is None
        ask(number)
        found = asked()
        assert found is not None and found.name == signal.Signals(number).name
        assert "stopping after these steps" in capsys.readouterr().err
        with pytest.raises(Stopped):
            ask(number)
    for _ in range(3):
        ask(number)  # nothing happens: it is ending
    time.sleep(0.6)
    heard: list[int] = []
    try:
        signal.signal(number, lambda number, frame: heard.append(number))
        with pytest.raises(Stopped), heeded():
            ask(number)
        time.sleep(0.6)
        ask(number)
        assert heard == [number], "whoever has caught the end is asked again"
    finally:
        for each, handler in zip(ASKING, before, strict=True):
            signal.signal(each, handler)


def test_other_threads_may_defer_and_are_never_asked() -> None:
    found = []

    def work() -> None:
        with deferred() as asked:
            found.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert found == [None]
