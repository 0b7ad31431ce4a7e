"""Sums against numpy's in 64 bits; what resamples is tested in video/test_degrade.py."""

import errno
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core.caching import IndexDataCacheFile

from stdo.core.kernels import compiled, energies


def sums(
    one: np.ndarray, other: np.ndarray, origins: list[tuple[int, int]], height: int, width: int
) -> list[int]:
    """What the loop puts out."""
    out = np.full(len(origins), -1)
    energies(one, other, np.array(origins, np.int64).reshape(-1, 2), height, width, out)
    return out.tolist()


@pytest.mark.parametrize(("height", "width"), [(9, 14), (4, 5), (1, 1), (0, 0)])
def test_energies_are_plain_sums(height: int, width: int) -> None:
    one, other = np.random.default_rng(0).integers(0, 256, (2, 9, 14, 3), np.uint8)
    squared = np.square(one.astype(np.int64) - other)
    origins = [
        (0, 0),
        (9 - height, 14 - width),
        (0, 14 - width),
        ((9 - height) // 2, (14 - width) // 2),
    ]
    expected = [squared[top : top + height, left : left + width].sum() for top, left in origins]
    assert sums(one, other, origins, height, width) == expected
    assert sums(one, other, [], height, width) == []


def test_energy_of_the_widest_frame_and_the_largest_error_is_exact() -> None:
    black, white = np.zeros((2, 22_000, 3), np.uint8), np.full((2, 22_000, 3), 255, np.uint8)
    for pair in ((black, white), (white, black)):
        assert sums(*pair, [(0, 0)], 2, 22_000) == [2 * 22_000 * 3 * 255**2]


def test_without_a_folder_for_machine_code_it_is_compiled_all_the_same() -> None:
    """A function that no file holds has none, as where neither the package nor the user's cache can
    be written."""
    scope: dict[str, object] = {}
    exec("def twice(x):\n    return 2 * x", scope)
    assert compiled(scope["twice"])(21) == 42


def function_in(path: Path, factor: int) -> Callable[[int], int]:
    """A function that a file holds, so that its machine code can be kept beside it."""
    path.write_text(f"def times(x):\n    return {factor} * x\n", encoding="utf-8")
    return runpy.run_path(str(path))["times"]


@pytest.fixture
def twice(tmp_path: Path) -> Callable[[int], int]:
    return function_in(tmp_path / "loops.py", 2)


def full(*_: object) -> None:
    """What a full disk says."""
    raise OSError(errno.ENOSPC, "No space left on device")


def hits(function: Callable[[int], int]) -> int:
    """How often a new kernel finds machine code that was kept, being called once."""
    kernel: Any = compiled(function)
    assert kernel(21) == 42
    return sum(kernel.stats.cache_hits.values())


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95\xff", b"no pickle", b"\x80\x04K\x01."])
def test_damaged_machine_code_is_compiled_and_kept_anew(
    twice: Callable, tmp_path: Path, kind: str, content: bytes
) -> None:
    assert (hits(twice), hits(twice)) == (0, 1)
    (path,) = tmp_path.rglob(f"*.{kind}")
    whole = path.read_bytes()
    for damage in (content, whole[:-20]):
        path.write_bytes(damage)
        assert (hits(twice), hits(twice)) == (0, 1)


def test_where_the_disk_takes_no_machine_code_it_is_compiled_each_time(
    twice: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IndexDataCacheFile, "_open_for_write", full)
    assert (hits(twice), hits(twice)) == (0, 0)
    assert not list(tmp_path.rglob("*.nb*"))


def test_older_machine_code_is_not_taken_for_code_that_found_no_room(
    twice: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hits(twice) == 0
    # Of another size: the clock may not have moved
    newer = function_in(tmp_path / "loops.py", 2000)
    with monkeypatch.context() as disk:
        disk.setattr(IndexDataCacheFile, "_save_data", full)
        assert compiled(newer)(21) == 42_000
    assert compiled(newer)(21) == 42_000
