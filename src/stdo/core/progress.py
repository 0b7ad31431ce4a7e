"""Progress bars on the terminal."""

from collections.abc import Iterable

from tqdm import tqdm

from stdo.core.locks import main_process
from stdo.core.types import T


def terminal(items: Iterable[T], total: int | None, label: str) -> Iterable[T]:
    """Progress with an ETA on the terminal, of the main process alone."""
    hidden = not main_process()
    bar: Iterable[T] = tqdm(
        items, total=total, desc=label, unit=" frames", dynamic_ncols=True, disable=hidden
    )
    return bar
