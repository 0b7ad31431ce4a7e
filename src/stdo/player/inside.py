"""The process that decodes and computes for `stdo.player.isolated`: confined, and heard through one
pipe alone.

Commands come in and answers go out as JSON; pixels go into memory that both processes share.
"""

import json
import mmap
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from stdo.core.signals import ASKING
from stdo.core.types import U8, UserError
from stdo.package.container import Package, complaints
from stdo.player.client import WAIT, Player
from stdo.player.confine import confine
from stdo.player.speed import stages

LONGEST = 1 << 16
"""Bytes of a message."""
NOBODY = 3
"""Exit code where the other process is gone, or does not listen any more."""


def main() -> None:
    """Serve the process that started this one until it is done, or gone. Its settings are the first
    message."""
    for number in ASKING:  # Ctrl-C reaches both processes; the other one decides
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    parent = Connection(int(sys.argv[1]))
    settings = _received(parent)
    try:
        notes = confine(settings["memory"])
        player = _player(settings)
        send(parent, {"ready": notes})
        while True:
            command = _received(parent)["do"]
            with complaints(player.package.path):
                if command == "stages":
                    send(parent, {"stages": stages(player)})
                else:
                    _play(player, parent, _frames(player, settings["frames"]))
    except UserError as error:
        send(parent, {"error": str(error)})
    except MemoryError:
        send(parent, {"memory": True})
    except RuntimeError as error:  # Python has no other for a thread whose stack finds no memory
        short = "can't start new thread" in str(error)
        send(parent, {"memory": True} if short else {"error": _broken(settings["path"], error)})
    except Exception as error:  # whatever a hostile package has broken is told in one line
        send(parent, {"error": _broken(settings["path"], error)})
    os._exit(0)  # threads may be at a frame


def _broken(path: str, error: Exception) -> str:
    return f"{path}: cannot be played ({type(error).__name__}: {str(error)[:200]})"


def _received(connection: "Connection[Any, Any]") -> dict[str, Any]:
    """The next message; the end of this process where nobody wants more. FFmpeg has an EOFError of
    its own."""
    try:
        message: dict[str, Any] = json.loads(connection.recv_bytes(LONGEST))
    except (EOFError, OSError):
        os._exit(NOBODY)
    return message


def send(connection: "Connection[Any, Any]", message: dict[str, Any]) -> None:
    """Send a message as JSON; nothing where nobody listens any more."""
    try:
        connection.send_bytes(json.dumps(message).encode())
    except OSError:
        os._exit(NOBODY)


def _end_with_parent() -> None:
    """The other process holds the far end of stdin, and the kernel closes it with that process."""
    while os.read(0, 1):
        pass
    os._exit(NOBODY)


def _player(settings: dict[str, Any]) -> Player:
    package = Package.held(Path(settings["path"]), settings["files"])
    return Player(
        package,
        start=Fraction(settings["start"]),
        duration=None if settings["duration"] is None else Fraction(settings["duration"]),
        max_network_bytes=settings["max_network_bytes"],
        threads=settings["threads"],
        precision=settings["precision"],
        device=settings["device"],
    )


def _frames(player: Player, descriptor: int) -> U8:
    """The shared frames, (held, height, width, 3)."""
    source = player.manifest.source
    shape = player.held, source.height, source.width, 3
    return np.frombuffer(mmap.mmap(descriptor, int(np.prod(shape))), np.uint8).reshape(shape)


def _play(player: Player, parent: "Connection[Any, Any]", frames: U8) -> None:
    """Compute all frames of the span in order, each into a slot that the other process has given
    back."""
    free = deque(range(len(frames)))
    pending: deque[tuple[int, Future[U8]]] = deque()
    pool = ThreadPoolExecutor(player.threads, thread_name_prefix="stdo-play")

    def deliver() -> None:
        slot, future = pending.popleft()
        future.result(timeout=WAIT)
        send(parent, {"slot": slot})

    for lr_HWC, labels_RC in _with_labels(player):
        while not free:
            if pending:
                deliver()
            while not free and (not pending or parent.poll()):
                free.append(_received(parent)["free"])
        slot = free.popleft()
        pending.append((slot, pool.submit(player.frame, lr_HWC, labels_RC, frames[slot])))
    while pending:
        deliver()
    while len(free) < len(frames):  # what is sent next answers the next command
        free.append(_received(parent)["free"])
    pool.shutdown()


def _with_labels(player: Player) -> Iterator[tuple[U8, Any]]:
    for t, lr_HWC in zip(player.span, player.lr.frames(player.span.start), strict=False):
        yield lr_HWC, player.labels[t]


if __name__ == "__main__":
    main()
