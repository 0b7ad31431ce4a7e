"""Writing and reading back."""

import os
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stdo.core.types import Colour, Frame, UserError
from stdo.video.codecs import CODECS
from stdo.video.images import ImageFolder
from stdo.video.reader import VideoFile
from stdo.video.writer import VideoWriter

NTSC = Fraction(30000, 1001)
TASKS = Path("/proc/self/task")
LOSSY = [("x264", "ultrafast"), ("x265", "ultrafast"), ("svtav1", "10")]


def waves(count: int, height: int, width: int) -> list[np.ndarray]:
    y, x = np.mgrid[:height, :width]
    return [
        np.clip(
            np.stack(
                [
                    128 + 100 * np.sin(x / 9 + t / 3),
                    128 + 90 * np.cos(y / 7),
                    128 + 80 * np.sin((x + y) / 11),
                ],
                -1,
            ),
            0,
            255,
        ).astype(np.uint8)
        for t in range(count)
    ]


def written(path, frames, codec, pts=None, rate=NTSC, **settings):
    height, width, _ = frames[0].shape
    with VideoWriter(path, width, height, rate, codec, **settings) as writer:
        for t, rgb_HWC in enumerate(frames):
            writer.write(Frame(pts[t] if pts else t / rate, rgb_HWC))
    return path


@pytest.mark.parametrize(("height", "width"), [(48, 64), (35, 51)])
@pytest.mark.parametrize(
    ("codec", "name"), [("ffv1", "a.mkv"), ("ffv1", "a.nut"), ("ffv1", "a.mp4"), ("png", "a")]
)
def test_lossless_codecs_return_every_pixel(tmp_path, codec, name, height, width):
    frames = [
        np.random.default_rng(t).integers(0, 256, (height, width, 3), dtype=np.uint8)
        for t in range(5)
    ]
    path = written(tmp_path / name, frames, codec)
    for before, after in zip(
        frames, ImageFolder(path) if codec == "png" else VideoFile(path), strict=True
    ):
        assert np.array_equal(before, after.rgb_HWC)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020", "fcc", "smpte240m"])
@pytest.mark.parametrize("span", ["limited", "full"])
def test_x264_without_loss_keeps_colour_and_its_tags(tmp_path, matrix, span):
    frames = waves(3, 48, 64)
    colour = Colour(matrix, span, "bt2020", "smpte2084")
    video = VideoFile(
        written(tmp_path / "a.mp4", frames, "x264", crf=0, pixel_format="yuv444p", colour=colour)
    )
    assert video.info.colour == colour
    for before, after in zip(frames, video, strict=True):
        assert np.abs(before.astype(int) - after.rgb_HWC).max() <= 2


@pytest.mark.parametrize(("codec", "preset"), LOSSY)
@pytest.mark.parametrize(("height", "width"), [(96, 128), (67, 81)])
def test_lossy_codecs_keep_size_time_and_look(tmp_path, codec, preset, height, width):
    frames = waves(6, height, width)
    video = VideoFile(written(tmp_path / "a.mp4", frames, codec, crf=15, preset=preset))
    got = list(video)
    assert [frame.pts for frame in got] == [t / NTSC for t in range(6)]
    assert video.info.rate == NTSC
    for before, after in zip(frames, got, strict=True):
        assert np.abs(before.astype(int) - after.rgb_HWC).mean() < 4


@pytest.mark.parametrize("codec", ["x264", "x265", "svtav1"])
def test_crf_trades_bytes(tmp_path, codec):
    frames = [
        np.random.default_rng(t).integers(0, 256, (64, 64, 3), dtype=np.uint8) for t in range(4)
    ]
    fine, coarse = (
        written(tmp_path / f"{crf}.mp4", frames, codec, crf=crf).stat().st_size for crf in (10, 45)
    )
    assert coarse < 0.6 * fine


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of each thread")
@pytest.mark.parametrize("codec", ["x264", "x265", "svtav1"])
def test_no_encoder_makes_the_process_real_time(tmp_path, codec):
    """SVT-AV1 does where it runs as root; a child that spins then holds a core against the whole
    machine."""

    def policies() -> set[int]:
        return {os.sched_getscheduler(int(thread.name)) for thread in TASKS.iterdir()}

    before = policies()
    with VideoWriter(tmp_path / "a.mp4", 64, 48, NTSC, codec) as writer:
        for t, rgb_HWC in enumerate(waves(3, 48, 64)):
            writer.write(Frame(t / NTSC, rgb_HWC))
            assert policies() == before
    assert policies() == before


