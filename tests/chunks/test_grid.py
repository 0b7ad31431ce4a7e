"""PatchGrid against plain loops: coverage, ownership, halo, exact inverse."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from stdo.chunks.grid import PatchGrid
from stdo.core.types import UserError

GRIDS = [
    PatchGrid(270, 480, 54, 48),  # the paper's tiling of 1080p
    PatchGrid(480, 270, 48, 54),
    PatchGrid(45, 80, 54 - 20, 48),
    PatchGrid(7, 5, 3, 2),
    PatchGrid(3, 2, 3, 2),
    PatchGrid(11, 13, 4, 5, halo=3),
]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_every_pixel_is_owned_by_the_first_patch_that_reaches_it(grid: PatchGrid) -> None:
    owner = np.full((grid.height, grid.width), -1)
    for patch, (top, left) in enumerate(grid.origins):
        view = owner[top : top + grid.patch_h, left : left + grid.patch_w]
        view[view < 0] = patch
    assert (owner >= 0).all()
    for row, (top, bottom) in enumerate(grid.owned_rows):
        for col, (left, right) in enumerate(grid.owned_cols):
            assert (owner[top:bottom, left:right] == row * grid.cols + col).all()
    assert sum(b - a for a, b in grid.owned_rows) == grid.height
    assert sum(b - a for a, b in grid.owned_cols) == grid.width


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_assemble_undoes_extract(grid: PatchGrid, scale: int) -> None:
    frame = np.random.default_rng(0).integers(
        0, 256, (grid.height * scale, grid.width * scale, 3), np.uint8
    )
    grid = replace(grid, scale=scale)
    patches = grid.hr.extract(frame)
    assert np.array_equal(grid.assemble(patches), frame)


def test_assemble_takes_overlapping_pixels_from_their_owner() -> None:
    grid = PatchGrid(5, 3, 3, 3)
    patches = np.stack([np.full((3, 3, 1), n, np.uint8) for n in (10, 20)])
    assert grid.assemble(patches)[:, 0, 0].tolist() == [10, 10, 10, 20, 20]


@pytest.mark.parametrize("pixels", [1, 60, 200, 333, 10**6])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_coarsest_grid_has_few_windows_of_bounded_size(grid: PatchGrid, pixels: int) -> None:
    coarse = grid.coarsest(pixels)
    assert (coarse.height, coarse.width, coarse.halo) == (grid.height, grid.width, grid.halo)
    assert coarse.patch_w == grid.width and coarse.patches == coarse.rows
    height, width = coarse.padded_patch
    assert height * width <= pixels or coarse.patch_h == 1
    fewer = -(-grid.height // max(1, coarse.rows - 1)) + 2 * grid.halo
    assert coarse.rows == 1 or fewer * width > pixels, "one band less would be too large"
    windows = coarse.extract(np.zeros((grid.height, grid.width, 1), np.uint8))
    assert coarse.pixels == windows.size


@pytest.mark.parametrize("grid", [
    PatchGrid(270, 480, 54, 48, 4, 4), PatchGrid(1080, 1920, 54, 48, 40, 2),
    PatchGrid(25, 29, 10, 12, 3, 2), PatchGrid(54, 48, 54, 48, 0, 4),
])  # fmt: skip
def test_tiles_are_the_ones_with_least_overlap_that_are_small_enough(grid: PatchGrid) -> None:
    """However large the frame is."""
    height, width = grid.padded_patch
    most = 8 * height * width
    tiles = grid.tiles(most)
    assert (tiles.halo, tiles.scale) == (grid.halo, grid.scale)
    assert tiles.padded_patch[0] * tiles.padded_patch[1] <= most
    found = []
    for rows, cols in itertools.product(range(1, grid.rows + 1), range(1, grid.cols + 1)):
        sides = -(-grid.height // rows), -(-grid.width // cols)
        padded = [side + 2 * grid.halo for side in sides]
        if padded[0] * padded[1] <= most:
            found.append(replace(grid, patch_h=sides[0], patch_w=sides[1]).pixels)
    assert tiles.pixels == min(found) <= grid.pixels
    assert grid.tiles(1) == grid, "itself where nothing larger fits"


@pytest.mark.parametrize("halo", [0, 1, 4, 9])
def test_windows_are_crops_of_the_edge_padded_frame(halo: int) -> None:
    grid = PatchGrid(11, 13, 4, 5, halo)
    frame = np.random.default_rng(1).integers(0, 256, (11, 13, 3), np.uint8)
    padded = np.pad(frame, ((halo, halo), (halo, halo), (0, 0)), mode="edge")
    windows = grid.extract(frame)
    rows, cols = (
        grid.window_rows(np.arange(grid.patches)),
        grid.window_cols(np.arange(grid.patches)),
    )
    for patch, (top, left) in enumerate(grid.origins):
        expected = padded[top : top + 4 + 2 * halo, left : left + 5 + 2 * halo]
        assert np.array_equal(windows[patch], expected)
        assert np.array_equal(frame[rows[patch][:, None], cols[patch]], expected)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((10, 10, 11, 5), "smaller than a patch of 5x11"),
        ((10, 10, 0, 5), "patch size 5x0"),
        ((10, 10, 5, 5, -1), "patches.halo=-1"),
    ],
)
def test_impossible_grids_are_refused(arguments: tuple[int, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        PatchGrid(*arguments)
