"""Every figure against an independent computation: plain loops, FFmpeg's filters, torchmetrics,
known values."""

import doctest
import math
import sys
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.image import PeakSignalNoiseRatio

from stdo.chunks import score
from stdo.chunks.grid import PatchGrid
from stdo.chunks.score import PSNR_CAP, psnr, squared_error
from stdo.evaluation.metrics import Meter
from stdo.metrics import base
from stdo.metrics.base import luma
from stdo.metrics.registry import METRICS
from stdo.metrics.ssim import ssim
from stdo.metrics.stdo_patch import shave

SCALE = 2
HEIGHT, WIDTH = 61, 75  # odd, so the padded frame is larger, and no patch size divides the LR frame
GRID = PatchGrid(31, 38, 14, 16, scale=SCALE)
CHUNKS = 4  # the last one gets no patch


def clip(frames=12, seed=0):
    """Smooth pictures and a disturbed copy, on the padded size."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: GRID.height * SCALE, : GRID.width * SCALE]
    for t in range(frames):
        hr = np.stack(
            [127 + 120 * np.sin((x * (c + 1) + y * 2 + 9 * t) / 17) for c in range(3)], axis=-1
        )
        sr = hr + rng.normal(0, 2 + 3 * t, hr.shape) * (x[..., None] / WIDTH)
        yield np.rint(hr).astype(np.uint8), np.rint(sr).clip(0, 255).astype(np.uint8)


def cut(frame):
    h, w = GRID.patch_h * SCALE, GRID.patch_w * SCALE
    return np.stack(
        [frame[y * SCALE : y * SCALE + h, x * SCALE : x * SCALE + w] for y, x in GRID.origins]
    )


def labels_of(t):
    return (np.arange(GRID.patches) * 7 + t).astype(np.int16) % (CHUNKS - 1)


@pytest.fixture(scope="module")
def measured():
    meter, rows, maps = Meter(GRID, CHUNKS), [], []
    for t, (hr, sr) in enumerate(clip()):
        rows.append(
            meter.add(hr[:HEIGHT, :WIDTH], sr[:HEIGHT, :WIDTH], cut(hr), cut(sr), labels_of(t))
        )
        maps.append(meter.patch_psnr)
    return meter.result(), rows, maps


def slow_mse(hr, sr, weights=None):
    """Mean squared error by loops over pixels in Python numbers."""
    total = []
    for a, b in zip(hr.reshape(-1, 3).tolist(), sr.reshape(-1, 3).tolist(), strict=True):
        if weights is None:
            total += [(p - q) ** 2 for p, q in zip(a, b, strict=True)]
        else:
            total.append(sum(w * (p - q) / 255 for w, p, q in zip(weights, a, b, strict=True)) ** 2)
    return math.fsum(total) / len(total)


def decibel(mse):
    return 10 * math.log10(255**2 / mse)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def native():
    return [(hr[:HEIGHT, :WIDTH], sr[:HEIGHT, :WIDTH]) for hr, sr in clip()]


def test_seams_are_the_pixels_within_one_lr_pixel_of_a_line_between_owners(measured):
    owner = np.zeros((GRID.height * SCALE, GRID.width * SCALE), int)
    for row, (top, bottom) in enumerate(GRID.owned_rows * SCALE):
        for col, (left, right) in enumerate(GRID.owned_cols * SCALE):
            owner[top:bottom, left:right] = row * GRID.cols + col
    owner = owner[:HEIGHT, :WIDTH]
    errors = {True: [], False: []}
    for hr, sr in native():
        error = np.square(hr.astype(float) - sr).sum(-1) / 3
        for y, x in np.ndindex(HEIGHT, WIDTH):
            near = (
                owner[max(y - SCALE, 0) : y + SCALE + 1, x],
                owner[y, max(x - SCALE, 0) : x + SCALE + 1],
            )
            errors[any((part != owner[y, x]).any() for part in near)].append(error[y, x])
    expected = {"border": decibel(mean(errors[True])), "inside": decibel(mean(errors[False]))}
    assert measured[0]["seams"] == pytest.approx(expected)


def test_one_patch_has_no_seams():
    meter = Meter(PatchGrid(9, 8, 9, 8, scale=2), 1)
    frame = np.zeros((18, 16, 3), np.uint8)
    meter.add(frame, frame, frame[None], frame[None], np.zeros((1, 1), np.int16))
    assert meter.result()["seams"] == {"border": None, "inside": PSNR_CAP}


def test_frame_is_the_mean_of_the_frames_own_psnr(measured):
    each = [decibel(slow_mse(hr, sr)) for hr, sr in native()]
    assert [row["psnr"] for row in measured[1]] == pytest.approx(each, abs=1e-9)
    assert measured[0]["psnr"]["frame"] == pytest.approx(mean(each), abs=1e-9)


def test_pooled_is_the_psnr_of_the_mean_error_and_torchmetrics_agrees(measured):
    pooled = measured[0]["psnr"]["pooled"]
    assert pooled == pytest.approx(decibel(mean(slow_mse(hr, sr) for hr, sr in native())), abs=1e-9)
    meter = PeakSignalNoiseRatio(data_range=255.0)
    for hr, sr in native():
        meter.update(
            torch.from_numpy(sr.astype(np.float64)), torch.from_numpy(hr.astype(np.float64))
        )
    assert pooled == pytest.approx(float(meter.compute()), abs=1e-4)
    assert pooled < measured[0]["psnr"]["frame"] - 0.5, "the clip must tell the two protocols apart"


def test_luma_psnr_is_the_mean_over_frames(measured):
    each = [decibel(slow_mse(hr, sr, (65.481, 128.553, 24.966))) for hr, sr in native()]
    assert measured[0]["psnr"]["y"] == pytest.approx(mean(each), abs=1e-4)


def test_stdo_patch_scores_the_inside_of_every_patch(measured):
    b = SCALE + 4
    errors = [
        slow_mse(a[b:-b, b:-b], z[b:-b, b:-b])
        for hr, sr in clip()
        for a, z in zip(cut(hr), cut(sr), strict=True)
    ]
    assert measured[0]["psnr"]["stdo_patch"] == pytest.approx(decibel(mean(errors)), abs=1e-9)


def test_cafm_looks_at_every_tenth_frame_without_its_border(measured):
    b = SCALE + 6
    each = [decibel(slow_mse(hr[b:-b, b:-b], sr[b:-b, b:-b])) for hr, sr in native()[::10]]
    assert len(each) == 2
    assert measured[0]["psnr"]["cafm_frame"] == pytest.approx(mean(each), abs=1e-9)


def test_chunks_share_out_the_native_pixels(measured):
    owner = np.full((HEIGHT, WIDTH), -1)
    # The first patch that reaches a pixel wins
    for patch, (y, x) in reversed(list(enumerate(GRID.origins * SCALE))):
        owner[y : y + GRID.patch_h * SCALE, x : x + GRID.patch_w * SCALE] = patch
    pools = [([], []) for _ in range(CHUNKS)]
    for t, (hr, sr) in enumerate(native()):
        chunk = labels_of(t)[owner]
        for k, (a, z) in enumerate(pools):
            a.append(hr[chunk == k])
            z.append(sr[chunk == k])
        for row, col in np.ndindex(GRID.rows, GRID.cols):
            mine = owner == row * GRID.cols + col
            assert measured[2][t][row, col] == pytest.approx(
                decibel(slow_mse(hr[mine], sr[mine])), abs=1e-4
            )
    *expected, empty = [(np.concatenate(a), np.concatenate(z)) for a, z in pools]
    assert empty[0].size == 0
    assert measured[0]["chunk_psnr"] == [
        pytest.approx(decibel(slow_mse(*pair)), abs=1e-9) for pair in expected
    ] + [None]


def test_labels_may_be_a_map():
    hr, sr = next(clip())
    results = []
    for labels in (labels_of(1), labels_of(1).reshape(GRID.rows, GRID.cols)):
        meter = Meter(GRID, CHUNKS)
        meter.add(hr[:HEIGHT, :WIDTH], sr[:HEIGHT, :WIDTH], cut(hr), cut(sr), labels)
        results.append(meter.result())
    assert results[0] == results[1]


@pytest.mark.parametrize("size", [(6, 9), (11, 11), (61, 75), (150, 33)])
def test_ssim_is_torchmetrics_ssim(size):
    rng = np.random.default_rng(1)
    x = rng.uniform(16, 235, size).astype(np.float32)
    y = (x + rng.normal(0, 25, size)).astype(np.float32)
    images = (torch.from_numpy(a)[None, None].double() for a in (x, y))
    expected = float(
        structural_similarity_index_measure(*images, data_range=255.0, sigma=1.5, kernel_size=11)
    )
    assert 0.1 < expected < 0.99
    assert ssim(x, y) == pytest.approx(expected, abs=1e-5)


def test_ssim_of_the_clip_is_the_mean_over_frames(measured):
    each = [ssim(luma(hr), luma(sr)) for hr, sr in native()]
    assert measured[0]["ssim"] == pytest.approx(mean(each))


def test_luma_of_known_colours():
    rgb = np.array(
        [[(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)]],
        np.uint8,
    )
    expected = [16, 235, 81.481, 144.553, 40.966, 16 + 219 * 128 / 255]
    assert luma(rgb)[0].tolist() == pytest.approx(expected, abs=1e-4)


def test_png_round_trip(tmp_path):
    hr, sr = native()[5]
    for name, image in (("hr", hr), ("sr", sr)):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    a, b = (
        np.asarray(Image.open(tmp_path / f"{name}.png")).astype(np.float64) for name in ("hr", "sr")
    )
    meter = Meter(GRID, 1)
    padded = [cut(frame) for frame in list(clip())[5]]
    row = meter.add(hr, sr, *padded, np.zeros(GRID.patches, np.int16))
    assert row["psnr"] == pytest.approx(10 * np.log10(255**2 / ((a - b) ** 2).mean()), abs=1e-9)


def ffmpeg(name, pairs, pixel_format):
    """Metadata that FFmpeg's own comparison filter attaches to each frame."""
    height, width = pairs[0][0].shape[:2]
    graph = av.filter.Graph()
    inputs = [
        graph.add_buffer(width=width, height=height, format=pixel_format, time_base=Fraction(1, 25))
        for _ in range(2)
    ]
    compare, sink = graph.add(name), graph.add("buffersink")
    for pad, buffer in enumerate(inputs):
        buffer.link_to(compare, 0, pad)
    compare.link_to(sink)
    graph.configure()
    found = []
    for t, pair in enumerate(pairs):
        for buffer, image in zip(inputs, pair, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format=pixel_format)
            frame.pts, frame.time_base = t, Fraction(1, 25)
            buffer.push(frame)
        found.append(dict(sink.pull().metadata))
    return found


