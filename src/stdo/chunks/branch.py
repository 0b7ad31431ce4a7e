"""Samplers that show patches to one network at a time: the chunks' in turns, or one for all first and theirs then."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from stdo.chunks.sample import Sampler, Uniform
from stdo.core.types import I64, Json, UserError


class Turns(Uniform):
    """Each step shows patches to one learner, to some of them more often: the work is divided as one likes.

    Each learner's steps are spread evenly over the fit, so that all go through the same learning rates.

    work: of each chunk, 0 or more, on any scale; 0 leaves a network as it starts. Chunks that no network learns from
        have none. None: 1, 1/2, 1/3 … from the hardest chunk to the easiest, which for four is 48, 24, 16 and 12 %.
    """

    SIDE_BY_SIDE = False

    def __init__(
        self,
        label_N: I64,
        learner_N: I64,
        *,
        batch: int,
        passes: float,
        seed: int,
        work: Sequence[float] | None = None,
    ) -> None:
        super().__init__(label_N, learner_N, batch=batch, passes=passes, seed=seed)
        label_C, first = np.unique(label_N, return_index=True)
        asked = [1 / (i + 1) for i in range(len(label_C))] if work is None else [float(share) for share in work]
        if len(asked) != len(label_C):
            raise UserError(f"sampler.work={asked}: must be {len(label_C)} numbers, one for each chunk")
        learner_C = learner_N[first]
        shares = np.bincount(learner_C[learner_C >= 0], np.array(asked)[learner_C >= 0], self.learners)
        if not shares.any():
            raise UserError(f"sampler.work={asked}: leaves no work to any network")
        self.counts = apportion(self.steps, shares.tolist())
        when = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in self.counts])
        order = np.argsort(when, kind="stable")
        self._learner_S = np.repeat(np.arange(self.learners), self.counts)[order]
        self._own_S = np.concatenate([np.arange(count) for count in self.counts])[order]

    @property
    def facts(self) -> Json:
        """The share of the steps that each learner has."""
        return {"work": [count / sum(self.counts) for count in self.counts]}

    def batch(self, step: int) -> I64:
        """See `Sampler.batch`."""
        assert 0 <= step < self.steps, step
        return self._draw(int(self._learner_S[step]), int(self._own_S[step]))


class Branching(Sampler):
    """One network learns for all chunks first; then chunks that are made anew have their own, see `branch`.

    share: of the steps that are the one network's, between 0 and 1. first: makes the sampler that shows it patches.
    then: makes the sampler of the chunks' networks, which must show patches to one learner at a time.
    """

    SIDE_BY_SIDE = False

    def __init__(
        self,
        label_N: I64,
        learner_N: I64,
        *,
        batch: int,
        passes: float,
        seed: int,
        share: float,
        first: Callable[..., Sampler],
        then: Callable[..., Sampler],
    ) -> None:
        super().__init__(label_N, learner_N, batch=batch, passes=passes, seed=seed)
        self.first = first(label_N, np.zeros_like(learner_N), batch=batch, passes=share * passes, seed=seed)
        left = self.steps - self.first.steps
        if left < 1:
            least = least_passes(len(label_N), batch, share)
            raise UserError(
                f"budget.passes={passes:g}: must be at least {least:g} for this video with init=warm: one network has "
                f"init.share={share:g} of the steps, and each step shows budget.batch={batch} of {len(label_N)} patches"
            )
        self._then = partial(then, batch=batch, passes=left * batch / len(label_N), seed=seed)
        if self._then(label_N, learner_N).at_once != 1:
            raise UserError("init=warm: needs a sampler that shows patches to one network at a time: sampler=turns")
        self._second: Sampler | None = None

    def branch(self, label_N: I64, learner_N: I64) -> None:
        """Go on with these chunks and their learners, before a step after those of ``first`` is drawn."""
        self.label_N, self.learner_N = label_N, learner_N
        self._second = self._then(label_N, learner_N)

    @property
    def then(self) -> Sampler:
        """The sampler that follows the first one."""
        assert self._second is not None, "not branched yet"
        return self._second

    @property
    def facts(self) -> Json:
        """Those of both samplers, and how many steps were the one network's."""
        return self.first.facts | self.then.facts | {"branch_step": self.first.steps}

    def batch(self, step: int) -> I64:
        """See `Sampler.batch`."""
        here = self.first.steps
        return self.first.batch(step) if step < here else self.then.batch(step - here)


def least_passes(patches: int, batch: int, share: float) -> float:
    """The fewest passes, in four digits, with which `Branching` leaves a step to the chunks' networks.

    >>> least_passes(60, 4, 0.5), least_passes(60, 4, 0.9)
    (0.1334, 0.4)
    """
    steps = max(2, math.floor(0.5 / (1 - share)))
    while True:
        exact = steps * batch / patches
        digit = 10.0 ** (math.floor(math.log10(exact)) - 3)
        passes = float(f"{math.ceil(exact / digit) * digit:.4g}")
        all_of_them, first = (round(part * patches / batch) for part in (passes, share * passes))
        if all_of_them - max(1, first) >= 1:
            return passes
        steps += 1


def apportion(total: int, shares: Sequence[float]) -> list[int]:
    """Divide a number of steps by shares on any scale, by largest remainders: the sum is exact.

    >>> apportion(10, [50, 25, 15, 10]), apportion(7, [1, 1, 0])
    ([5, 3, 1, 1], [4, 3, 0])
    """
    exact = total * np.asarray(shares, float) / sum(shares)
    counts = np.floor(exact).astype(int)
    for i in np.argsort(counts - exact, kind="stable")[: total - counts.sum()]:
        counts[i] += 1
    return [int(count) for count in counts]
