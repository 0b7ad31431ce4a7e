"""The sampler of a network that is trained chunk after chunk in time."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from stdo.chunks.sample import Sampler
from stdo.chunks.turns import apportion
from stdo.core.types import I64, Json, UserError


class InOrder(Sampler):
    """Shows the patches of the first chunk, then those of the second, and so on: each patch of a
    chunk once, in random order, then in a new order.

    All steps of the network of chunk c come before those of chunk c + 1. With ``behind=1`` it is
    shown what is known when its chunk begins, which is only patches of the chunks before: half of
    them or so (``recent``) of the last one, as LiveNAS prefers what is new. Then the first chunk's
    network is not trained.

    Args:
        label_N: The chunk of each patch, int64.
        learner_N: The learner that learns from each patch, int64: 0, there is one.
        batch: Patches per step.
        passes: Presentations as a multiple of N.
        seed: Of the order of patches.
        step_shares: Of each chunk's network, on any scale, more than 0; None: in proportion to the
            chunk's patches, with ``behind=1`` to those of the chunk before: a budget for each
            second of video.
        trial: Share of the steps of each network but the first that choose the weights of its
            update, from 0 to below 1.
        behind: Chunks that a network lags behind its own, 0 or 1.
        recent: With ``behind``, the share of the patches shown that are of the last chunk known,
            above 0, up to 1.
        hardest: Share of the patches of a frame that are shown, those of the lowest PSNR, above 0,
            up to 1; see `choose`.
        look_every: Each n-th frame's PSNR is looked at; the frames up to the next one show the same
            places.

    Raises:
        UserError: A setting is out of its range, or leaves a network without a step.
    """

    def __init__(
        self,
        label_N: I64,
        learner_N: I64,
        *,
        batch: int,
        passes: float,
        seed: int,
        step_shares: Sequence[float] | None = None,
        trial: float = 0.0,
        behind: int = 0,
        recent: float = 0.5,
        hardest: float = 1.0,
        look_every: int = 5,
    ) -> None:
        super().__init__(label_N, learner_N, batch=batch, passes=passes, seed=seed)
        self._members = [
            np.flatnonzero(label_N == label) for label in range(int(label_N.max()) + 1)
        ]
        self.trial, self.behind, self.recent = trial, behind, recent
        self.hardest, self.look_every = hardest, look_every
        self.chosen: dict[int, I64] = {}
        sizes = [len(members) for members in self._members]
        chunks = len(sizes)
        if len(step_shares or sizes) != chunks:
            raise UserError(
                f"sampler.step_shares={step_shares}: must be {chunks} numbers, one for each chunk"
            )
        if behind not in (0, 1) or chunks <= behind:
            raise UserError(
                f"sampler.behind={behind}: must be 0, or 1 where there are two chunks or more"
            )
        # A network that lags behind learns while the chunk before its own is shown
        usual = [0, *sizes[:-1]] if behind else sizes
        shares = [float(share) for share in step_shares or usual]
        shares[:behind] = [0.0] * behind
        if min(shares[behind:]) <= 0:
            raise UserError(f"sampler.step_shares={shares}: must be more than 0 for each chunk")
        self.network_steps = apportion(self.steps, shares)
        least = 2 if trial else 1
        if min(self.network_steps[behind:]) < least:
            smallest = min(shares[behind:]) / sum(shares)
            needed = 1.1 * least * batch / len(label_N) / smallest
            raise UserError(
                f"budget.passes={passes:g}: must be about {needed:.3g} or more for this video, so "
                f"that the network of each of {chunks} chunks has {least} steps or more"
            )
        self._starts = np.cumsum([0, *self.network_steps])
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def trial_steps(self, chunk: int) -> int:
        """How many of the first steps of a chunk's network choose the weights of its update."""
        if chunk == 0 or not self.trial:
            return 0
        steps = self.network_steps[chunk]
        return min(max(1, round(self.trial * steps)), steps - 1) if steps else 0

    def stretches(self) -> list[tuple[int, bool, "Stretch"]]:
        """The phases of the fit in order: chunk, whether it is a trial, and what it shows."""
        found = []
        for chunk, steps in enumerate(self.network_steps):
            first, trial = int(self._starts[chunk]), self.trial_steps(chunk)
            if trial:
                found.append((chunk, True, Stretch(self, first, trial)))
            if steps:
                found.append((chunk, False, Stretch(self, first + trial, steps - trial)))
        return found

    def choose(self, chunk: int, patch_N: I64) -> None:
        """Show the network of a chunk only these of the chunk's patches, from now on."""
        assert len(patch_N) and not self.behind, (chunk, patch_N)
        self.chosen[chunk] = patch_N
        self._order.cache_clear()

    @property
    def facts(self) -> Json:
        """The share of the steps that each chunk's network has."""
        return {"step_shares": [steps / self.steps for steps in self.network_steps]}

    def batch(self, step: int) -> I64:
        """See `Sampler.batch`."""
        assert 0 <= step < self.steps, step
        chunk = int(np.searchsorted(self._starts, step, side="right")) - 1
        own = step - int(self._starts[chunk])
        size = len(self._order(chunk, 0))
        places = np.arange(own * self.batch_size, (own + 1) * self.batch_size)
        turns, places = np.divmod(places, size)
        parts = [self._order(chunk, int(turn))[places[turns == turn]] for turn in np.unique(turns)]
        return np.concatenate(parts)

    def _shuffled(self, chunk: int, turn: int) -> I64:
        """The patches of one pass over what a chunk's network is shown; as many in each."""
        rng = np.random.default_rng((self.seed, chunk, turn))
        if not self.behind:
            return rng.permutation(self.chosen.get(chunk, self._members[chunk]))
        last, older = self._members[chunk - 1], self._members[: chunk - 1]
        if not older or self.recent == 1:
            return rng.permutation(last)
        wanted = round(len(last) * (1 - self.recent) / self.recent)
        drawn = rng.permutation(np.concatenate(older))[:wanted]
        return rng.permutation(np.concatenate([last, drawn]))


class Stretch(Sampler):
    """Some steps of a sampler, one after another.

    Args:
        whole: The sampler.
        first: Its step that is the first one here.
        steps: How many.
    """

    def __init__(self, whole: Sampler, first: int, steps: int) -> None:
        assert 0 <= first < first + steps <= whole.steps, (first, steps, whole.steps)
        self.batch_size, self.seed = whole.batch_size, whole.seed
        self.label_N, self.learner_N = whole.label_N, whole.learner_N
        self.learners, self.at_once = whole.learners, whole.at_once
        self.steps, self._whole, self._first = steps, whole, first

    @property
    def facts(self) -> Json:
        """Those of the whole."""
        return self._whole.facts

    def batch(self, step: int) -> I64:
        """See `Sampler.batch`."""
        assert 0 <= step < self.steps, step
        return self._whole.batch(self._first + step)
