"""The pictures are looked at by people; here the pixels that can be known are checked."""

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from stdo.chunks.grid import PatchGrid
from stdo.chunks.score import PSNR_CAP
from stdo.evaluation.crops import GAIN, LOWEST, Crop
from stdo.evaluation.pictures import comparison, heatmap


def read(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def shown(picture, rgb, at_least):
    """Whether a colour fills that many pixels, to within rounding."""
    return int((abs(picture - np.asarray(rgb)).max(-1) <= 2).sum()) >= at_least


def colour(fraction):
    return np.multiply(colormaps["viridis"](fraction)[:3], 255)


@pytest.mark.parametrize("size", [(90, 160), (160, 90), (36, 500)])
@pytest.mark.parametrize("patch", [(4, 4), (9, 7), (5, 22)])
def test_heatmap_draws_every_patch_in_its_colour(tmp_path, size, patch):
    grid = PatchGrid(-(-size[0] // 4), -(-size[1] // 4), *patch, scale=4)
    low = np.full((grid.rows, grid.cols), 30, np.float32)
    high = np.full((grid.rows, grid.cols), 40, np.float32)
    frame = np.full((*size, 3), (200, 10, 60), np.uint8)
    heatmap(
        tmp_path / "h.png",
        grid,
        [("frame 0", frame, {"bicubic": low, "ours": high})] * 2,
        title="t",
    )
    picture = read(tmp_path / "h.png")
    assert shown(picture, (200, 10, 60), 2 * 15_000)
    assert shown(picture, colour(0.0), 2 * 8_000)
    assert shown(picture, colour(1.0), 2 * 8_000)
    assert [p.name for p in tmp_path.iterdir()] == ["h.png"]


def test_heatmap_gives_each_patch_the_pixels_it_owns(tmp_path):
    grid = PatchGrid(10, 10, 8, 10, scale=4)  # two rows: the second owns only a fifth of the height
    values = np.array([[30], [40]], np.float32)
    frame = np.full((40, 40, 3), 255, np.uint8)
    heatmap(tmp_path / "h.png", grid, [("", frame, {"ours": values})])
    picture = read(tmp_path / "h.png")
    columns = picture[
        :, picture.shape[1] * 2 // 3
    ]  # runs through the map, beside the printed value
    first, second = (int((abs(columns - colour(f)).max(-1) <= 2).sum()) for f in (0.0, 1.0))
    assert first / second == pytest.approx(4, abs=0.15)


@pytest.mark.parametrize("value", [PSNR_CAP, 33.0])
def test_heatmap_of_one_value_only(tmp_path, value):
    grid = PatchGrid(10, 10, 10, 10, scale=4)
    values = np.full((1, 1), value, np.float32)
    heatmap(
        tmp_path / "h.png",
        grid,
        [("", np.zeros((39, 40, 3), np.uint8), {"bicubic": values, "ours": values})],
    )
    assert read(tmp_path / "h.png").size


def test_a_perfect_patch_does_not_stretch_the_colours(tmp_path):
    grid = PatchGrid(10, 20, 10, 10, scale=4)
    low, high = np.array([[30, PSNR_CAP]], np.float32), np.array([[40, PSNR_CAP]], np.float32)
    frame = np.zeros((40, 80, 3), np.uint8)
    heatmap(tmp_path / "h.png", grid, [("", frame, {"bicubic": low, "ours": high})])
    assert shown(read(tmp_path / "h.png"), colour(1.0), 3 * 20_000)


@pytest.mark.parametrize("size", [(240, 320), (320, 200), (64, 60)])
def test_comparison_shows_the_crops_pixel_by_pixel(tmp_path, size):
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    bicubic, ours = hr // 2 + 64, hr // 4 * 4
    grid = PatchGrid(-(-size[0] // 4), -(-size[1] // 4), 15, 15, scale=4)
    asked = []

    def pictures(frame):
        asked.append(frame)
        return hr, bicubic, ours

    crops = [Crop(3, 0, 0, GAIN, 30, 31), Crop(9, grid.rows - 1, grid.cols - 1, LOWEST, 30, 31)]
    comparison(tmp_path / "c.png", grid, crops, pictures, name="stdo", title="t")
    assert set(asked) == {3, 9}
    picture = read(tmp_path / "c.png")
    found = sum(
        contains(picture, image[y : y + 8, x : x + 8].repeat(288 // 60, 0).repeat(288 // 60, 1))
        for image in (hr, bicubic, ours)
        for y, x in ((20, 20), (size[0] - 30, size[1] - 30))
    )
    assert found == 6


def contains(picture, part):
    """Whether the picture holds this block exactly (a seed pixel is looked for first)."""
    height, width = part.shape[:2]
    inside = picture[: len(picture) - height + 1, : picture.shape[1] - width + 1]
    seeds = np.argwhere((inside == part[0, 0]).all(-1))
    return any((picture[y : y + height, x : x + width] == part).all() for y, x in seeds)


def test_a_failure_leaves_the_old_picture(tmp_path, monkeypatch):
    grid = PatchGrid(10, 10, 10, 10, scale=4)
    path = tmp_path / "h.png"
    path.write_bytes(b"old")
    values = np.full((1, 1), 30, np.float32)

    def broken(self, file, **_):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", broken)
    with pytest.raises(OSError, match="disk full"):
        heatmap(path, grid, [("", np.zeros((40, 40, 3), np.uint8), {"ours": values})])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
