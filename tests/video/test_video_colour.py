"""Colour conversion against the definition of each matrix, in numpy."""

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, VideoReformatter
from video_clips import WEIGHTS, encode, frame_of, noise, to_rgb

from stdo.core.types import Colour, UserError
from stdo.video import colour
from stdo.video.colour import FromRgb, ToRgb, bit_depth_of, chroma_of, colour_of
from stdo.video.reader import VideoFile

CASES = [(matrix, span) for matrix in WEIGHTS for span in ("limited", "full")]


@pytest.mark.parametrize(("matrix", "span"), CASES)
@pytest.mark.parametrize(("pixel_format", "bits"), [("yuv444p", 8), ("yuv444p10le", 10)])
def test_noise_through_a_tagged_file_is_within_one_level(
    tmp_path, matrix, span, pixel_format, bits
):
    yuv = [plane << (bits - 8) for plane in noise((48, 64))]
    path = encode(tmp_path / "a.mkv", [yuv], pixel_format, matrix=matrix, span=span)
    video = VideoFile(path)
    (frame,) = video
    assert np.abs(to_rgb(yuv, matrix, span, bits) - frame.rgb_HWC).max() <= 1
    assert (video.info.colour.matrix, video.info.colour.range) == (matrix, span)
    assert not video.info.colour.assumed
    assert (video.info.bit_depth, video.info.chroma) == (bits, "4:4:4")


@pytest.mark.parametrize(("matrix", "span"), CASES)
@pytest.mark.parametrize(
    ("pixel_format", "down", "across"),
    [("yuv420p", 2, 2), ("yuv422p", 1, 2), ("yuv420p10le", 2, 2), ("yuv422p10le", 1, 2)],
)
def test_solid_colours_of_subsampled_video(tmp_path, matrix, span, pixel_format, down, across):
    bits = 10 if "10" in pixel_format else 8
    colours = [
        [level << (bits - 8) for level in yuv]
        for yuv in ((81, 90, 200), (145, 54, 34), (41, 220, 110), (235, 128, 128))
    ]
    frames = [
        [
            np.full((32 // d, 48 // a), v)
            for v, d, a in zip(yuv, (1, down, down), (1, across, across), strict=True)
        ]
        for yuv in colours
    ]
    path = encode(tmp_path / "a.mkv", frames, pixel_format, matrix=matrix, span=span)
    for yuv, frame in zip(colours, VideoFile(path), strict=True):
        assert np.abs(to_rgb(yuv, matrix, span, bits) - frame.rgb_HWC).max() <= 1


@pytest.mark.parametrize(("height", "matrix"), [(718, "bt601"), (720, "bt709")])
def test_untagged_video_is_guessed_by_height_and_says_so(tmp_path, height, matrix):
    yuv = noise((height, 16))
    path = encode(tmp_path / "a.mkv", [yuv], "yuv444p")
    video = VideoFile(path)
    assert video.info.colour == Colour(matrix, "limited", assumed=True)
    assert any(matrix in note and "assumed" in note for note in video.info.notes)
    assert np.abs(to_rgb(yuv, matrix, "limited") - next(iter(video)).rgb_HWC).max() <= 1


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("full", [0, 16, 128, 235, 255]),
        ("limited", [0, 0, 130, 255, 255]),
        ("unknown", [0, 16, 128, 235, 255]),
    ],
)
@pytest.mark.parametrize(("pixel_format", "shift"), [("gray", 0), ("gray10le", 2)])
def test_grey(tmp_path, span, expected, pixel_format, shift):
    levels = np.repeat(np.array([[0, 16, 128, 235, 255]]), 16, 0).repeat(8, 1) << shift
    frame = frame_of([levels], pixel_format)
    frame.color_range = {"full": 2, "limited": 1, "unknown": 0}[span]
    guessed = colour_of(frame)
    rgb_HWC = ToRgb(guessed, 40, 16)(frame)
    assert np.abs(rgb_HWC[0, ::8].astype(int) - np.array(expected)[:, None]).max() <= (
        1 if shift else 0
    )
    assert guessed.assumed == (span == "unknown")