def test_ffmpegs_psnr_filter_agrees_to_a_hundredth_of_a_decibel(measured):
    pairs = [tuple(np.ascontiguousarray(image) for image in pair) for pair in native()]
    found = [float(each["lavfi.psnr.psnr_avg"]) for each in ffmpeg("psnr", pairs, "gbrp")]
    assert [row["psnr"] for row in measured[1]] == pytest.approx(found, abs=0.01)


def test_ffmpegs_ssim_filter_ranks_the_frames_alike(measured):
    """Its windows are 8×8 boxes and not Gaussian, so the figures are alike and not equal."""
    pairs = [tuple(np.rint(luma(image)).astype(np.uint8) for image in pair) for pair in native()]
    found = [float(each["lavfi.ssim.All"]) for each in ffmpeg("ssim", pairs, "gray")]
    ours = [row["ssim"] for row in measured[1]]
    assert ours == pytest.approx(found, abs=0.1)
    assert np.argsort(ours).tolist() == np.argsort(found).tolist()


def test_identical_images_give_the_cap_and_never_infinity():
    hr = next(clip())[0]
    meter = Meter(GRID, 1)
    labels = np.zeros(GRID.patches, np.int16)
    meter.add(hr[:HEIGHT, :WIDTH], hr[:HEIGHT, :WIDTH], cut(hr), cut(hr), labels)
    assert meter.result() == {
        "psnr": dict.fromkeys(("frame", "pooled", "stdo_patch", "cafm_frame", "y"), PSNR_CAP),
        "ssim": 1.0,
        "seams": {"border": PSNR_CAP, "inside": PSNR_CAP},
        "chunk_psnr": [PSNR_CAP],
    }
    assert (meter.patch_psnr == PSNR_CAP).all()


