"""Sums against numpy's in 64 bits; what resamples is tested in video/test_degrade.py."""

import numpy as np
import pytest

from stdo.kernels import compiled, energies


def sums(one: np.ndarray, other: np.ndarray, origins: list[tuple[int, int]], height: int, width: int) -> list[int]:
    """What the loop puts out."""
    out = np.full(len(origins), -1)
    energies(one, other, np.array(origins, np.int64).reshape(-1, 2), height, width, out)
    return out.tolist()


@pytest.mark.parametrize(("height", "width"), [(9, 14), (4, 5), (1, 1), (0, 0)])
def test_energies_are_plain_sums(height: int, width: int) -> None:
    one, other = np.random.default_rng(0).integers(0, 256, (2, 9, 14, 3), np.uint8)
    squared = np.square(one.astype(np.int64) - other)
    origins = [(0, 0), (9 - height, 14 - width), (0, 14 - width), ((9 - height) // 2, (14 - width) // 2)]
    expected = [squared[top : top + height, left : left + width].sum() for top, left in origins]
    assert sums(one, other, origins, height, width) == expected
    assert sums(one, other, [], height, width) == []


def test_energy_of_the_widest_frame_and_the_largest_error_is_exact() -> None:
    black, white = np.zeros((2, 22_000, 3), np.uint8), np.full((2, 22_000, 3), 255, np.uint8)
    for pair in ((black, white), (white, black)):
        assert sums(*pair, [(0, 0)], 2, 22_000) == [2 * 22_000 * 3 * 255**2]


def test_without_a_folder_for_machine_code_it_is_compiled_all_the_same() -> None:
    """A function that no file holds has none, as where neither the package nor the user's cache can be written."""
    scope: dict[str, object] = {}
    exec("def twice(x):\n    return 2 * x", scope)
    assert compiled(scope["twice"])(21) == 42
