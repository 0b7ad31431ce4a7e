"""Fits that are shorter than their budget says."""

from stdo.chunks.cuts import Cuts
from stdo.chunks.sample import Observer, Sampler
from stdo.core.types import I64, Json


class Shortened(Sampler):
    """The first steps of a sampler; counts are those of the steps that are done.

    Args:
        whole: As the budget asks for it.
        steps: How many of its steps are done.
        repeat: Show the patches of the first so many steps again and again; None: of each step.
    """

    def __init__(self, whole: Sampler, steps: int, repeat: int | None = None) -> None:
        assert 0 <= steps <= whole.steps, (steps, whole.steps)
        self.batch_size, self.seed = whole.batch_size, whole.seed
        self.label_N, self.learner_N = whole.label_N, whole.learner_N
        self.learners, self.at_once = whole.learners, whole.at_once
        self.steps, self._whole, self._repeat = steps, whole, repeat
        self.worth = whole.worth

    @property
    def facts(self) -> Json:
        """Those of the whole."""
        return self._whole.facts

    @property
    def online(self) -> Observer | None:
        """See `Sampler.online`."""
        return self._whole.online

    def waits(self, step: int) -> bool:
        """See `Sampler.waits`."""
        return self._whole.waits(step)

    def chunk_presentations(self, label_N: I64 | None = None) -> list[int]:
        """See `Sampler.chunk_presentations`."""
        if self.online:
            return self.online.chunk_presentations(label_N)
        return super().chunk_presentations(label_N)

    def batch(self, step: int) -> I64:
        """See `Sampler.batch`."""
        return self._whole.batch(self._of_whole(step))

    def cuts(self, step: int) -> Cuts | None:
        """See `Sampler.cuts`."""
        return self._whole.cuts(self._of_whole(step))

    def _of_whole(self, step: int) -> int:
        assert 0 <= step < self.steps, step
        return step % self._repeat if self._repeat else step


def planned(sampler: Sampler) -> int:
    """How many steps the budget asks for."""
    return planned(sampler._whole) if isinstance(sampler, Shortened) else sampler.steps