def test_psnr_falls_with_the_error_and_honours_the_peak():
    values = psnr([0.0, 1e-9, 1e-5, 1.0, 65025.0])
    assert values[0] == values[1] == PSNR_CAP
    assert (np.diff(values[1:]) < 0).all()
    assert float(psnr(0.01, peak=1.0)) == pytest.approx(20)


def test_the_largest_possible_error_does_not_overflow():
    black, white = np.zeros((4, 5, 3), np.uint8), np.full((4, 5, 3), 255, np.uint8)
    for pair in ((black, white), (white, black)):
        assert (squared_error(*pair) == 3 * 255**2).all()


def test_nothing_left_to_measure_is_none():
    grid = PatchGrid(3, 5, 2, 2, scale=2)  # ×2: frames of 6 × 10 pixels, patches of 4
    meter = Meter(grid, 2)
    rng = np.random.default_rng(0)
    hr, sr = rng.integers(0, 256, (2, 5, 10, 3), dtype=np.uint8)
    patches = rng.integers(0, 256, (2, grid.patches, 4, 4, 3), dtype=np.uint8)
    row = meter.add(hr, sr, *patches, np.zeros(grid.patches, np.int16))
    result = meter.result()
    assert row["ssim"] is None
    assert result["ssim"] is None
    assert result["psnr"]["stdo_patch"] is None
    assert result["psnr"]["cafm_frame"] is None
    assert result["chunk_psnr"] == [result["psnr"]["pooled"], None]
    assert result["psnr"]["frame"] == pytest.approx(decibel(slow_mse(hr, sr)))


