"""LR frames against Pillow's bicubic and a MATLAB-style one written from its definition."""

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

from stdo.core.types import UserError
from stdo.video.codecs import LOSSY
from stdo.video.degrade import BicubicUpscaler, Degrade, downscale
from stdo.video.resize import resize

SCALES = (2, 3, 4)


def picture(height: int, width: int) -> np.ndarray:
    """Edges, gradients, noise and full-range detail: a hard case for a resampler."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    waves = 127 + 120 * np.sin(x * y / 90.0)
    noise = rng.integers(0, 256, (height, width))
    blocks = 255 * ((x // 7 + y // 5) % 2)
    return np.stack([waves, noise, blocks], -1).astype(np.uint8)


def cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def imresize_rows(image: np.ndarray, out: int) -> np.ndarray:
    """One axis of MATLAB's imresize(…, 'bicubic'): widened kernel, half-pixel centres, mirrored
    edge."""
    length = len(image)
    ratio = out / length
    width = 4 / min(ratio, 1)
    centre = (np.arange(out) + 0.5) / ratio - 0.5
    taps = np.floor(centre - width / 2)[:, None] + np.arange(int(np.ceil(width)) + 2)
    weights = cubic((centre[:, None] - taps) * min(ratio, 1))
    weights /= weights.sum(1, keepdims=True)
    mirrored = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    source = mirrored[np.mod(taps.astype(int), 2 * length)]
    return np.einsum("ot,ot...->o...", weights, image[source])


def imresize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    rows = imresize_rows(image.astype(float), height)
    both = imresize_rows(rows.swapaxes(0, 1), width).swapaxes(0, 1)
    return np.clip(np.round(both), 0, 255).astype(np.uint8)


def pillow(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pillow's bicubic in floating point; on 8-bit images it also clips between the two axes."""
    planes = [
        Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC)
        for plane in planes_of(image)
    ]
    return np.clip(np.round(np.stack([np.asarray(plane) for plane in planes], -1)), 0, 255)


def planes_of(image: np.ndarray) -> list[np.ndarray]:
    return [image[..., channel].astype(np.float32) for channel in range(3)]


def interpolated(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """torch's own on whole frames, in float64 and before rounding: the plain way of what `resize`
    does."""
    frame_NCHW = torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(
        frame_NCHW, (height, width), mode="bicubic", antialias=True
    )
    return resized.clamp(0, 255)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    "size",
    [
        (75, 129),
        (33, 130),
        (37, 65),
        (25, 43),
        (18, 33),
        (5, 7),
        (1, 1),
        (300, 260),
        (120, 200),
        (120, 60),
        (30, 260),
    ],
)
@pytest.mark.parametrize("of", [(75, 130), (5, 3), (2, 1), (1, 1)])
def test_compiled_loops_give_the_plain_pixels(of: tuple[int, int], size: tuple[int, int]) -> None:
    """Only halfway between two levels may the order of additions show."""
    image = picture(*of)
    resized, plain = resize(image, *size), interpolated(image, *size)
    assert np.abs(resized - plain).max() < 0.5 + 1e-4
    clear = np.abs(plain % 1 - 0.5) > 1e-4
    assert np.array_equal(resized[clear], np.round(plain)[clear])


@pytest.mark.parametrize("size", [(12, 18), (48, 72)])
def test_resizing_takes_views_and_mapped_frames_and_leaves_them_alone(
    size: tuple[int, int],
) -> None:
    whole = picture(30, 44)
    view = whole[3:27, 5:41]
    view.flags.writeable = False
    assert np.array_equal(resize(view, *size), resize(view.copy(), *size))
    assert np.array_equal(whole, picture(30, 44))


@pytest.mark.parametrize("scale", SCALES)
def test_shrinking_is_pillows_bicubic(scale: int) -> None:
    hr = picture(60 * scale, 44 * scale)
    assert np.abs(downscale(hr, scale) - pillow(hr, 60, 44)).max() <= 1


@pytest.mark.parametrize("scale", SCALES)
def test_shrinking_is_pillows_8_bit_bicubic_where_nothing_clips(scale: int) -> None:
    hr = picture(60 * scale, 44 * scale) // 2 + 64
    eight_bit = np.asarray(Image.fromarray(hr).resize((44, 60), Image.Resampling.BICUBIC))
    assert np.abs(downscale(hr, scale).astype(int) - eight_bit).max() <= 1


@pytest.mark.parametrize("scale", SCALES)
def test_shrinking_is_matlabs_inside_the_frame(scale: int) -> None:
    """At the frame's edge MATLAB mirrors and Pillow renormalises; two LR pixels can tell."""
    hr = picture(60 * scale, 44 * scale)
    difference = np.abs(downscale(hr, scale).astype(int) - imresize(hr, 60, 44))
    assert difference[2:-2, 2:-2].max() <= 1


@pytest.mark.parametrize("scale", SCALES)
def test_enlarging_is_pillows_and_matlabs_bicubic(scale: int) -> None:
    lr = picture(31, 23)
    sr = BicubicUpscaler(scale)(lr)
    assert np.abs(sr - pillow(lr, 31 * scale, 23 * scale)).max() <= 1
    inside = np.s_[2 * scale : -2 * scale, 2 * scale : -2 * scale]
    assert np.abs(sr.astype(int) - imresize(lr, 31 * scale, 23 * scale))[inside].max() <= 1


def test_a_flat_frame_stays_flat() -> None:
    assert (resize(np.full((24, 36, 3), 77, np.uint8), 8, 12) == 77).all()


def test_keys_tell_degradations_apart() -> None:
    degradations = [Degrade(s) for s in SCALES] + [
        Degrade(4, codec, crf) for codec in LOSSY for crf in (20, 30)
    ]
    degradations.append(Degrade(4, "lossless"))
    assert len({d.key() for d in degradations}) == len(degradations)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scale": 5}, "scale=5: must be one of 2, 3, 4"),
        ({"scale": 2, "codec": "vp8"}, "degrade.codec=vp8: must be null or one of x264"),
        ({"scale": 2, "crf": 20}, "degrade.codec"),
        (
            {"scale": 2, "codec": "lossless", "crf": 20},
            "degrade.crf=20: must be left out for codec=lossless",
        ),
        (
            {"scale": 2, "codec": "x264", "crf": 52},
            "degrade.crf=52: must be 0 to 51 for codec=x264",
        ),
        (
            {"scale": 2, "codec": "svtav1", "preset": "slow"},
            "degrade.preset=slow: must be one of 0, 1",
        ),
    ],
)
def test_impossible_degradations_are_refused(settings: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Degrade(**settings)


@pytest.mark.parametrize("codec", LOSSY)
def test_lr_videos_of_before_are_not_used(codec: str) -> None:
    """Those in the cache may have wrong times, and have no marks."""
    before = hashlib.blake2b(json.dumps([codec, None, None]).encode(), digest_size=4).hexdigest()
    assert before not in Degrade(2, codec).key()
    assert Degrade(2).key() == "x2", "frames that no codec touched are as they were"
