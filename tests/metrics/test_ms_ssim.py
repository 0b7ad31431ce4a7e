"""MS-SSIM against its formula in float64, written with windows cut out of the image."""

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from stdo.metrics.ms_ssim import WEIGHTS, ms_ssim
from stdo.pipeline.steps import evaluate, train


def images(size: tuple[int, int], noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    y, x = np.mgrid[: size[0], : size[1]]
    hr = 126 + 60 * np.sin(x / 7) + 40 * np.cos(y / 11) + rng.normal(0, 6, size)
    sr = hr + rng.normal(0, noise, size)
    return hr.astype(np.float32), sr.astype(np.float32)


def halved(image: np.ndarray) -> np.ndarray:
    height, width = (side // 2 * 2 for side in image.shape)
    return image[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3))


def slowly(x: np.ndarray, y: np.ndarray) -> float:
    offsets = np.arange(-5, 6)
    gauss = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    gauss /= gauss.sum()
    product, (x, y) = 1.0, (image.astype(np.float64) for image in (x, y))
    for weight in WEIGHTS:
        first, second = (sliding_window_view(image, (11, 11)) for image in (x, y))
        mean_x, mean_y = ((window * gauss).sum((2, 3)) for window in (first, second))
        off_x, off_y = first - mean_x[..., None, None], second - mean_y[..., None, None]
        both = (off_x * off_y * gauss).sum((2, 3))
        each = ((off_x**2 + off_y**2) * gauss).sum((2, 3))
        similar = (2 * both + 58.5225) / (each + 58.5225)
        if weight == WEIGHTS[-1]:
            similar *= (2 * mean_x * mean_y + 6.5025) / (mean_x**2 + mean_y**2 + 6.5025)
        product *= max(similar.mean(), 0) ** weight
        x, y = halved(x), halved(y)
    return product


@pytest.mark.parametrize(("size", "noise"), [((176, 176), 5), ((181, 203), 30), ((201, 178), 90)])
def test_it_is_the_formula(size: tuple[int, int], noise: float) -> None:
    pair = images(size, noise)
    expected = slowly(*pair)
    assert 0.3 < expected < 0.999
    assert ms_ssim(*pair) == pytest.approx(expected, abs=1e-5)


def test_torchmetrics_which_mirrors_the_smallest_size_is_near() -> None:
    pair = images((240, 320), 40)
    theirs = multiscale_structural_similarity_index_measure(
        *(torch.from_numpy(image)[None, None].double() for image in pair), data_range=255.0
    )
    assert ms_ssim(*pair) == pytest.approx(float(theirs), abs=0.01)


def test_an_image_and_its_negative_have_no_similarity() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 60, (176, 176)).astype(np.float32)
    assert ms_ssim(128 + noise, 128 - noise) == 0


@pytest.mark.parametrize("size", [(175, 300), (300, 175), (20, 20)])
def test_a_frame_too_small_for_five_sizes_has_none(size: tuple[int, int]) -> None:
    assert ms_ssim(*images(size, 5)) is None


def test_what_was_asked_for_once_is_measured_again(make_job) -> None:
    job = make_job(passes=1.0)
    train(job)
    clip = job.data.clip
    assert "ms_ssim" not in evaluate(job.directory, clip)
    assert "ms_ssim" in evaluate(job.directory, clip, metrics=["ms_ssim"])
    assert "ms_ssim" in evaluate(job.directory, clip)
    assert "ms_ssim" in (job.directory / "frames.csv").read_text().splitlines()[0]
