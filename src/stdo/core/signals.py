"""Stop a fit cleanly on Ctrl-C, SIGTERM and a cluster's warning signal."""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""SIGUSR1 is what Slurm's ``--signal`` is commonly set to."""

_ENDING = 2.0
"""Seconds in which a program that was asked to stop has ended."""

Handler = Callable[[int, FrameType | None], None]
Before = Callable[[int, FrameType | None], Any] | int | None


class Stopped(BaseException):
    """Somebody asked the program to stop. Not an Exception: nothing that mends mistakes may swallow
    it."""

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
    """Within the block, being asked to stop is only noted, for the block to stop where nothing is
    lost.

    Yields a function that returns what to raise, or None. Who asks twice is not made to wait:
    `Stopped` is raised at once. Outside of the main thread, which alone gets signals, nobody ever
    asks.
    """
    asked: list[Stopped] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if asked:
            raise Stopped(number)
        asked.append(Stopped(number))
        sys.stderr.write(
            f"\n{asked[0].name}: stopping after these steps; once more stops at once\n"
        )

    with _handled_by(note):
        yield lambda: asked[0] if asked else None


@contextmanager
def heeded_twice() -> Iterator[None]:
    """`heeded`, and whoever asks twice is not made to wait, not even for native code that hears of
    no signal.

    The process ends then without another word. What it was writing keeps its temporary name, and
    goes when the same thing is written again.
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
    before: dict[int, Before] = {number: signal.signal(number, handler) for number in ASKING}
    after = before
    try:
        yield
    except Stopped:
        after = _unheard_for_a_while(before)
        raise
    finally:
        for number, old in after.items():
            signal.signal(number, old)


def _unheard_for_a_while(before: dict[int, Before]) -> dict[int, Before]:
    """Handlers for a program that was asked to stop and is ending: who asks again, as impatient
    people do, must change neither its exit code nor its last words. Whoever has caught its end,
    such as a notebook, gets `before` back."""
    until = time.monotonic() + _ENDING

    def unheard(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if time.monotonic() > until:
            signal.signal(number, before[number])
            signal.raise_signal(number)

    atexit.register(_ignore)  # handlers in Python are gone before the interpreter is
    return dict.fromkeys(before, unheard)


def _ignore() -> None:
    for number in ASKING:
        signal.signal(number, signal.SIG_IGN)