def test_curves_that_are_not_applied_are_said(tmp_path):
    path = encode(
        tmp_path / "a.mkv",
        [noise((32, 32))],
        "yuv444p",
        matrix="bt2020",
        span="limited",
        transfer=16,
    )
    assert any("PQ" in note for note in VideoFile(path).info.notes)


def test_alpha_is_dropped_and_said(tmp_path):
    planes = [*noise((32, 32)), np.zeros((32, 32), int)]
    video = VideoFile(encode(tmp_path / "a.mkv", [planes], "yuva444p", matrix="bt709"))
    assert np.abs(to_rgb(planes[:3], "bt709", "limited") - next(iter(video)).rgb_HWC).max() <= 1
    assert any("alpha" in note for note in video.info.notes)


def test_a_matrix_that_is_not_converted_is_refused():
    frame = frame_of(noise((16, 16)), "yuv444p")
    frame.colorspace = 8
    with pytest.raises(UserError, match="YCgCo"):
        colour_of(frame)


@pytest.mark.parametrize(("matrix", "span"), CASES)
def test_to_ycbcr_and_back(matrix, span):
    rgb_HWC = np.random.default_rng(1).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    frame = FromRgb(Colour(matrix, span), "yuv444p")(rgb_HWC)
    planes = [np.frombuffer(bytes(p), np.uint8).reshape(32, -1)[:, :48] for p in frame.planes]
    assert np.abs(to_rgb(planes, matrix, span) - rgb_HWC).max() <= 3
    assert colour_of(frame) == Colour(matrix, span)


def test_shrinking_does_not_depend_on_threads_and_keeps_flat_areas():
    frame = frame_of(noise((144, 256)), "yuv444p")
    first, second = (ToRgb(Colour("bt709", "limited"), 128, 72)(frame) for _ in range(2))
    assert np.array_equal(first, second)
    flat = frame_of(
        [np.full((144, 256), 120), np.full((144, 256), 90), np.full((144, 256), 160)], "yuv444p"
    )
    small = ToRgb(Colour("bt709", "limited"), 128, 72)(flat)
    assert np.abs(to_rgb((120, 90, 160), "bt709", "limited") - small).max() <= 1


@pytest.mark.parametrize(
    ("name", "chroma", "bits"),
    [
        ("yuv420p", "4:2:0", 8),
        ("yuv422p10le", "4:2:2", 10),
        ("nv12", "4:2:0", 8),
        ("gray12le", "grey", 12),
        ("gbrp", "rgb", 8),
        ("yuv411p", "4:1:1", 8),
        ("pal8", "rgb", 8),
        ("ya8", "grey", 8),
    ],
)
def test_names_of_pixel_formats(name, chroma, bits):
    pixel_format = av.VideoFormat(name)
    assert (chroma_of(pixel_format), bit_depth_of(pixel_format)) == (chroma, bits)


@pytest.mark.parametrize(("width", "height"), [(96, 64), (50, 30)])
@pytest.mark.parametrize(("matrix", "span"), CASES)
@pytest.mark.parametrize(
    "pixel_format", ["yuv420p", "yuv422p", "yuv444p", "nv12", "yuv420p10le", "yuva420p", "p010le"]
)
def test_the_way_by_planes_gives_the_bits_of_packed_rgb(pixel_format, matrix, span, width, height):
    rng = np.random.default_rng(0)
    frame = av.VideoFrame(96, 64, pixel_format)
    for plane in frame.planes:
        plane.update(rng.integers(0, 256, plane.buffer_size, np.uint8))
    packed = VideoReformatter().reformat(
        frame, width, height, "rgb24",
        src_colorspace=colour.MATRICES[matrix], dst_colorspace=colour.MATRICES[matrix],
        src_color_range=colour.RANGES[span], dst_color_range=ColorRange.JPEG,
        interpolation=colour._EXACT,
    )  # fmt: skip
    np.testing.assert_array_equal(
        ToRgb(Colour(matrix, span), width, height)(frame), packed.to_ndarray()
    )
