"""Import heavy packages quickly."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def lacking(error: ModuleNotFoundError) -> str | None:
    """What to install where a package of the extra ``train`` is missing; None where a module of
    stdo itself is."""
    if error.name is None or error.name.partition(".")[0] == "stdo":
        return None
    return (
        f"needs {error.name}, which is not installed; in a checkout of stdo: "
        "pip install -c constraints.txt '.[train]'"
    )


@contextmanager
def quickly() -> Iterator[None]:
    """Import Lightning and what it needs without the garbage collector; nothing else behaves
    otherwise.

    The collector walks all that is being made, finds nothing, and takes half a second. Nor does it
    walk what was imported ever again: modules stay, and a collection takes a third of a second with
    them.
    """
    known = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
        gc.enable()
