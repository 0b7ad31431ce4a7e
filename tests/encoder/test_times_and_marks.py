"""Played files and LR streams have the times, the end and the marks of the source."""

from dataclasses import replace
from fractions import Fraction as F
from pathlib import Path

import av
import pytest
from tiny_package import make

from stdo.cli.play import main
from stdo.core.types import Marks, Mastering, Projection, Stereo
from stdo.encoder.pack import _source
from stdo.encoder.stream import write_stream
from stdo.package.container import Package
from stdo.package.manifest import from_json, to_json
from stdo.video.codecs import PACKED
from stdo.video.degrade import Degrade
from stdo.video.reader import VideoFile
from stdo.video.sample import GeneratedClip
from stdo.video.store import prepare
from stdo.video.ticks import Timeline
from stdo.video.writer import VideoWriter

HDR10 = Mastering((34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450), (50, 10_000_000))
MARKS = Marks(F(64, 45), Stereo("top_bottom"), Projection("equirectangular"), HDR10, (1000, 400))
PAUSED = [F(t, 25) for t in (0, 1, 2, 2500, 2501, 2502)]
DAY = [F(t, 25) for t in (0, 1, 2, 25 * 86400, 25 * 86400 + 1)]


def seen(path: Path) -> list[F]:
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        times = [frame.pts * stream.time_base for frame in file.decode(stream)]
    return [time - times[0] for time in times]


@pytest.mark.parametrize("pts", [PAUSED, DAY], ids=["100 s", "a day"])
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov"])
def test_a_picture_that_stands_still_is_played(tmp_path: Path, name: str, pts: list[F]) -> None:
    made = make(tmp_path, pts=pts, width=64, height=48)
    main([str(made.path), str(tmp_path / name)])
    assert max(abs(a - b) for a, b in zip(seen(tmp_path / name), pts, strict=True)) == 0


def test_a_stretch_that_begins_later_has_its_times(tmp_path: Path) -> None:
    made = make(tmp_path, pts=PAUSED, width=64, height=48)
    main([str(made.path), str(tmp_path / "out.mp4"), "--start", "0.05", "--duration", "100"])
    assert seen(tmp_path / "out.mp4") == [time - PAUSED[2] for time in PAUSED[2:5]]


def test_the_last_picture_is_played_as_long_as_in_the_source(tmp_path: Path) -> None:
    made = make(tmp_path, frames=4, width=64, height=48, told={"last": F(5)})
    for name in ("out.mp4", "out.mkv"):
        main([str(made.path), str(tmp_path / name)])
        assert list(VideoFile(tmp_path / name))[-1].length == 5
    assert Package.open(made.path).manifest.source.seconds == F(3, 25) + 5


def test_a_stretch_ends_with_its_last_picture(tmp_path: Path) -> None:
    made = make(tmp_path, frames=4, width=64, height=48, told={"last": F(5)})
    main([str(made.path), str(tmp_path / "out.mp4"), "--duration", "0.08"])
    assert [frame.length for frame in VideoFile(tmp_path / "out.mp4")] == [F(1, 25), F(1, 25)]


def test_the_played_file_has_every_mark(tmp_path: Path) -> None:
    made = make(tmp_path, frames=4, width=64, height=48, told={"marks": MARKS})
    main([str(made.path), str(tmp_path / "out.mp4")])
    assert VideoFile(tmp_path / "out.mp4").info.marks == MARKS
    assert not [
        each for each in tmp_path.iterdir() if "partial" in each.name or "boxes" in each.name
    ]


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov"])
@pytest.mark.parametrize("aspect", [F(64, 45), F(8, 9)])
def test_pixels_that_are_not_square_are_played_as_such(
    tmp_path: Path, name: str, aspect: F
) -> None:
    made = make(tmp_path, frames=4, width=64, height=48, told={"marks": Marks(aspect)})
    main([str(made.path), str(tmp_path / name)])
    with av.open(str(tmp_path / name)) as file:
        assert file.streams.video[0].sample_aspect_ratio == aspect


def filmed(path: Path, times: list[F], last: F, marks: Marks) -> Path:
    clip = GeneratedClip(64, 48, frames=len(times), rate=25)
    with VideoWriter(
        path, 64, 48, F(25), "x264", timeline=Timeline.of(times, last), marks=marks
    ) as writer:
        for time, frame in zip(times, clip, strict=True):
            writer.write((time, frame.rgb_HWC))
    return path


@pytest.mark.parametrize("codec", [None, *PACKED])
@pytest.mark.parametrize("times", [PAUSED, DAY], ids=["100 s", "a day"])
def test_the_lr_stream_and_the_manifest_tell_all_of_it(
    tmp_path: Path, codec: str | None, times: list[F]
) -> None:
    source = VideoFile(filmed(tmp_path / "a.mp4", times, F(3), MARKS))
    assert source.info.marks == MARKS
    video = prepare(source, tmp_path / "cache", Degrade(2, codec))
    muxed = write_stream(tmp_path, video, source, codec is not None)
    assert muxed.path.name == "lr.mp4"
    assert seen(muxed.path) == times
    lr = VideoFile(muxed.path)
    assert list(lr)[-1].length == 3
    assert replace(lr.info.marks, mastering=None) == replace(MARKS, mastering=None)
    told = _source(video.info, video)
    assert (told.marks, told.last) == (MARKS, 3)
    assert [told.pts(t) for t in range(len(times))] == times
    made = make(
        tmp_path, pts=times, width=64, height=48, told={"marks": told.marks, "last": told.last}
    )
    manifest = Package.open(made.path).manifest
    assert from_json(to_json(manifest)) == manifest


def test_a_rate_and_times_of_odd_fractions_fit_the_manifest(tmp_path: Path) -> None:
    """Joined videos, and every sixth frame of a variable rate, have fractions beyond 31 bits."""
    source = VideoFile(filmed(tmp_path / "a.mp4", PAUSED, F(1, 25), Marks()))
    video = prepare(source, tmp_path / "cache", Degrade(2))
    odd = [F(t, 2**31 - 1) + F(t, 2**29 - 3) for t in range(len(PAUSED))]
    info = replace(video.info, rate=F(2**31 - 1, 2**33 + 9))
    told = _source(info, replace(video, pts=odd, last=F(2**40 + 1, 2**41)))
    assert max(*told.rate.as_integer_ratio(), *told.last.as_integer_ratio()) < 2**31
    assert max(abs(told.pts(t) - time) for t, time in enumerate(odd)) < F(1, 10**6)
