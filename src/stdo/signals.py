"""Being asked to stop: Ctrl-C, SIGTERM, and what a cluster sends before it takes the machine away."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""SIGUSR1 is what Slurm's ``--signal`` is commonly set to."""

Handler = Callable[[int, FrameType | None], None]


class Stopped(BaseException):
    """Somebody asked the program to stop. Not an Exception: nothing that mends mistakes may swallow it."""

    def __init__(self, number: int) -> None:
        self.name = signal.Signals(number).name
        self.exit_code = 128 + number
        super().__init__(self.name)


@contextmanager
def heeded() -> Iterator[None]:
    """Within the block, being asked to stop raises `Stopped` wherever the program is."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise Stopped(number)

    with _handled_by(stop):
        yield


@contextmanager
def deferred() -> Iterator[Callable[[], Stopped | None]]:
    """Within the block, being asked to stop is only noted, for the block to stop where nothing is lost.

    Yields a function that returns what to raise, or None. Who asks twice is not made to wait: `Stopped` is raised at
    once. Outside of the main thread, which alone gets signals, nobody ever asks.
    """
    asked: list[Stopped] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if asked:
            raise Stopped(number)
        asked.append(Stopped(number))
        sys.stderr.write(f"\n{asked[0].name}: stopping after these steps; once more stops at once\n")

    with _handled_by(note):
        yield lambda: asked[0] if asked else None


@contextmanager
def heeded_twice() -> Iterator[None]:
    """`heeded`, and whoever asks twice is not made to wait, not even for native code that hears of no signal.

    The process ends then without another word. What it was writing keeps its temporary name, and goes when the same
    thing is written again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard, told = os.pipe()
    os.set_blocking(told, False)

    def watch() -> None:
        asked = 0
        while numbers := os.read(heard, 1):
            asked += numbers[0] in ASKING
            if asked > 1:
                os._exit(128 + numbers[0])
        os.close(heard)

    threading.Thread(target=watch, daemon=True).start()
    before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    try:
        with heeded():
            yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(told)


@contextmanager
def _handled_by(handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in ASKING}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
