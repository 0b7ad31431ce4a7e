"""Prefetch: compute the next items in a thread."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, Queue

from stdo.core.types import T

DEPTH = 3
"""Results that may wait: enough to even out slow frames, little memory."""


@contextmanager
def ahead(items: Iterable[T], depth: int = DEPTH) -> Iterator[Iterator[T]]:
    """The same items in the same order, made in a thread of their own, at most ``depth`` before
    they are asked for.

    What ``items`` raises is raised here. However the block ends, ``items`` is closed and the thread
    has ended with it.
    """
    made: Queue[tuple[T] | BaseException | None] = Queue(depth)
    stop = threading.Event()

    def make() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                made.put((item,))
                if stop.is_set():
                    break
            end = None
        except BaseException as error:  # raised again where the items are used
            end = error
        finally:
            getattr(iterator, "close", lambda: None)()
        made.put(end)

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    try:
        yield _until_end(made)
    finally:
        stop.set()
        while thread.is_alive():  # it may be waiting to hand over what nobody asks for any more
            with suppress(Empty):
                made.get(timeout=0.01)


def _until_end(made: "Queue[tuple[T] | BaseException | None]") -> Iterator[T]:
    while isinstance(found := made.get(), tuple):
        yield found[0]
    if found is not None:
        raise found
