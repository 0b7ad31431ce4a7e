"""Files hold the times of their source, however long a picture stands still, and how long the last
one is shown."""

import json
import tracemalloc
from fractions import Fraction as F
from math import lcm
from pathlib import Path

import av
import numpy as np
import pytest
from odd_clips import held, rgb
from video_clips import encode, flat

from stdo.core.types import Frame, UserError
from stdo.video.codecs import CODECS, LOSSY, PACKED
from stdo.video.degrade import Degrade
from stdo.video.joined import Joined
from stdo.video.reader import VideoFile
from stdo.video.span import Span
from stdo.video.store import prepare
from stdo.video.ticks import MOST, Timeline, ticks_of
from stdo.video.ticks import held as fraction_held
from stdo.video.writer import VideoWriter

PRESETS = {"x264": "fast", "x265": "fast", "svtav1": "12"}
FILMS = [name for name in CODECS if name != "png"]
SHORT = [F(i, 25) for i in range(12)]


def paused(first: list[F], pause: F | int) -> list[F]:
    return [*first, *(first[-1] + pause + time for time in first)]


# Name: times, seconds that the last is shown, largest error in MP4.
TIMELINES: dict[str, tuple[list[F], F, F]] = {
    "steady": (SHORT, F(1, 25), F(0)),
    "NTSC": ([F(i * 1001, 30000) for i in range(12)], F(1001, 30000), F(0)),
    "film, a pause of 100 s": (
        paused([F(i * 1001, 24000) for i in range(8)], 100),
        F(1001, 24000),
        F(0),
    ),
    "a pause of a day": (paused(SHORT, 86400), F(1, 25), F(0)),
    "a pause of nine days": (paused(SHORT, 9 * 86400), F(1, 25), F(0)),
    "a pause after the first": ([F(0), *(86400 + time for time in SHORT)], F(1, 25), F(0)),
    "a day in odd ticks": (
        paused([F(i * 3003, 90000) for i in range(8)], 86400),
        F(3003, 90000),
        F(1, 10000),
    ),
    "a phone": ([F(i * 3000 + i * 7919 % 997, 90000) for i in range(20)], F(2999, 90000), F(0)),
    "milliseconds": ([F(i * 1001 // 30, 1000) for i in range(20)], F(33, 1000), F(0)),
    "nanoseconds": ([F(i * 33366700 + 13 * i * i, 10**9) for i in range(12)], F(33, 1000), F(0)),
    "no common tick": (
        sorted(F(i, p) for i, p in enumerate((3, 5, 7, 11, 13, 17, 19, 23, 29, 31))),
        F(1, 37),
        F(1, 10**6),
    ),
    "held at the end": (SHORT, F(5), F(0)),
    "one picture": ([F(0)], F(5), F(0)),
}


def written(path: Path, codec: str, times: list[F], last: F | None, rate: F | None = None) -> Path:
    rate = rate or len(times) / (times[-1] + (last or F(1, 25)))
    timeline = Timeline.of(times, last)
    with VideoWriter(
        path, 64, 48, rate, codec, preset=PRESETS.get(codec), timeline=timeline
    ) as writer:
        for t, time in enumerate(times):
            writer.write((time, rgb(t)))
    return path


def seen(path: Path) -> tuple[list[F], F]:
    """When PyAV shows each picture, and when the header says that the video ends."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        times = [frame.pts * stream.time_base for frame in file.decode(stream)]
        end = F((stream.duration or 0) + (stream.start_time or 0)) * stream.time_base
    return [time - times[0] for time in times], end - times[0]


@pytest.mark.parametrize("codec", FILMS)
@pytest.mark.parametrize("name", TIMELINES)
def test_mp4_has_the_times_of_the_source(tmp_path: Path, name: str, codec: str) -> None:
    times, last, error = TIMELINES[name]
    got, end = seen(written(tmp_path / "a.mp4", codec, times, last))
    assert len(got) == len(times)
    assert max(abs(one - other) for one, other in zip(got, times, strict=True)) <= error
    assert abs(end - times[-1] - last) <= F(1, 1000), "edit lists count in milliseconds"


@pytest.mark.parametrize("suffix", ["mkv", "mov", "nut"])
@pytest.mark.parametrize(
    "name", ["film, a pause of 100 s", "a pause of a day", "a phone", "no common tick"]
)
def test_other_containers_are_within_a_millisecond(tmp_path: Path, name: str, suffix: str) -> None:
    times, last, _ = TIMELINES[name]
    got, _ = seen(written(tmp_path / f"a.{suffix}", "x264", times, last))
    assert max(abs(one - other) for one, other in zip(got, times, strict=True)) <= F(1, 1000)


@pytest.mark.parametrize("codec", LOSSY)
@pytest.mark.parametrize("rate", [F(1, 100), F(480), F(10**6, 33333)])
def test_any_average_rate_can_be_written(tmp_path: Path, codec: str, rate: F) -> None:
    times = [t / rate for t in range(4)]
    got, _ = seen(written(tmp_path / "a.mp4", codec, times, 1 / rate, rate))
    assert got == times


def ticks(times: list[F], last: F) -> tuple[F, list[int]]:
    found = ticks_of(Timeline.of(times), last)
    stamps: list[int] = []
    for t in range(len(times)):
        stamps.append(found.stamp(t, stamps[-1] if stamps else None))
        assert t + 1 < len(times) or found.length(t, stamps[-1]) == found.last
    return found.base, stamps


@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_or_two_frames_by_x265(tmp_path: Path, count: int) -> None:
    """Of so few it gives times of decoding from memory that nobody has written to, mostly."""
    for attempt in range(8):
        got, end = seen(written(tmp_path / f"{attempt}.mp4", "x265", SHORT[:count], F(1, 25)))
        assert (got, end) == (SHORT[:count], F(count, 25))


def test_ticks_are_the_coarsest_that_hold_all_times() -> None:
    assert ticks([F(0), F(1, 30), F(1, 10)], F(1, 30)) == (F(1, 30), [0, 1, 3])
    assert ticks([F(0), F(1, 30), F(1, 8)], F(1, 7))[0] == F(1, lcm(30, 8, 7))
    base, stamps = ticks([F(0), F(86400) + F(1, 90001)], F(1, 25))
    assert stamps[-1] <= MOST
    assert abs(stamps[-1] * base - 86400) < F(1, 1000)


def test_rounded_times_do_not_drift_and_never_meet() -> None:
    third = [F(t, 3) + F(t, 10**12) for t in range(10_000)]
    base, stamps = ticks(third, F(1, 3))
    assert max(abs(s * base - time) for s, time in zip(stamps, third, strict=True)) <= base / 2
    assert ticks([F(0), F(1, 10**12), F(2, 10**12)], F(1, 25))[1] == [0, 1, 2]


@pytest.mark.slow
def test_ten_million_frames_that_a_package_claims_cost_no_memory() -> None:
    tracemalloc.start()
    found = ticks_of(Timeline(range(10_000_000), F(1001, 30000)), F(1001, 30000))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert found.stamp(9_999_999, None) == 9_999_999 * 1001


@pytest.mark.parametrize(
    "number", [F(25), F(2**40, 3), F(3, 2**40), F(2**31 - 1, 2**31 + 7), F(1, 10**12)]
)
def test_a_fraction_for_the_manifest_has_31_bits(number: F) -> None:
    nearest = fraction_held(number)
    assert all(1 <= part <= MOST for part in nearest.as_integer_ratio())
    assert nearest == MOST or abs(nearest - number) < max(number, F(1)) / 10**9


def test_a_pause_that_nobody_told_of_is_no_silent_error(tmp_path: Path) -> None:
    def write() -> None:
        with VideoWriter(tmp_path / "a.mp4", 64, 48, F(25)) as writer:
            for time in (F(0), F(86400)):
                writer.write((time, rgb(0)))

    with pytest.raises(UserError, match="a pause of 86400 s"):
        write()
    assert not list(tmp_path.iterdir())


# What a file says of its last picture, which is held for 5 s.

HELD = {
    "a.mp4": held("a.mp4", bf="0"),
    "b.mp4": held("b.mp4", bf="2"),
    "a.mov": held("a.mov", bf="0"),
    "a.mkv": held("a.mkv", bf="2"),
    "a.webm": held("a.webm", codec="libvpx-vp9", **{"cpu-used": "8"}),
    "a.gif": held("a.gif", codec="gif", pixel_format="rgb8"),
    "fragmented.mp4": held("a.mp4", bf="0", container={"movflags": "frag_keyframe+empty_moov"}),
    "ffv1.mkv": held("a.mkv", codec="ffv1", pixel_format="bgr0"),
}


@pytest.mark.parametrize("name", HELD)
def test_a_picture_held_at_the_end_is_shown_as_long_as_in_the_source(
    tmp_path: Path, name: str
) -> None:
    frames = list(VideoFile(HELD[name](tmp_path)))
    assert [frame.pts for frame in frames] == [F(t, 10) for t in range(8)]
    assert frames[-1].length == 5
    assert {frame.length for frame in frames[:-1]} == {F(1, 10)}


@pytest.mark.parametrize("codec", FILMS)
def test_what_was_written_held_is_read_held(tmp_path: Path, codec: str) -> None:
    path = written(tmp_path / "a.mp4", codec, SHORT, F(5))
    assert list(VideoFile(path))[-1].length == 5


def test_an_ordinary_last_picture_is_shown_for_one_interval(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "a.ts", "a.flv"):
        codec = "flv" if name == "a.flv" else "libx264"
        video = VideoFile(
            encode(tmp_path / name, flat(range(50, 100, 5)), codec=codec, base=F(1, 25))
        )
        assert list(video)[-1].length in (None, F(1, 25))


@pytest.mark.parametrize(
    ("settings", "length"),
    [
        ({"max_frames": 3}, F(1, 10)),
        ({"max_frames": 8}, F(5)),
        ({"duration": 2.0}, F(13, 10)),
        ({"duration": 0.75}, F(5) - F(5) + F(1, 10)),
        ({"every": 3}, F(5) + F(1, 10)),
        ({"every": 3, "max_frames": 2}, F(3, 10)),
        ({"start": 0.25}, F(5)),
    ],
)
def test_the_last_picture_of_a_stretch(tmp_path: Path, settings: dict, length: F) -> None:
    """Until the next one that would be taken, to the end of the stretch, or of the video."""
    assert list(VideoFile(HELD["a.mkv"](tmp_path), **settings))[-1].length == length


def test_max_frames_does_not_read_what_is_damaged_behind_them(tmp_path: Path) -> None:
    span = Span.of(max_frames=2)

    def frames():
        yield from (Frame(F(t, 10), rgb(t), F(1, 10)) for t in range(2))
        raise UserError("damaged")

    assert [frame.length for frame in span.select(frames())] == [F(1, 10), F(1, 10)]


def test_joined_videos_begin_where_the_one_before_ends(tmp_path: Path) -> None:
    one = HELD["a.mp4"](tmp_path)
    frames = list(Joined([one, one]))
    assert [frame.pts for frame in frames] == [
        *(F(t, 10) for t in range(8)),
        *(F(t + 57, 10) for t in range(8)),
    ]
    assert frames[-1].length == 5


def test_prepared_videos_know_how_long_the_last_is_shown(tmp_path: Path) -> None:
    source = VideoFile(HELD["a.mkv"](tmp_path))
    video = prepare(source, tmp_path / "cache", Degrade(2))
    assert video.last == prepare(source, tmp_path / "cache", Degrade(3)).last == 5
    facts = video.folder / "hr.json"
    told = json.loads(facts.read_text(encoding="utf-8"))
    del told["last"]  # as in caches of before
    facts.write_text(json.dumps(told), encoding="utf-8")
    assert prepare(source, tmp_path / "cache", Degrade(2)).last == 1 / source.info.rate


@pytest.mark.parametrize("codec", PACKED)
def test_the_lr_video_has_the_times_and_the_end_of_its_source(tmp_path: Path, codec: str) -> None:
    times = paused(SHORT, 100)
    source = VideoFile(written(tmp_path / "a.mp4", "x264", times, F(3)))
    video = prepare(source, tmp_path / "cache", Degrade(2, codec, preset=PRESETS.get(codec)))
    got, end = seen(video.lr_video)
    assert (got, end) == (times, times[-1] + 3)
    for t, frame in enumerate(VideoFile(video.lr_video)):
        assert np.array_equal(frame.rgb_HWC, video.lr[t])
