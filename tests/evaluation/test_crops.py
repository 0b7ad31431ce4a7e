import numpy as np
import pytest

from stdo.chunks.grid import PatchGrid
from stdo.evaluation.crops import CROP, GAIN, LOSS, LOWEST, Crop, choose_crops, window


def scores(shape=(40, 6, 8), seed=0):
    rng = np.random.default_rng(seed)
    bicubic = rng.uniform(25, 35, shape).astype(np.float32)
    return bicubic, (bicubic + rng.uniform(0.5, 4, shape)).astype(np.float32)


def place(crop):
    return crop.frame, crop.row, crop.col


def test_the_largest_reduction_of_squared_error_comes_first():
    bicubic, ours = scores()
    bicubic[20, 3, 4], ours[20, 3, 4] = 15, 31
    bicubic[30, 1, 1], ours[30, 1, 1] = 40, 60  # far more dB, far less squared error
    first = choose_crops(bicubic, ours)[0]
    assert (place(first), first.why) == ((20, 3, 4), GAIN)
    assert (first.bicubic, first.ours) == (15, 31)


def test_gains_are_spread_over_time_and_place():
    bicubic, ours = scores()
    bicubic[10:30, 2:4, 2:4] -= 10  # one hot spot that would win every place
    *gains, _ = choose_crops(bicubic, ours)
    assert len(gains) == 3
    for index, a in enumerate(gains):
        for b in gains[:index]:
            assert abs(a.frame - b.frame) > 5
            assert abs(a.row - b.row) > 1 or abs(a.col - b.col) > 1


def test_many_small_patches_do_not_make_neighbours_of_each_other():
    bicubic, ours = scores((40, 40, 40))
    bicubic[:, 20:23, 20:23] -= 10
    places = [(crop.row, crop.col) for crop in choose_crops(bicubic, ours)[:-1]]
    assert all(
        max(abs(a - c), abs(b - d)) > 5 for i, (a, b) in enumerate(places) for c, d in places[:i]
    )


def test_a_visible_loss_is_shown_last_and_said():
    bicubic, ours = scores()
    ours[7, 5, 0] = bicubic[7, 5, 0] - 0.5
    ours[8, 0, 7] = bicubic[8, 0, 7] - 3
    bicubic[8, 0, 7] = ours[8, 0, 7] = 60
    ours[8, 0, 7] = 59.95  # too small to be seen
    worst = choose_crops(bicubic, ours)[-1]
    assert (place(worst), worst.why) == ((7, 5, 0), LOSS)


def test_without_a_loss_our_lowest_psnr_is_shown():
    bicubic, ours = scores()
    bicubic[2, 2, 2], ours[2, 2, 2] = 18, 18.2
    worst = choose_crops(bicubic, ours)[-1]
    assert (place(worst), worst.why) == ((2, 2, 2), LOWEST)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 1), (1, 2, 2), (3, 1, 1), (1, 40, 40)])
def test_small_videos_give_fewer_or_nearer_crops_but_never_one_twice(shape):
    crops = choose_crops(*scores(shape))
    assert len(crops) == min(4, np.prod(shape))
    assert len({place(crop) for crop in crops}) == len(crops)
    assert [crop.why for crop in crops].count(LOWEST) == 1


def test_nothing_is_called_a_gain_that_is_none():
    bicubic, ours = scores()
    assert [crop.why for crop in choose_crops(ours, bicubic)] == [LOSS]
    assert [crop.why for crop in choose_crops(bicubic, bicubic)] == [LOWEST]


def crop_at(row, col, why):
    return Crop(0, row, col, why, 30.0, 31.0)


def three(height, width, spot, amount):
    """Ground truth, a bicubic with an error at the spot, and a perfect result."""
    hr = np.full((height, width, 3), 100, np.uint8)
    bicubic = hr.copy()
    bicubic[spot] += amount
    return hr, bicubic, hr.copy()


def test_the_window_finds_the_gain_inside_its_patch():
    grid = PatchGrid(120, 120, 60, 60, scale=4)
    hr, bicubic, ours = three(480, 480, np.s_[300:310, 400:410], 50)
    bicubic[0:96, 0:96] += 90  # worse still, but in another patch
    top, left, height, width = window(crop_at(1, 1, GAIN), grid, (hr, bicubic, ours))
    assert (height, width) == (CROP, CROP)
    assert 240 <= top <= 300
    assert top + height >= 310
    assert left <= 400
    assert left + width >= 410
    loss = window(crop_at(1, 1, LOSS), grid, (hr, ours, bicubic))
    assert loss == (top, left, height, width)


@pytest.mark.parametrize("size", [(50, 40), (97, 300), (480, 96), (335, 333)])
@pytest.mark.parametrize("patch", [(9, 8), (12, 10)])
@pytest.mark.parametrize("why", [GAIN, LOSS, LOWEST])
def test_windows_stay_inside_their_patch_and_the_frame(size, patch, why):
    height, width = size
    grid = PatchGrid(-(-height // 4), -(-width // 4), *patch, scale=4)
    images = three(height, width, np.s_[::3], 9)
    for row, col in ((0, 0), (grid.rows - 1, grid.cols - 1)):
        y, x, h, w = window(crop_at(row, col, why), grid, images)
        top, left = grid.tops[row] * 4, grid.lefts[col] * 4
        assert (h, w) == (min(patch[0] * 4, height - top), min(patch[1] * 4, width - left))
        assert (y, x) == (top, left)
