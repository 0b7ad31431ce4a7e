"""Random crops: any place, every frame and turn equally often, counted by their pixels."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from stdo.chunks.crops import Crops, turned, turns
from stdo.chunks.grid import PatchGrid
from stdo.chunks.sample import Uniform
from stdo.core.types import UserError
from stdo.training.shortened import Shortened

GRID = PatchGrid(25, 35, 10, 12, scale=2)
FRAMES, CHUNKS = 6, 3
LABELS = np.repeat(np.arange(FRAMES) * CHUNKS // FRAMES, GRID.patches)
ONE = np.zeros_like(LABELS)

DIHEDRAL = [
    lambda picture, quarters=quarters, mirrored=mirrored: np.rot90(
        picture[:, ::-1] if mirrored else picture, quarters
    )
    for mirrored in (False, True)
    for quarters in range(4)
]
"""The eight ways to turn a square, by numpy's own functions."""


def crops(learner_N: np.ndarray = ONE, *, seed: int = 0, passes: float = 4, **settings) -> Crops:
    settings = {"batch": 4, "grid": GRID, "crop": 9} | settings
    return Crops(LABELS, learner_N, passes=passes, seed=seed, **settings)


def way_of(turn: int) -> int:
    """The number of the way of `DIHEDRAL` that `turned` takes."""
    picture = np.random.default_rng(0).integers(0, 256, (7, 7, 3), np.uint8)
    made = turned(picture[None], np.array([turn]))[0]
    same = [np.array_equal(made, way(picture)) for way in DIHEDRAL]
    assert sum(same) == 1
    return same.index(True)


def test_each_turn_is_another_of_the_eight_ways_to_turn_a_square() -> None:
    assert sorted(way_of(turn) for turn in range(8)) == list(range(8))
    assert turns(False, False) == [0] and way_of(0) == 0
    assert sorted(map(way_of, turns(False, True))) == [0, 1, 2, 3]  # quarters, not mirrored
    # left to right, top to bottom, both (which is half a turn), neither
    mirrors = [lambda p: p, lambda p: p[:, ::-1], lambda p: p[::-1], lambda p: p[::-1, ::-1]]
    picture = np.arange(12).reshape(2, 2, 3)
    wanted = {mirror(picture).tobytes() for mirror in mirrors}
    assert {DIHEDRAL[way_of(turn)](picture).tobytes() for turn in turns(True, False)} == wanted
    assert turns(True, True) == list(range(8))


def test_pictures_of_a_batch_are_turned_each_in_its_own_way() -> None:
    rng = np.random.default_rng(1)
    pictures, turn_B = rng.integers(0, 256, (40, 5, 5, 3), np.uint8), rng.integers(0, 8, 40)
    for made, picture, turn in zip(turned(pictures, turn_B), pictures, turn_B, strict=True):
        assert np.array_equal(made, DIHEDRAL[way_of(int(turn))](picture))


@pytest.mark.parametrize("learner_N", [ONE, LABELS], ids=["one", "each"])
def test_each_learner_sees_all_frames_of_its_own_and_no_other(learner_N: np.ndarray) -> None:
    sampler = crops(learner_N, passes=50)
    shown = np.stack([sampler.batch(step) for step in range(sampler.steps)])
    for learner in range(sampler.learners):
        mine = shown[:, learner * 4 : learner * 4 + 4].ravel()
        assert (learner_N[mine] == learner).all()
        counts = np.bincount(mine // GRID.patches, minlength=FRAMES)
        own = learner_N[:: GRID.patches] == learner
        assert counts[~own].sum() == 0
        assert counts[own].max() - counts[own].min() <= 1


def test_every_place_and_turn_is_as_likely_as_any_other_and_every_pixel_is_seen() -> None:
    sampler = crops(batch=64, passes=3000)
    cuts = [sampler.cuts(step) for step in range(sampler.steps)]
    top, left, turn = (
        np.concatenate([getattr(each, name) for each in cuts])
        for name in ("top_B", "left_B", "turn_B")
    )
    places = np.bincount(top * 27 + left, minlength=17 * 27)
    assert len(places) == 17 * 27, "a crop of 9 has 17 rows and 27 columns to begin at"
    for counts in (places, np.bincount(turn, minlength=8)):
        expected = len(top) / len(counts)
        freedom = len(counts) - 1
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)
    assert abs(np.corrcoef(np.stack([top, left, turn]))[np.triu_indices(3, 1)]).max() < 0.02
    seen = np.zeros((25, 35), bool)
    for row, col in set(zip(top.tolist(), left.tolist(), strict=True)):
        seen[row : row + 9, col : col + 9] = True
    assert seen.all()


def test_draws_depend_on_seed_learner_and_step_alone() -> None:
    one, two, other = crops(LABELS), crops(LABELS), crops(LABELS, seed=1)
    for step in reversed(range(two.steps)):
        again, first = two.cuts(step), one.cuts(step)
        assert np.array_equal(one.batch(step), two.batch(step))
        for name in ("top_B", "left_B", "turn_B"):
            assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(one.cuts(0).top_B, other.cuts(0).top_B)
    assert not np.array_equal(one.cuts(0).top_B, one.cuts(1).top_B)
    assert not np.array_equal(one.cuts(0).top_B[:4], one.cuts(0).top_B[4:8])


@pytest.mark.parametrize("crop", [5, 9, 12, 20])
@pytest.mark.parametrize("learner_N", [ONE, LABELS], ids=["one", "each"])
def test_work_is_counted_in_pixels(crop: int, learner_N: np.ndarray) -> None:
    """As many pixels as `Uniform` shows, to half a step."""
    sampler = crops(learner_N, crop=crop, passes=40)
    pixels = sampler.steps * sampler.shown * crop**2
    asked = Uniform(LABELS, learner_N, batch=4, passes=40, seed=0).presentations * 120
    assert abs(pixels - asked) <= sampler.shown * crop**2 / 2 + sampler.shown * 120
    assert sampler.presentations == round(Fraction(pixels, 120))
    assert abs(sampler.presentations - 40 * len(LABELS)) <= sampler.shown
    of_chunks = sampler.chunk_presentations()
    assert sum(of_chunks) == sampler.presentations
    shown = np.concatenate([sampler.batch(step) for step in range(sampler.steps)])
    expected = np.bincount(LABELS[shown], minlength=3) * crop**2 / 120
    assert np.abs(np.array(of_chunks) - expected).max() <= 1


def test_a_shortened_fit_shows_the_first_crops() -> None:
    whole = crops(passes=10)
    short = Shortened(whole, 5, repeat=2)
    assert np.array_equal(short.cuts(4).top_B, whole.cuts(0).top_B)
    assert np.array_equal(short.cuts(3).turn_B, whole.cuts(1).turn_B)
    assert short.presentations == round(5 * 4 * 81 / 120)
    assert short.facts == {"crop": 9, "flips": True, "rotations": True}


def test_uniform_patches_are_not_cut() -> None:
    assert Uniform(LABELS, ONE, batch=4, passes=1, seed=0).cuts(0) is None


def test_crops_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match=r"^sampler.crop=26: must be from 1 to 25: .* 35x25"):
        crops(crop=26)
    with pytest.raises(UserError, match=r"^sampler.crop=0: must be from 1"):
        crops(crop=0)
    scattered = np.random.default_rng(0).permutation(LABELS)
    make = partial(Crops, batch=4, passes=1, seed=0, grid=GRID, crop=9)
    with pytest.raises(UserError, match=r"^sampler.crop=9: .* made of whole frames"):
        make(scattered, ONE)
