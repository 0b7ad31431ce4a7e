"""The sampler that trains one network per step and divides the steps as asked."""

from collections.abc import Sequence

import numpy as np

from stdo.chunks.sample import Uniform
from stdo.core.types import I64, Json, UserError


class Turns(Uniform):
    """Each step shows patches to one learner, to some of them more often: the work is divided as
    one likes.

    Each learner's steps are spread evenly over the fit, so that all go through the same learning
    rates.

    Args:
        label_N: The chunk of each patch, int64.
        learner_N: The learner that learns from each patch, int64; negative for none.
        batch: Patches per step.
        passes: Presentations as a multiple of N.
        seed: Of the order of patches.
        step_shares: One number for each chunk, 0 or more, on any scale; 0 leaves a network as it
            starts. Chunks that no network learns from have none. None: 1, 1/2, 1/3 … from the
            hardest chunk to the easiest, which for four is 48, 24, 16 and 12 %.

    Raises:
        UserError: ``step_shares`` is not one number for each chunk, or leaves no work to any
            network.
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
        step_shares: Sequence[float] | None = None,
    ) -> None:
        super().__init__(label_N, learner_N, batch=batch, passes=passes, seed=seed)
        label_C, first = np.unique(label_N, return_index=True)
        asked = list(
            map(float, 1 / np.arange(1, len(label_C) + 1) if step_shares is None else step_shares)
        )
        if len(asked) != len(label_C):
            raise UserError(
                f"sampler.step_shares={asked}: must be {len(label_C)} numbers, one for each chunk"
            )
        learner_C = learner_N[first]
        shares = np.bincount(
            learner_C[learner_C >= 0], np.array(asked)[learner_C >= 0], self.learners
        )
        if not shares.any():
            raise UserError(f"sampler.step_shares={asked}: leaves no work to any network")
        self.counts = apportion(self.steps, shares.tolist())
        when = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in self.counts])
        order = np.argsort(when, kind="stable")
        self._learner_S = np.repeat(np.arange(self.learners), self.counts)[order]
        self._own_S = np.concatenate([np.arange(count) for count in self.counts])[order]

    @property
    def facts(self) -> Json:
        """The share of the steps that each learner has."""
        return {"step_shares": [count / sum(self.counts) for count in self.counts]}

    def batch(self, step: int) -> I64:
        """See `Sampler.batch`."""
        assert 0 <= step < self.steps, step
        return self._draw(int(self._learner_S[step]), int(self._own_S[step]))


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
