"""Decode and compute in a separate process that can be killed.

That process (`stdo.player.inside`) has the open package, memory for some frames that both share,
and a pipe. It may open no file to write, no network, and allocate no more than its share
(`stdo.player.memory`).
"""

import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import numpy as np

from stdo.core.types import U8, UserError
from stdo.package.container import Package

_LONGEST = 1 << 16
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from stdo.player.inside import "
    "main; main()"
)


class Isolated:
    """The processes of one player: as a rule one, and another where it is iterated over before the
    last one is done.

    Args:
        package: Open, and checked as far as its manifest goes.
        shape: Of the shared frames: how many, height, width, 3.
        memory: Bytes that a process may allocate.
        wait: Seconds after which a frame that does not come counts as lost.
        settings: Of `stdo.player.client.Player`, as JSON can hold them.

    Raises:
        UserError: The package turns out bad.
    """

    def __init__(
        self,
        package: Package,
        shape: tuple[int, ...],
        memory: int,
        wait: float,
        settings: Mapping[str, Any],
    ) -> None:
        self._package, self._shape, self._memory, self._wait = package, shape, memory, wait
        self._settings = dict(settings)
        self._idle: list[_Process] = [self._started()]
        self.notes: tuple[str, ...] = self._idle[0].notes
        self.peak = 0
        """Bytes of resident memory that a process had at most, as far as known."""

    def frames(self, count: int) -> Iterator[U8]:
        """All frames in order, (height, width, 3); each is lent until the next one is asked for."""
        process = self._idle.pop() if self._idle else self._started()
        done = False
        try:
            process.send({"do": "play"})
            for _ in range(count):
                slot = process.receive(self._wait)["slot"]
                yield process.frames[slot]
                process.send({"free": slot})
            done = True
        finally:
            self.peak = max(self.peak, process.peak())
            if done:
                self._idle.append(process)
            else:
                process.kill()

    def stages(self) -> list[float]:
        """What `stdo.player.speed.stages` measures there."""
        process = self._idle.pop() if self._idle else self._started()
        try:
            process.send({"do": "stages"})
            found: list[float] = process.receive(self._wait)["stages"]
            return found
        finally:
            self.peak = max(self.peak, process.peak())
            process.kill()

    def _started(self) -> "_Process":
        return _Process(self._package, self._shape, self._memory, self._wait, self._settings)


class _Process:
    """One process, ready to play. It ends with this object, by `kill`, or with the process that
    holds this object."""

    def __init__(
        self,
        package: Package,
        shape: tuple[int, ...],
        memory: int,
        wait: float,
        settings: Mapping[str, Any],
    ) -> None:
        self._path, self._memory = package.path, memory
        files, size = package.descriptors, int(np.prod(shape))
        descriptor = _shared(size)
        try:
            self.frames: U8 = np.frombuffer(mmap.mmap(descriptor, size), np.uint8).reshape(shape)
            self._pipe, theirs = Pipe()
            with theirs:
                self._process = _process(theirs.fileno(), [descriptor, *files.values()])
        finally:
            os.close(descriptor)
        self._end = weakref.finalize(self, _kill, self._process, self._pipe)
        try:
            told = {
                "path": str(package.path),
                "files": files,
                "frames": descriptor,
                "memory": memory,
            }
            self.send(told | dict(settings))
            self.notes = tuple(self.receive(wait)["ready"])
        except BaseException:
            self.kill()
            raise

    def send(self, message: Mapping[str, Any]) -> None:
        """Tell it something. Raises UserError, with the last that it said, where it is gone."""
        try:
            self._pipe.send_bytes(json.dumps(message).encode())
        except OSError:
            while True:  # frames that it had finished come before its reason
                self.receive(0)

    def receive(self, wait: float) -> dict[str, Any]:
        """What it says next. Raises UserError where it found the package bad, is gone, or says
        nothing in time."""
        try:
            if not self._pipe.poll(wait):
                raise UserError(f"{self._path}: a frame did not come within {wait:g} s")
            message: dict[str, Any] = json.loads(self._pipe.recv_bytes(_LONGEST))
        except (OSError, EOFError):
            raise self._ended() from None
        if "error" in message:
            raise UserError(message["error"])
        if "memory" in message:
            raise UserError(
                f"{self._path}: needs more memory than the {self._memory >> 20} MiB that it "
                "may take"
            )
        return message

    def peak(self) -> int:
        """Bytes of resident memory that it had at most; 0 where the kernel does not tell."""
        try:
            lines = (
                Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8").splitlines()
            )
        except OSError:
            return 0
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)

    def kill(self) -> None:
        """End it now, whatever it is doing."""
        self._end()

    def _ended(self) -> UserError:
        code = self._process.wait(10)
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        share = f"it may take {self._memory >> 20} MiB"
        return UserError(
            f"{self._path}: cannot be played: the process that decodes it ended {how} ({share})"
        )


def _process(pipe: int, files: list[int]) -> "subprocess.Popen[bytes]":
    """Start Python as it runs here, without the current folder in its path."""
    here = {"", str(Path.cwd())} - {str(Path(__file__).parents[2])}
    path = json.dumps([each for each in sys.path if each not in here])
    # What native code prints, such as the last words of an allocator, is no line of ours.
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-c", _START, str(pipe), path],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[pipe, *files],
        env=os.environ
        | {
            "MALLOC_ARENA_MAX": "2"
        },  # glibc keeps much that is free where each thread has its own heap
    )


def _kill(process: "subprocess.Popen[bytes]", pipe: "Connection[Any, Any]") -> None:
    process.kill()
    process.wait()
    pipe.close()
    if process.stdin:
        process.stdin.close()


def _shared(size: int) -> int:
    """A descriptor of memory that two processes can map, and neither can shorten under the other's
    hands."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            return os.dup(file.fileno())
    import fcntl

    descriptor = os.memfd_create("stdo-play", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor
