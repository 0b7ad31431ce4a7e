"""How heavy packages are imported."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_SIGNAL = "scipy.signal"


@contextmanager
def quickly() -> Iterator[None]:
    """Import Lightning and what it needs in three quarters of the time; nothing else behaves otherwise."""
    with _uncollected(), _without_signal():
        yield


@contextmanager
def _uncollected() -> Iterator[None]:
    """Import without the garbage collector: it walks all that is being made, finds nothing, and takes half a second.

    Nor does it walk what was imported ever again: modules stay, and a collection takes a third of a second with them.
    """
    known = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
        gc.enable()


@contextmanager
def _without_signal() -> Iterator[None]:
    """Hold a place for scipy.signal, which torchmetrics imports, where it is installed, to add one old name to it.

    That takes half a second and more. Whoever imports scipy.signal afterwards gets it, without the old name.
    """
    if _SIGNAL in sys.modules:
        yield
        return
    place = ModuleType(_SIGNAL)
    place.__dict__["hamming"] = None  # the old name: torchmetrics leaves it alone where it is there
    sys.modules[_SIGNAL] = place
    try:
        yield
    finally:
        del sys.modules[_SIGNAL]
