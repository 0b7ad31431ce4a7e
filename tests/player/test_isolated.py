"""The player's other process: the same pixels, and nothing that a package does there gets any
further."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from tiny_package import Made, changed, make

from stdo.core.types import UserError
from stdo.player import isolated
from stdo.player.client import Player
from stdo.player.confine import limited

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has these limits")


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path, frames=12, network_of=(0, 1, -1))


def children() -> list[psutil.Process]:
    """Processes that decode."""
    found = psutil.Process().children()
    return [each for each in found if "stdo.player.inside" in " ".join(each.cmdline())]


def test_the_same_frames_as_often_as_one_likes(made: Made) -> None:
    here, there = Player(made.path, threads=2), Player(made.path, threads=2, isolated=True)
    expected = list(here)
    for _ in range(2):
        played = list(there)
        assert [pts for pts, _ in played] == [pts for pts, _ in expected]
        assert all(
            np.array_equal(one, other)
            for (_, one), (_, other) in zip(played, expected, strict=True)
        )
    assert len(there) == 12 and len(children()) == 1, "one process serves all of them"


def test_a_stretch_with_few_networks(made: Made) -> None:
    settings = {"start": 0.1, "duration": 0.2, "max_network_bytes": 0, "threads": 1}
    expected, played = (
        list(Player(made.path, **settings)),
        list(Player(made.path, isolated=True, **settings)),
    )
    assert len(played) == len(expected) == 5
    assert all(
        np.array_equal(one, other) for (_, one), (_, other) in zip(played, expected, strict=True)
    )


def test_two_at_once_and_one_left_in_the_middle(made: Made) -> None:
    player = Player(made.path, threads=1, isolated=True)
    pairs = list(zip(player, player, strict=True))
    assert all(np.array_equal(one, other) for (_, one), (_, other) in pairs)
    next(iter(player))
    assert len(list(player)) == 12
    del player
    assert not children(), "they end with the player"


def test_a_bad_package_is_refused_in_the_same_words(made: Made, tmp_path: Path) -> None:
    for name in ("graph", "weights", "chunks", "lr"):
        bad = changed(made, tmp_path / "bad.stdo", **{name: b"\x07\0\0\0nonsense"})
        said = []
        for apart in (False, True):
            with pytest.raises(UserError) as caught:
                list(Player(bad, threads=1, isolated=apart))
            said.append(str(caught.value))
        assert said[0] == said[1] and "\n" not in said[0]
    assert not children()


def test_a_folder_is_read_by_its_open_files(made: Made, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(made.path) as archive:
        archive.extractall(tmp_path / "folder")
    player = Player(tmp_path / "folder", threads=1, isolated=True)
    expected = list(Player(made.path, threads=1))
    for each in (tmp_path / "folder").iterdir():
        each.unlink()
    assert all(
        np.array_equal(one, other) for (_, one), (_, other) in zip(player, expected, strict=True)
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_process_that_dies_is_one_line(number: signal.Signals, made: Made) -> None:
    player = Player(made.path, threads=1, isolated=True)
    frames = iter(player)
    next(frames)
    children()[-1].send_signal(number)
    with pytest.raises(UserError, match=f"cannot be played: .* ended by {number.name}") as caught:
        list(frames)
    assert "\n" not in str(caught.value) and str(made.path) in str(caught.value)
    assert len(list(player)) == 12, "another process takes its place"


def test_a_frame_that_does_not_come_in_time(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player(made.path, threads=1, isolated=True)
    assert player.apart is not None
    player.apart._wait = 0.5
    psutil.Process(player.apart._idle[0]._process.pid).suspend()
    began = time.monotonic()
    with pytest.raises(UserError, match=r"did not come within 0\.5 s"):
        list(player)
    assert time.monotonic() - began < 30


@LINUX
def test_more_memory_than_its_share_is_one_line(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stdo.player.client.of_decoder", lambda pixels, threads: 150 << 20)
    with pytest.raises(UserError, match=r"150 MiB") as caught:
        list(Player(made.path, threads=4, isolated=True))
    assert "\n" not in str(caught.value)


FORBIDDEN = {
    "a socket": "import socket; socket.socket()",
    "a connection": "import socket; socket.create_connection(('127.0.0.1', 9))",
    "a new file": "open('new', 'w')",
    "a file that is there": "open('old', 'r+')",
    "more of a file": "open('old', 'a')",
    "emptying a file": "import os; os.truncate('old', 0)",
    "removing a file": "import os; os.unlink('old')",
    "another name": "import os; os.rename('old', 'new')",
    "a link": "import os; os.link('old', 'new')",
    "a symbolic link": "import os; os.symlink('old', 'new')",
    "a folder": "import os; os.mkdir('new')",
    "other rights": "import os; os.chmod('old', 0o777)",
    "a program": "import subprocess; subprocess.run(['true'])",
    "a process": "import os; os.fork()",
    "a signal": "import os; os.kill(os.getppid(), 0)",
    "a higher limit": (
        "import resource; resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40))"
    ),
    "much memory": "bytearray(1 << 29)",
    "a core file": "import resource; assert resource.getrlimit(resource.RLIMIT_CORE)[1] > 0",
}
ALLOWED = {
    "reading": "assert open('old').read() == 'kept'",
    "a thread": "import threading; t = threading.Thread(target=print); t.start(); t.join()",
    "some memory": "bytearray(1 << 27)",
}


def confined(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run Python code in a process that confines itself first."""
    (folder / "old").write_text("kept")
    start = "import json; from stdo.player.confine import confine; assert confine(1 << 28) == []\n"
    return subprocess.run(
        [sys.executable, "-c", start + code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@LINUX
@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_a_confined_process_cannot_do(what: str, tmp_path: Path) -> None:
    pytest.importorskip("pyseccomp")
    done = confined(FORBIDDEN[what], tmp_path)
    assert done.returncode == 1, "an error of Python's, and not a death"
    assert "Error" in done.stderr and "assert confine" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["old"] and (
        tmp_path / "old"
    ).read_text() == "kept"


@LINUX
@pytest.mark.parametrize("what", ALLOWED)
def test_what_it_can_do(what: str, tmp_path: Path) -> None:
    pytest.importorskip("pyseccomp")
    assert confined(ALLOWED[what], tmp_path).returncode == 0


def test_without_the_library_there_is_a_note(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "pyseccomp.py").write_text("raise ModuleNotFoundError('pyseccomp')\n")
    monkeypatch.syspath_prepend(str(tmp_path / "none"))
    player = Player(made.path, threads=1, isolated=True)
    assert any("pyseccomp is not installed" in note for note in player.notes)
    assert len(list(player)) == 12


@LINUX
def test_memory_is_limited_for_a_block_and_free_again() -> None:
    with limited(1 << 27), pytest.raises(MemoryError):
        bytearray(1 << 29)
    assert len(bytearray(1 << 29)) == 1 << 29


def test_it_ends_when_the_process_that_started_it_is_killed(made: Made) -> None:
    code = (
        "import json, sys, time\nfrom stdo.player.client import Player\n"
        f"player = Player({str(made.path)!r}, threads=1, isolated=True)\n"
        "frames = iter(player); next(frames)\n"
        "print(json.dumps(1))\n"
        "sys.stdout.flush(); time.sleep(600)"
    )
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert started.stdout is not None
        json.loads(started.stdout.readline())
        (child,) = psutil.Process(started.pid).children()
    finally:
        started.kill()
        started.wait()
    child.wait(60)


def test_a_stranger_in_the_pipe_is_bounded(made: Made) -> None:
    """Whatever the other process sends, a message has at most so many bytes, and pixels are all
    that is shared."""
    assert isolated._LONGEST <= 1 << 16
    player = Player(made.path, threads=1, isolated=True)
    for _, rgb_HWC in player.lent():
        assert rgb_HWC.dtype == np.uint8 and rgb_HWC.shape == (50, 70, 3)
    assert os.getpid() not in [each.pid for each in children()]
