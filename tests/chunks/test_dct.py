"""The DCT scorer against sums of cosines written out, FFTs, and what a person expects of it."""

import tracemalloc

import numpy as np
import pytest

from stdo.chunks.dct import BlockDct, Dct, dct_matrix, frequency_weights
from stdo.chunks.grid import PatchGrid
from stdo.chunks.score import PSNR_CAP
from stdo.chunks.split import by_score
from stdo.core.types import UserError


def dct_by_fft(x: np.ndarray) -> np.ndarray:
    """Orthonormal 2D DCT-II: the real FFT of the block and its mirror image, on both axes."""
    for axis in (0, 1):
        size = x.shape[axis]
        twice = np.fft.fft(np.concatenate([x, np.flip(x, axis)], axis), axis=axis)
        shape = [size if a == axis else 1 for a in (0, 1)]
        k = np.arange(size).reshape(shape)
        x = (np.exp(-0.5j * np.pi * k / size) * np.take(twice, range(size), axis)).real / np.sqrt(
            2 * size
        )
        x = x / np.where(k == 0, np.sqrt(2), 1)
    return x


def feature(block: np.ndarray) -> float:
    """The published sum over one block, written out."""
    size = len(block)
    coefficients, total = dct_by_fft(block), 0.0
    for i in range(1, size + 1):
        for j in range(1, size + 1):
            if i + j > 2:
                total += np.exp((i * j / size**2) ** 2 - 1) * abs(coefficients[i - 1, j - 1])
    return total / size**2


def luma(frame: np.ndarray) -> np.ndarray:
    return frame[..., 0] * 0.299 + frame[..., 1] * 0.587 + frame[..., 2] * 0.114


def starts(length: int, block: int) -> list[int]:
    return [min(start, length - block) for start in range(0, length, block)]


def video(frames: int = 3, height: int = 44, width: int = 52) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [2, 5, 8, 32])
def test_the_matrix_is_the_orthonormal_dct(size: int) -> None:
    matrix = dct_matrix(size)
    assert np.allclose(matrix @ matrix.T, np.eye(size), atol=1e-5)
    block = np.random.default_rng(1).normal(0, 50, (size, size))
    assert np.allclose(matrix @ block @ matrix.T, dct_by_fft(block), atol=1e-3)
    plain = sum(
        block[y, x] * np.cos(np.pi * (2 * y + 1) / (2 * size))
        for y in range(size)
        for x in range(size)
    )
    assert (matrix @ block @ matrix.T)[1, 0] == pytest.approx(plain * np.sqrt(2) / size, abs=1e-3)


def test_weights_grow_towards_high_frequencies_and_leave_the_mean_out() -> None:
    weights = frequency_weights(8)
    assert weights[0, 0] == 0
    assert weights[7, 7] == 1
    assert weights[0, 1] == pytest.approx(np.exp((2 / 64) ** 2 - 1))
    assert (np.diff(weights[1:], axis=1) > 0).all()
    assert np.array_equal(weights, weights.T)


@pytest.mark.parametrize(("frames", "block"), [("hr", 8), ("hr", 5), ("lr", 4), ("hr", 32)])
def test_features_are_the_published_sums(frames: str, block: int) -> None:
    """Patches of 10x12 LR pixels on 22x26: shifted patches, and blocks that do not divide them."""
    grid, scale = PatchGrid(22, 26, 10, 12, halo=3, scale=2), 2
    lr, hr = video(3, 22, 26), video(3)
    spatial, temporal = Dct(frames, block).features(zip(lr, hr, strict=True), grid)
    pixels, factor = (hr, scale) if frames == "hr" else (lr, 1)
    high, wide = grid.patch_h * factor, grid.patch_w * factor
    block = min(block, high, wide)
    for t in range(3):
        for n, (top, left) in enumerate(grid.origins * factor):
            corners = [
                (top + y, left + x) for y in starts(high, block) for x in starts(wide, block)
            ]
            cut = [np.s_[y : y + block, x : x + block] for y, x in corners]
            now, before = luma(pixels[max(t, 1)]), luma(pixels[max(t, 1) - 1])
            where = divmod(n, grid.cols)
            assert spatial[t][where] == pytest.approx(
                np.mean([feature(luma(pixels[t])[c]) for c in cut]), rel=1e-4
            )
            assert temporal[t][where] == pytest.approx(
                np.mean([feature((now - before)[c]) for c in cut]), rel=1e-4
            )


