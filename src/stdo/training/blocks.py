"""Blocks: several optimizer steps for each batch that Lightning sees."""

from collections.abc import Callable, Iterator

from torch.utils.data import Sampler

from stdo.chunks.sample import Sampler as PatchSampler

WATCH_EVERY = 10
"""Steps between points of the training curve: for people to watch, and not worth a pass over the
pixels each time."""

LONGEST = 64
"""Patches in a block of more than one step: held in memory together, and shown before anybody can
stop the fit."""


def is_watched(step: int, steps: int) -> bool:
    """Whether this step of so many is a point of the training curve."""
    return step in (0, steps - 1) or (step + 1) % WATCH_EVERY == 0


class Blocks(Sampler[list[int]]):
    """The steps of a fit in order, in blocks, from where a resumed fit stands.

    A block ends with a point of the curve, before it has too many patches, and before a step whose
    patches depend on those before it. The length counts
    the blocks that are done as well: Lightning ends a fit when it has seen so many, whatever was in
    them. A resumed fit may have other blocks than those before it, as it may validate elsewhere.

    Args:
        sampler: Of the patches.
        first: Where the fit stands, the first step of a block.
        single: Each block has one step: callbacks see every step.
        ends: Whether a block ends where so many steps are done.
        done: Blocks before the first one, as Lightning has counted them.
    """

    def __init__(
        self,
        sampler: PatchSampler,
        first: int,
        single: bool = False,
        ends: Callable[[int], bool] = lambda _: False,
        done: int = 0,
    ) -> None:
        self._sampler, self._first, self._done = sampler, first, done
        self._single, self._ends_at = single, ends

    def __len__(self) -> int:
        return self._done + sum(1 for _ in self._blocks(self._first))

    def __iter__(self) -> Iterator[list[int]]:
        return self._blocks(self._first)

    def _blocks(self, step: int) -> Iterator[list[int]]:
        while step < self._sampler.steps:
            block = [step]
            while not self._ends(block):
                block.append(block[-1] + 1)
            yield block
            step += len(block)

    def _ends(self, block: list[int]) -> bool:
        last = block[-1]
        full = (len(block) + 1) * self._sampler.shown > LONGEST
        watched = is_watched(last, self._sampler.steps)
        waited = self._sampler.waits(last + 1)
        return full or watched or waited or self._single or self._ends_at(last + 1)
