"""Which patches are shown, and when. Samplers yield the numbers of patches, never pixels."""

import math
from functools import lru_cache

import numpy as np

from stdo.types import I64, UserError


class Uniform:
    """Every patch equally often, in a new random order each pass.

    Each step shows ``batch`` patches to every network, so that a fit of k networks is k separate fits side by side;
    the number of presentations is the same for every method (equal work): ``passes`` times the number of patches.
    Which patches a step shows depends on nothing but ``seed`` and the step's number, so a fit can resume anywhere.

    network_N: int64 (N,), the network that learns from each patch.
    batch: patches per network and step. passes: presentations as a multiple of N; may be a fraction.
    """

    def __init__(self, network_N: I64, batch: int, passes: float, seed: int) -> None:
        if batch < 1:
            raise UserError(f"budget.batch={batch}: must be 1 or more")
        if not 0 < passes < math.inf:
            raise UserError(f"budget.passes={passes}: must be more than 0")
        self.batch_size = batch
        self.seed = seed
        self._members = [np.flatnonzero(network_N == network) for network in range(int(network_N.max()) + 1)]
        assert all(len(members) for members in self._members), "a network without patches"
        self.steps = max(1, round(passes * len(network_N) / (batch * len(self._members))))
        self._order = lru_cache(maxsize=2 * len(self._members))(self._shuffled)

    @property
    def presentations(self) -> int:
        """Patches shown in the whole fit."""
        return self.steps * self.batch_size * len(self._members)

    def batch(self, step: int) -> I64:
        """Numbers of the patches of one step, int64 (networks · batch,), network after network."""
        assert 0 <= step < self.steps, step
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        return np.concatenate([self._draw(network, positions) for network in range(len(self._members))])

    def _draw(self, network: int, positions: I64) -> I64:
        turns, places = np.divmod(positions, len(self._members[network]))
        return np.array([self._order(network, int(turn))[place] for turn, place in zip(turns, places, strict=True)])

    def _shuffled(self, network: int, turn: int) -> I64:
        return np.random.default_rng((self.seed, network, turn)).permutation(self._members[network])
