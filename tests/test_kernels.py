"""Sums against numpy's in 64 bits; what resamples is tested in video/test_degrade.py."""

import numpy as np
import pytest

from stdo.kernels import compiled, energy


@pytest.mark.parametrize("rectangle", [(0, 0, 9, 14), (2, 3, 4, 5), (8, 13, 1, 1), (0, 0, 0, 0)])
def test_energy_is_the_plain_sum(rectangle: tuple[int, int, int, int]) -> None:
    top, left, height, width = rectangle
    one, other = np.random.default_rng(0).integers(0, 256, (2, 9, 14, 3), np.uint8)
    within = np.s_[top : top + height, left : left + width]
    assert energy(one, other, *rectangle) == np.square(one[within].astype(np.int64) - other[within]).sum()


def test_energy_of_the_widest_frame_and_the_largest_error_is_exact() -> None:
    black, white = np.zeros((2, 22_000, 3), np.uint8), np.full((2, 22_000, 3), 255, np.uint8)
    for pair in ((black, white), (white, black)):
        assert energy(*pair, 0, 0, 2, 22_000) == 2 * 22_000 * 3 * 255**2


def test_without_a_folder_for_machine_code_it_is_compiled_all_the_same() -> None:
    """A function that no file holds has none, as where neither the package nor the user's cache can be written."""
    scope: dict[str, object] = {}
    exec("def twice(x):\n    return 2 * x", scope)
    assert compiled(scope["twice"])(21) == 42
