"""Which steps a fit does in one go."""

from collections.abc import Iterator

from torch.utils.data import Sampler

WATCH_EVERY = 10
"""Steps between points of the training curve: for people to watch, and not worth a pass over the pixels each time."""

LONGEST = 64
"""Patches in a block of more than one step: held in memory together, and shown before anybody can stop the fit."""


def is_watched(step: int, steps: int) -> bool:
    """Whether this step of so many is a point of the training curve."""
    return step in (0, steps - 1) or (step + 1) % WATCH_EVERY == 0


class Blocks(Sampler[list[int]]):
    """The steps of a fit in order, in blocks, from where a resumed fit stands; the length stays that of the whole fit.

    A block ends with a point of the curve, and where the fit is to be looked at, and before it has too many patches.

    first: where the fit stands, the first step of a block. shown: patches in a step. pause: a block ends before this
    step.
    """

    def __init__(self, steps: int, first: int, shown: int, pause: int | None = None) -> None:
        self._first = first
        self._blocks: list[list[int]] = []
        for step in range(steps):
            full = not self._blocks or (len(self._blocks[-1]) + 1) * shown > LONGEST
            if full or step == pause or is_watched(step - 1, steps):
                self._blocks.append([])
            self._blocks[-1].append(step)

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[list[int]]:
        return (block for block in self._blocks if block[0] >= self._first)
