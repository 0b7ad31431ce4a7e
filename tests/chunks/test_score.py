"""Patch PSNR against plain loops."""

import numpy as np
import pytest

from stdo.chunks.grid import PatchGrid
from stdo.chunks.score import PSNR_CAP, ByPsnr, named, patch_psnr
from stdo.core.types import UserError


def plain(sr: np.ndarray, hr: np.ndarray, grid: PatchGrid, scale: int) -> np.ndarray:
    out = []
    for top, left in grid.origins * scale:
        window = np.s_[top : top + grid.patch_h * scale, left : left + grid.patch_w * scale]
        mse = ((sr[window].astype(float) - hr[window].astype(float)) ** 2).mean()
        out.append(min(10 * np.log10(255**2 / mse), PSNR_CAP) if mse else PSNR_CAP)
    return np.reshape(out, (grid.rows, grid.cols))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_patch_psnr_is_the_plain_one(scale: int) -> None:
    grid = PatchGrid(11, 13, 4, 5, scale=scale)
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (11 * scale, 13 * scale, 3), np.uint8)
    sr = np.clip(hr + rng.normal(0, 9, hr.shape), 0, 255).astype(np.uint8)
    sr[: 4 * scale, : 5 * scale] = hr[: 4 * scale, : 5 * scale]
    scores = patch_psnr(sr, hr, grid)
    assert scores.dtype == np.float32
    assert scores[0, 0] == PSNR_CAP, "a perfect patch is capped, not infinite"
    assert np.allclose(scores, plain(sr, hr, grid, scale), atol=1e-3)


def test_a_video_is_scored_frame_by_frame_in_order() -> None:
    grid = PatchGrid(4, 6, 2, 3, scale=2)
    rng = np.random.default_rng(0)
    lr = rng.integers(0, 256, (9, 4, 6, 3), np.uint8)
    hr = rng.integers(0, 256, (9, 8, 12, 3), np.uint8)
    scores = ByPsnr(lambda frame: frame.repeat(2, 0).repeat(2, 1)).scores(
        zip(lr, hr, strict=True), grid
    )
    assert scores.shape == (9, 2, 2)
    for t in range(9):
        assert np.allclose(
            scores[t], plain(lr[t].repeat(2, 0).repeat(2, 1), hr[t], grid, 2), atol=1e-3
        )


@pytest.mark.parametrize(
    ("upscale", "made"),
    [
        (lambda lr: lr, "uint8 (4, 6, 3)"),
        (lambda lr: lr.repeat(3, 0).repeat(2, 1), "uint8 (12, 12, 3)"),
        (lambda lr: lr.repeat(2, 0).repeat(2, 1)[..., 0], "uint8 (8, 12)"),
        (lambda lr: lr.repeat(2, 0).repeat(2, 1) / 255, "float64 (8, 12, 3)"),
        (lambda lr: None, "object ()"),
    ],
)
def test_an_upscaler_that_makes_something_else_is_refused(upscale, made: str) -> None:
    pair = np.zeros((4, 6, 3), np.uint8), np.zeros((8, 12, 3), np.uint8)
    with pytest.raises(UserError) as refused:
        ByPsnr(upscale).scores(iter([pair]), PatchGrid(4, 6, 2, 3, scale=2))
    assert str(refused.value) == f"scorer: its SR frame is {made}: must be uint8 (8, 12, 3)"


def test_a_callable_is_found_by_its_name() -> None:
    assert named("numpy:flipud") is np.flipud


@pytest.mark.parametrize("name", ["numpy", "numpy:no_such", "no_such_package:f", ":", "numpy:pi"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="scorer.function="):
        named(name)
