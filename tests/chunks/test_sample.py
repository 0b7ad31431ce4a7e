"""The samplers: equal work, nothing forgotten, the ratios asked for, the same draws wherever a fit
resumes."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from stdo.chunks.sample import Ratios, Sampler, Uniform, Weighted, decay, joint_counts
from stdo.core.types import UserError

SIZES = [30, 40, 20, 10]
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), SIZES))
ONE = np.zeros(len(LABELS), np.int64)
KINDS = {
    "uniform": Uniform,
    "ratios": partial(Ratios, ratios=[1, 0.5, 0.25, 0]),
    "resampled": partial(Ratios, ratios=[1, 0.5, 0.25, 0], resample=True),
    "weighted": partial(Weighted, weights=[4, 2, 1, 0]),
}


def draws(sampler: Sampler) -> np.ndarray:
    return np.stack([sampler.batch(step) for step in range(sampler.steps)])


def uniform(learner_N: np.ndarray, batch: int, passes: float, seed: int = 0) -> Uniform:
    return Uniform(learner_N, learner_N, batch=batch, passes=passes, seed=seed)


@pytest.mark.parametrize("sizes", [[40], [20, 20], [13, 14, 13], [3, 30]])
def test_each_network_sees_only_and_all_of_its_patches(sizes: list[int]) -> None:
    network_N = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    sampler = uniform(network_N, 5, 7, seed=1)
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
    sampler = uniform(np.arange(640) % networks, 16, passes)
    assert sampler.presentations == 640 * passes
    assert draws(sampler).size == sampler.presentations


def test_draws_depend_on_seed_and_step_alone() -> None:
    network_N = np.arange(30) % 2
    one, two = (uniform(network_N, 4, 5, seed=3) for _ in range(2))
    backwards = np.stack([two.batch(step) for step in reversed(range(two.steps))])[::-1]
    assert np.array_equal(draws(one), backwards)
    assert not np.array_equal(draws(one), draws(uniform(network_N, 4, 5, seed=4)))


def test_passes_are_shuffled_anew() -> None:
    shown = draws(uniform(np.zeros(50, int), 50, 2))
    assert not np.array_equal(shown[0], shown[1])


@pytest.mark.parametrize(
    ("batch", "passes", "said"), [(0, 1, "budget.batch=0"), (1, 0, "budget.passes=0")]
)
def test_impossible_budgets_are_refused(batch: int, passes: float, said: str) -> None:
    with pytest.raises(UserError, match=said):
        uniform(np.zeros(4, int), batch, passes)


@pytest.mark.parametrize("kind", KINDS)
def test_every_sampler_does_equal_work_from_seed_and_step_alone(kind: str) -> None:
    make = partial(KINDS[kind], LABELS, ONE, batch=4, passes=5)
    one, two = make(seed=3), make(seed=3)
    assert one.presentations == 500
    backwards = np.stack([two.batch(step) for step in reversed(range(two.steps))])[::-1]
    assert np.array_equal(draws(one), backwards)
    assert not np.array_equal(draws(one), draws(make(seed=4)))
    assert (
        one.chunk_presentations() == np.bincount(LABELS[draws(one).ravel()], minlength=4).tolist()
    )


class TestRatios:
    def test_show_all_of_the_first_chunk_and_none_of_the_last(self) -> None:
        sampler = Ratios(LABELS, ONE, batch=5, passes=4, seed=0, ratios=[1, 0.5, 0.25, 0])
        shown = np.unique(draws(sampler))
        assert [int((LABELS[shown] == c).sum()) for c in range(4)] == [30, 20, 5, 0]
        assert sampler.facts == {"ratios": [1.0, 0.5, 0.25, 0.0], "joint_size": 55}

    def test_each_patch_of_the_set_is_shown_equally_often(self) -> None:
        sampler = Ratios(LABELS, ONE, batch=5, passes=11, seed=0, ratios=[1, 0.5, 0.25, 0])
        counts = np.bincount(draws(sampler).ravel())
        assert set(counts[counts > 0]) == {1100 // 55}

    def test_resampling_draws_another_subset_each_pass_over_it(self) -> None:
        passes = draws(
            Ratios(
                LABELS, ONE, batch=55, passes=2.2, seed=0, ratios=[1, 0.5, 0.25, 0], resample=True
            )
        )
        assert all(
            np.bincount(LABELS[each], minlength=4).tolist() == [30, 20, 5, 0] for each in passes
        )
        middle = [set(each[LABELS[each] == 1]) for each in passes]
        assert all(a != b for a, b in pairwise(middle))
        once = draws(Ratios(LABELS, ONE, batch=55, passes=2.2, seed=0, ratios=[1, 0.5, 0.25, 0]))
        assert all(set(each) == set(once[0]) for each in once)

    @pytest.mark.parametrize(
        ("size", "counts"), [(70, [30, 32, 8, 0]), (0.7, [30, 32, 8, 0]), (90, [30, 40, 20, 0])]
    )
    def test_size_is_met_exactly_and_scales_the_middle(
        self, size: float, counts: list[int]
    ) -> None:
        assert joint_counts(SIZES, [1, 0.5, 0.25, 0], size) == counts

    def test_size_is_exact_for_any_ratios(self) -> None:
        rng = np.random.default_rng(1)
        for _ in range(300):
            k = int(rng.integers(2, 9))
            sizes, ratios = (
                rng.integers(1, 60, k).tolist(),
                [1.0, *rng.uniform(0.05, 1, k - 2), 0.0],
            )
            size = int(rng.integers(sizes[0], sum(sizes[:-1]) + 1))
            counts = joint_counts(sizes, ratios, size)
            assert sum(counts) == size
            assert counts[0] == sizes[0] and counts[-1] == 0
            assert all(0 <= count <= most for count, most in zip(counts, sizes, strict=True))

    def test_decay_makes_ratios_for_any_number_of_chunks(self) -> None:
        assert decay(4) == [1, 0.5, 0.25, 0]
        for chunks in range(2, 12):
            ratios = decay(chunks, 0.7)
            assert len(ratios) == chunks
            assert ratios[0] == 1 and ratios[-1] == 0
            assert all(a > b for a, b in pairwise(ratios))
        sampler = Ratios(LABELS, ONE, batch=4, passes=1, seed=0)
        assert sampler.facts["ratios"] == [1, 0.5, 0.25, 0]

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"ratios": [1, 0.5]}, "must be 4 numbers"),
            ({"ratios": [1, 0.5, -0.1, 0]}, "from 0 to 1"),
            ({"ratios": [1.1, 0.5, 0, 0]}, "from 0 to 1"),
            ({"ratios": [0, 0, 0, 0]}, "not all 0"),
            ({"ratios": [float("nan"), 1, 0, 0]}, "from 0 to 1"),
            ({"size": 101}, "sampler.size=101: must be from 1 to the video's 100 patches"),
            ({"size": 1.5}, "sampler.size=1.5: must be"),
            ({"size": 20}, "sampler.size=20: 20 patches; with ratios .* from 30 to 90"),
            ({"size": 95}, "from 30 to 90"),
        ],
    )
    def test_impossible_sets_are_refused(self, settings: dict, said: str) -> None:
        with pytest.raises(UserError, match=said):
            Ratios(LABELS, ONE, batch=4, passes=1, seed=0, **settings)

    def test_a_network_that_would_see_nothing_is_refused(self) -> None:
        with pytest.raises(UserError, match="network 3 would see no patch; use sharing=single"):
            Ratios(LABELS, LABELS, batch=4, passes=1, seed=0)
        with pytest.raises(UserError, match="network 2 would see no patch"):
            Weighted(LABELS, LABELS, batch=4, passes=1, seed=0, weights=[1, 1, 0, 1])


class TestWeighted:
    def test_frequencies_follow_the_weights(self) -> None:
        shown = draws(Weighted(LABELS, ONE, batch=10, passes=300, seed=0, weights=[4, 2, 1, 0]))
        per_patch = np.bincount(shown.ravel(), minlength=len(LABELS))
        means = [per_patch[c == LABELS].mean() for c in range(4)]
        np.testing.assert_allclose(np.array(means) / means[2], [4, 2, 1, 0], rtol=0.05)
        assert (per_patch[LABELS < 3] > 0).all(), "every patch may be drawn"

    def test_weights_fall_evenly_by_default_and_fit_the_chunks(self) -> None:
        assert Weighted(LABELS, ONE, batch=1, passes=1, seed=0).facts == {"weights": [4, 3, 2, 1]}
        with pytest.raises(UserError, match="must be 4 numbers"):
            Weighted(LABELS, ONE, batch=1, passes=1, seed=0, weights=[1, 2])