@pytest.mark.parametrize(("side", "left"), [(13, 1), (12, 0), (11, 0), (3, 0)])
def test_shave_leaves_nothing_rather_than_too_much(side, left):
    assert shave(np.zeros((side, side, 3), np.uint8), 6).shape == (left, left, 3)


def test_a_meter_keeps_sums_and_not_frames():
    def size(meter):
        return sum(
            np.asarray(value).nbytes
            for value in vars(meter).values()
            if isinstance(value, np.ndarray)
        )

    meter = Meter(GRID, CHUNKS)
    sizes = []
    for t, (hr, sr) in enumerate(clip(4)):
        meter.add(hr[:HEIGHT, :WIDTH], sr[:HEIGHT, :WIDTH], cut(hr), cut(sr), labels_of(t))
        sizes.append(size(meter))
    assert len(set(sizes)) == 1
    assert sizes[0] < 1000


def test_a_frame_is_measured_in_five_times_its_own_bytes():
    grid = PatchGrid(270, 480, 54, 48, scale=4)
    hr, sr = np.random.default_rng(0).integers(0, 256, (2, 1080, 1920, 3), dtype=np.uint8)
    patches, labels = (
        [grid.hr.extract(frame) for frame in (hr, sr)],
        np.zeros(grid.patches, np.int16),
    )
    meter = Meter(grid, 1)
    tracemalloc.start()
    try:
        meter.add(hr, sr, *patches, labels)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # It was ten: floats of whole frames, and pieces of other sizes between them
    assert most < 5 * hr.nbytes


def test_the_examples_in_the_docstrings_run():
    files = {sys.modules[kind.__module__] for kind in METRICS.values()}
    found = [doctest.testmod(module) for module in (base, score, *files)]
    assert sum(result.attempted for result in found) >= 9
    assert not any(result.failed for result in found)
