"""How heavy packages are imported."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Import without the garbage collector: it walks all that is being made, finds nothing, and takes half a second."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