def test_variable_rate_is_exact_in_mp4_and_within_a_millisecond_in_matroska(tmp_path):
    pts = [
        Fraction(0),
        Fraction(1, 30),
        Fraction(1, 10),
        Fraction(101, 1000),
        Fraction(1001, 3000),
        Fraction(9, 8),
    ]
    frames = waves(6, 48, 64)
    exact = VideoFile(written(tmp_path / "a.mp4", frames, "x264", pts))
    assert [frame.pts for frame in exact] == pts
    rounded = VideoFile(written(tmp_path / "a.mkv", frames, "x264", pts))
    assert all(
        abs(frame.pts - time) <= Fraction(1, 1000) for frame, time in zip(rounded, pts, strict=True)
    )


def test_the_usual_colour_and_rgb_sources(tmp_path):
    low = VideoFile(
        written(tmp_path / "a.mp4", waves(1, 48, 64), "x264", colour=Colour("rgb", "full"))
    ).info.colour
    high = VideoFile(written(tmp_path / "b.mp4", waves(1, 720, 16), "x264")).info.colour
    assert (low, high) == (Colour("bt601", "limited"), Colour("bt709", "limited"))


def test_an_error_in_the_block_leaves_nothing_and_keeps_what_was_there(tmp_path):
    target = tmp_path / "a.mp4"
    target.write_text("before")
    for codec, path in (("x264", target), ("png", tmp_path / "pictures")):
        frames = (1 / 0 if t else (Fraction(0), waves(1, 48, 64)[0]) for t in range(2))
        with pytest.raises(ZeroDivisionError), VideoWriter(path, 64, 48, NTSC, codec) as writer:
            any(map(writer.write, frames))
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_that_exists_is_replaced_but_a_full_folder_is_not(tmp_path):
    (tmp_path / "a.mp4").write_text("before")
    assert len(list(VideoFile(written(tmp_path / "a.mp4", waves(2, 48, 64), "x264")))) == 2
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("keep")
    with pytest.raises(UserError, match="not an empty folder"):
        written(tmp_path / "full", waves(1, 48, 64), "png")
    assert (tmp_path / "full" / "x").read_text() == "keep"


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("a.mp4", {"codec": "h264"}, "codec=h264: must be one of " + ", ".join(CODECS)),
        ("a.mp4", {"codec": "x264", "crf": 52}, "crf=52: must be 0 to 51"),
        ("a.mp4", {"codec": "svtav1", "crf": -1}, "crf=-1: must be 0 to 63"),
        ("a.mkv", {"codec": "ffv1", "crf": 3}, "crf=3: must be left out"),
        ("a.mp4", {"codec": "x265", "preset": "swift"}, "preset=swift: must be one of ultrafast"),
        ("a.mp4", {"codec": "x264", "pixel_format": "rgb24"}, "pixel_format=rgb24"),
        ("a.xyz", {"codec": "x264"}, "a.xyz: cannot be written"),
        ("none/a.mp4", {"codec": "x264"}, "a.mp4: cannot be written"),
        ("none/pictures", {"codec": "png"}, "pictures: cannot be written"),
        ("/proc/a.mp4", {"codec": "x264"}, "/proc/a.mp4: cannot be written"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, name, settings, words):
    with pytest.raises(UserError) as caught:
        written(tmp_path / name, waves(1, 48, 64), **settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_video_of_no_frames_is_not_written(tmp_path):
    for codec, name in (("x264", "a.mp4"), ("png", "a")):
        with (
            pytest.raises(UserError, match="no frame was written"),
            VideoWriter(tmp_path / name, 64, 48, NTSC, codec),
        ):
            pass
    assert list(tmp_path.iterdir()) == []
