"""Order, time, size and selection of the frames of a file."""

from fractions import Fraction

import av
import numpy as np
import pytest
from video_clips import encode, flat, noise, to_rgb

from stdo.core.types import UserError
from stdo.video.clock import Clock
from stdo.video.reader import VideoFile

LEVELS = [16 + 4 * index for index in range(50)]


def grey_of(level: int) -> int:
    return round((level - 16) * 255 / 219)


def brightness(video) -> list[int]:
    return [round(float(frame.rgb_HWC.mean())) for frame in video]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "nut", "ts", "avi"])
def test_frames_with_b_frames_come_in_presentation_order(tmp_path, suffix):
    path = encode(tmp_path / f"a.{suffix}", flat(LEVELS), codec="libx264", crf="4", bf="3", g="12")
    video = VideoFile(path)
    frames = list(video)
    assert np.abs(np.array(brightness(frames)) - [grey_of(level) for level in LEVELS]).max() <= 3
    assert [frame.pts for frame in frames] == [Fraction(t, 25) for t in range(50)]
    assert video.info.frames == 50
    assert video.info.rate == 25
    assert brightness(video) == brightness(frames), "a second pass gives the same"


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
@pytest.mark.parametrize("start", [0.04, 0.5, 1.2, 1.6])
def test_start_and_duration_give_the_same_frames_as_cutting_by_hand(tmp_path, suffix, start):
    path = encode(tmp_path / f"a.{suffix}", flat(LEVELS), codec="libx264", crf="10", bf="3", g="10")
    whole = list(VideoFile(path))
    first = Fraction(str(start))
    expected = [frame for frame in whole if first <= frame.pts < first + Fraction(3, 10)]
    video = VideoFile(path, start=start, duration=0.3)
    got = list(video)
    assert [frame.pts + expected[0].pts for frame in got] == [frame.pts for frame in expected]
    for ours, theirs in zip(got, expected, strict=True):
        assert np.array_equal(ours.rgb_HWC, theirs.rgb_HWC)
    assert video.info.frames >= len(got)


def test_max_frames_and_what_the_header_says(tmp_path):
    path = encode(tmp_path / "a.mp4", flat(LEVELS), codec="libx264")
    for most in (1, 7, 50, 99):
        video = VideoFile(path, max_frames=most)
        assert video.info.frames == len(list(video)) == min(most, 50)


def test_variable_rate_is_kept_exactly(tmp_path):
    ticks = [0, 1001, 3003, 3004, 9009, 90000, 90001, 123456]
    path = encode(
        tmp_path / "a.mp4", flat(LEVELS[:8]), codec="libx264", pts=ticks, base=Fraction(1, 90000)
    )
    assert [frame.pts for frame in VideoFile(path)] == [Fraction(tick, 90000) for tick in ticks]


def test_times_count_from_the_first_frame(tmp_path):
    path = encode(tmp_path / "a.mkv", flat(LEVELS[:5]), pts=range(250, 255))
    assert [frame.pts for frame in VideoFile(path)] == [Fraction(t, 25) for t in range(5)]


def test_a_stream_without_times_runs_at_its_average_rate_and_says_so(tmp_path):
    path = encode(tmp_path / "a.h264", flat(LEVELS[:9]), codec="libx264")
    video = VideoFile(path)
    assert [frame.pts for frame in video] == [t / video.info.rate for t in range(9)]
    assert any("no time stamps" in note for note in video.info.notes)


def test_clock_mends_what_runs_backwards():
    tick, interval = Fraction(1, 100), Fraction(4, 100)
    clock = Clock(Fraction(25), tick, None)
    times = [clock(stamp) for stamp in (10, 14, 14, 18, None, 26, 500, 0, 4)]
    assert times[:6] == [0, 4 * tick, 5 * tick, 8 * tick, 12 * tick, 16 * tick]
    assert times[6:] == [490 * tick, 490 * tick + interval, 490 * tick + 2 * interval]
    assert clock.mended == 2
    assert clock.end == times[-1] + interval


@pytest.mark.parametrize(
    ("rotation", "turn"),
    [((90,), 1), ((180,), 2), ((-90,), 3), ((0, True, False), "x"), ((0, False, True), "y")],
)
def test_rotation_and_mirroring_are_applied(tmp_path, rotation, turn):
    yuv = noise((48, 64))
    path = encode(
        tmp_path / "a.mp4",
        [yuv],
        "yuv444p",
        "libx264",
        matrix="bt709",
        span="full",
        rotation=rotation,
        qp="0",
    )
    rgb_HWC = to_rgb(yuv, "bt709", "full")
    expected = (
        rgb_HWC[:, ::-1]
        if turn == "x"
        else rgb_HWC[::-1]
        if turn == "y"
        else np.rot90(rgb_HWC, turn)
    )
    video = VideoFile(path)
    (frame,) = video
    assert np.abs(expected - frame.rgb_HWC).max() <= 1
    assert (video.info.height, video.info.width, 3) == expected.shape
    assert frame.rgb_HWC.flags.c_contiguous