def test_the_score_adds_the_two_in_decibels() -> None:
    grid = PatchGrid(22, 26, 10, 12, scale=2)
    lr, hr = video(3, 22, 26), video(3)
    spatial, temporal = Dct().features(zip(lr, hr, strict=True), grid)
    for weight in (0, 0.5, 1.0):
        scores = Dct(temporal=weight).scores(zip(lr, hr, strict=True), grid)
        assert scores.dtype == np.float32
        assert scores.shape == (3, 3, 3)
        assert np.allclose(scores, 20 * np.log10(255 / (spatial + weight * temporal)), atol=1e-4)


class TestOrder:
    """Lower = more informative."""

    grid = PatchGrid(16, 32, 16, 16, scale=2)

    def scores(self, *frames: np.ndarray, **settings: object) -> np.ndarray:
        hr = np.stack(frames).clip(0, 255).astype(np.uint8)
        return Dct(**settings).scores(zip(hr[:, ::2, ::2], hr, strict=True), self.grid)

    def test_texture_comes_before_flat_and_flat_is_capped(self) -> None:
        frame = np.full((32, 64, 3), 77)
        frame[:, :32] = video(1, 32, 32)[0]
        scores = self.scores(frame)
        assert scores[0, 0, 0] < scores[0, 0, 1] == PSNR_CAP
        assert np.isfinite(scores).all()
        assert by_score(scores, 2).tolist() == [[[0, 1]]]

    def test_more_contrast_is_more_information(self) -> None:
        noise = np.random.default_rng(3).normal(0, 1, (32, 32, 1))
        scores = [
            self.scores(np.tile(128 + gain * noise, (1, 2, 3)))[0, 0, 0] for gain in (2, 8, 32)
        ]
        assert scores[0] > scores[1] > scores[2]
        assert scores[0] - scores[1] == pytest.approx(20 * np.log10(4), abs=0.5)

    def test_change_counts_only_with_the_temporal_feature(self) -> None:
        still = np.tile(video(1, 32, 32)[0], (1, 2, 1)).astype(int)
        moved = still.copy()
        moved[:, 32:] = np.roll(still[:, 32:], 5, axis=0)
        scores = self.scores(still, moved)
        assert (scores[:, 0, 1] < scores[:, 0, 0] - 1).all(), (
            "the first frame takes the change that follows"
        )
        scores = self.scores(still, moved, temporal=0)
        assert np.allclose(scores[0, 0, 0], scores[0, 0, 1])


def test_memory_does_not_grow_with_the_video() -> None:
    peaks = []
    for frames in (4, 200):
        tracemalloc.start()
        pairs = ((np.empty(0), np.full((96, 96, 3), t % 256, np.uint8)) for t in range(frames))
        Dct().scores(pairs, PatchGrid(48, 48, 48, 48, scale=2))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000


def test_settings_are_in_the_key() -> None:
    keys = {
        Dct(*settings).key()
        for settings in [(), ("lr",), ("hr", 16), ("hr", 32, 0), ("hr", 32, 0.5)]
    }
    assert len(keys) == 5
    assert Dct(temporal=1).key() == Dct(temporal=1.0).key()


@pytest.mark.parametrize(
    ("setting", "values"),
    {
        "frames": ["sr", None],
        "block": [1, 0, 2.5, True],
        "temporal": [-1, "x", True, float("nan"), float("inf")],
    }.items(),
)
def test_a_bad_setting_is_named(setting: str, values: list) -> None:
    for value in values:
        with pytest.raises(UserError, match=f"^scorer.{setting}={value}: must be"):
            Dct(**{setting: value})


def test_blocks_larger_than_a_patch_shrink_to_it() -> None:
    assert BlockDct(PatchGrid(12, 10, 12, 10), 64).coefficients(
        np.ones((12, 10), np.float32)
    ).shape == (20, 10)
