"""The uniform sampler: equal work, no patch forgotten, the same draws wherever a fit resumes."""

import numpy as np
import pytest

from stdo.chunks.sample import Uniform
from stdo.types import UserError


def draws(sampler: Uniform) -> np.ndarray:
    return np.stack([sampler.batch(step) for step in range(sampler.steps)])


@pytest.mark.parametrize("sizes", [[40], [20, 20], [13, 14, 13], [3, 30]])
def test_each_network_sees_only_and_all_of_its_patches(sizes: list[int]) -> None:
    network_N = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    sampler = Uniform(network_N, batch=5, passes=7, seed=1)
    shown = draws(sampler)
    for network, size in enumerate(sizes):
        mine = shown[:, network * 5 : (network + 1) * 5].ravel()
        assert (network_N[mine] == network).all()
        counts = np.bincount(mine, minlength=len(network_N))[network_N == network]
        assert counts.max() - counts.min() <= 1, "uniform: every patch equally often"
        first_pass = mine[:size]
        assert len(np.unique(first_pass)) == size, "no repeat within a pass"


@pytest.mark.parametrize("networks", [1, 2, 4])
@pytest.mark.parametrize("passes", [0.5, 1, 3])
def test_presentations_are_equal_for_every_number_of_networks(networks: int, passes: float) -> None:
    sampler = Uniform(np.arange(640) % networks, batch=16, passes=passes, seed=0)
    assert sampler.presentations == 640 * passes
    assert draws(sampler).size == sampler.presentations


def test_draws_depend_on_seed_and_step_alone() -> None:
    network_N = np.arange(30) % 2
    one, two = Uniform(network_N, 4, 5, seed=3), Uniform(network_N, 4, 5, seed=3)
    backwards = np.stack([two.batch(step) for step in reversed(range(two.steps))])[::-1]
    assert np.array_equal(draws(one), backwards)
    assert not np.array_equal(draws(one), draws(Uniform(network_N, 4, 5, seed=4)))


def test_passes_are_shuffled_anew() -> None:
    shown = draws(Uniform(np.zeros(50, int), batch=50, passes=2, seed=0))
    assert not np.array_equal(shown[0], shown[1])


@pytest.mark.parametrize(("batch", "passes", "said"), [(0, 1, "budget.batch=0"), (1, 0, "budget.passes=0")])
def test_impossible_budgets_are_refused(batch: int, passes: float, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Uniform(np.zeros(4, int), batch, passes, 0)