@pytest.mark.parametrize(
    ("height", "size"), [(24, (32, 24)), (16, (22, 16)), (48, (64, 48)), (31, (42, 31))]
)
def test_height_shrinks_and_keeps_proportions(tmp_path, height, size):
    path = encode(tmp_path / "a.mkv", flat([100]))
    video = VideoFile(path, height=height)
    assert (video.info.width, video.info.height) == size
    assert next(iter(video)).rgb_HWC.shape == (size[1], size[0], 3)


def test_height_counts_upright_rows(tmp_path):
    path = encode(tmp_path / "a.mp4", flat([100, 120]), codec="libx264", rotation=(90,))
    assert next(iter(VideoFile(path, height=32))).rgb_HWC.shape == (32, 24, 3)


def test_shrinking_agrees_with_the_scale_filter(tmp_path):
    path = encode(tmp_path / "a.mkv", [noise((96, 128))], "yuv444p", matrix="bt709", span="limited")
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        graph = av.filter.Graph()
        source = graph.add_buffer(template=container.streams.video[0])
        scale = graph.add(
            "scale",
            "64:48:flags=bicubic+accurate_rnd+full_chroma_int:in_color_matrix=bt709:in_range=tv:out_range=pc",
        )
        source.link_to(scale)
        for left, right in ((scale, graph.add("format", "rgb24")),):
            left.link_to(right)
            right.link_to(graph.add("buffersink"))
        graph.configure()
        graph.push(frame)
        expected = graph.pull().to_ndarray().astype(int)
    assert np.abs(next(iter(VideoFile(path, height=48))).rgb_HWC - expected).max() <= 1


def test_odd_sizes(tmp_path):
    yuv = noise((35, 51))
    (frame,) = VideoFile(
        encode(tmp_path / "a.mkv", [yuv], "yuv444p", matrix="bt601", span="limited")
    )
    assert np.abs(to_rgb(yuv, "bt601", "limited") - frame.rgb_HWC).max() <= 1
    assert frame.rgb_HWC.flags.c_contiguous


def test_interlaced_content_is_said(tmp_path):
    path = encode(
        tmp_path / "a.mp4",
        flat(LEVELS[:6]),
        codec="libx264",
        **{"x264-params": "tff=1:interlaced=1"},
    )
    info = VideoFile(path).info
    assert info.interlaced
    assert any("interlaced" in note for note in info.notes)
    assert not VideoFile(
        encode(tmp_path / "b.mp4", flat(LEVELS[:6]), codec="libx264")
    ).info.interlaced


def test_fingerprint_follows_content_and_settings_not_the_name(tmp_path):
    path = encode(tmp_path / "a.mkv", flat([50, 60]))
    same = tmp_path / "b.mkv"
    same.write_bytes(path.read_bytes())
    other = encode(tmp_path / "c.mkv", flat([50, 61]))
    keys = {
        VideoFile(other).fingerprint(),
        VideoFile(path, max_frames=1).fingerprint(),
        VideoFile(path, height=24).fingerprint(),
    }
    keys |= {VideoFile(path, start=0.04).fingerprint(), VideoFile(path, duration=1).fingerprint()}
    assert len(keys) == 5
    assert VideoFile(path).fingerprint() == VideoFile(same).fingerprint() not in keys


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("start", -1),
        ("start", "soon"),
        ("start", float("nan")),
        ("duration", 0),
        ("duration", -2.5),
        ("max_frames", 0),
        ("max_frames", 2.5),
        ("max_frames", True),
        ("height", 15),
        ("height", 49),
        ("height", "720p"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(tmp_path, setting, value):
    path = encode(tmp_path / "a.mkv", flat([50, 60]))
    with pytest.raises(UserError) as caught:
        VideoFile(path, **{setting: value})
    assert str(caught.value).startswith(f"video.{setting}={value}: ")
    assert "\n" not in str(caught.value)


def test_a_start_behind_the_end_says_so(tmp_path):
    path = encode(tmp_path / "a.mkv", flat([50, 60]))
    with pytest.raises(UserError, match=r"video.start=9: the video has no frame there"):
        list(VideoFile(path, start=9))
