"""What a file tells players beside its pixels is read, and written by every codec."""

from dataclasses import replace
from fractions import Fraction as F
from pathlib import Path

import av
import pytest
from odd_clips import h264, made, rgb, scene

from stdo.core.types import UNMARKED, Marks, Mastering, Projection, Stereo
from stdo.video.codecs import PACKED
from stdo.video.degrade import Degrade
from stdo.video.joined import Joined
from stdo.video.marks import write_boxes
from stdo.video.reader import VideoFile
from stdo.video.store import prepare
from stdo.video.writer import VideoWriter

HDR10 = Mastering((34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450), (50, 10_000_000))
TILE = Projection(
    "equirectangular_part", (10 << 16, -5 << 16, 3), (1 << 20, 2 << 20, 3 << 20, 4 << 20)
)
ALL = Marks(F(64, 45), Stereo("side_by_side"), TILE, HDR10, (1000, 400))
PRESETS = {"x264": "fast", "x265": "fast", "svtav1": "12"}


def written(path: Path, codec: str, marks: Marks) -> Path:
    with VideoWriter(path, 64, 48, F(25), codec, preset=PRESETS.get(codec), marks=marks) as writer:
        for t in range(4):
            writer.write((F(t, 25), rgb(t)))
    return path


def near(one: Mastering | None, other: Mastering | None) -> bool:
    """AV1 counts in other steps."""
    if one is None or other is None:
        return one is other
    pairs = zip((*one.primaries, *one.luminance), (*other.primaries, *other.luminance), strict=True)
    return all(abs(a - b) <= max(2, 0.4 * a if a < 100 else 0) for a, b in pairs)


@pytest.mark.parametrize("codec", PACKED)
def test_every_codec_writes_every_mark_into_mp4(tmp_path: Path, codec: str) -> None:
    got = VideoFile(written(tmp_path / "a.mp4", codec, ALL)).info.marks
    assert replace(got, mastering=None) == replace(ALL, mastering=None)
    assert near(ALL.mastering, got.mastering)


PLACES = [
    (codec, suffix)
    for codec in PACKED
    for suffix in ("mp4", "mkv")
    if (codec, suffix) != ("svtav1", "mkv")
]
"""PyAV cannot tell Matroska the aspect, and AV1 has none of its own; no file of ours is both but an
LR stream."""


@pytest.mark.parametrize(("codec", "suffix"), PLACES)
@pytest.mark.parametrize("aspect", [F(64, 45), F(8, 9), F(4, 3), F(1, 2)])
def test_the_aspect_is_in_every_container(
    tmp_path: Path, codec: str, suffix: str, aspect: F
) -> None:
    path = written(tmp_path / f"a.{suffix}", codec, Marks(aspect))
    with av.open(str(path)) as file:
        assert file.streams.video[0].sample_aspect_ratio == aspect


@pytest.mark.parametrize("layout", ["side_by_side", "top_bottom"])
@pytest.mark.parametrize("right_first", [False, True])
def test_matroska_has_all_layouts_of_two_eyes(
    tmp_path: Path, layout: str, right_first: bool
) -> None:
    stereo = Stereo(layout, right_first)
    assert (
        VideoFile(written(tmp_path / "a.mkv", "x265", Marks(stereo=stereo))).info.marks.stereo
        == stereo
    )


@pytest.mark.parametrize(
    "projection", [Projection("equirectangular"), Projection("cubemap", padding=4), TILE]
)
def test_spheres_are_read_as_written(tmp_path: Path, projection: Projection) -> None:
    path = written(tmp_path / "a.mp4", "x264", Marks(projection=projection))
    assert VideoFile(path).info.marks.projection == projection


def test_boxes_leave_every_frame_where_its_offset_says(tmp_path: Path) -> None:
    """With the index in front, the boxes move what comes after it."""
    path = h264("a.mp4", container={"movflags": "faststart"})(tmp_path)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(path)) as file:
        before = [bytes(packet) for packet in file.demux(video=0)]
    write_boxes(path, ALL)
    with av.open(str(path)) as file:
        assert [bytes(packet) for packet in file.demux(video=0)] == before
    assert VideoFile(path).info.marks == Marks(stereo=ALL.stereo, projection=TILE)
    once = path.read_bytes()
    write_boxes(path, ALL)
    assert path.read_bytes() == once, "what is there is not added again"
    assert [each.name for each in tmp_path.iterdir()] == ["a.mp4"]


def test_what_is_no_mp4_is_left_alone(tmp_path: Path) -> None:
    for name in ("a.mkv", "a.nut"):
        path = h264(name)(tmp_path)
        before = path.read_bytes()
        write_boxes(path, ALL)
        assert path.read_bytes() == before
    for content in (
        b"",
        b"\0\0\0\1moov",
        b"\0\0\0\x18ftypisom" + bytes(12) + b"\0\0\0\0moov" + bytes(20),
    ):
        path = tmp_path / "odd.mp4"
        path.write_bytes(content)
        write_boxes(path, ALL)
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("settings", "rotation", "aspect"),
    [
        ({}, None, F(64, 45)),
        ({"height": 24}, None, F(64, 45)),
        ({"height": 32}, None, F(64, 45) * F(64, 48) / F(42, 32)),
        ({}, (90,), F(45, 64)),
        ({"height": 32}, (-90,), F(45, 64)),
        ({}, (180,), F(64, 45)),
    ],
)
def test_a_picture_keeps_its_shape(tmp_path: Path, settings: dict, rotation, aspect: F) -> None:
    path = h264("a.mp4", rotation=rotation, **{"x264-params": "sar=64\\:45"})(tmp_path)
    info = VideoFile(path, **settings).info
    assert info.marks.aspect == aspect
    shape = F(64 * 64, 45 * 48)
    shape = 1 / shape if rotation in ((90,), (-90,)) else shape
    assert info.width * info.marks.aspect / info.height == shape


def test_square_pixels_stay_square_and_absurd_ones_count_as_square(tmp_path: Path) -> None:
    assert VideoFile(h264("a.mp4", scene(8, 50, 66))(tmp_path), height=32).info.marks == UNMARKED
    path = h264("b.mp4", **{"x264-params": "sar=4000\\:1"})(tmp_path)
    assert VideoFile(path).info.marks == UNMARKED


@pytest.mark.parametrize("codec", PACKED)
def test_the_lr_video_has_the_marks(tmp_path: Path, codec: str) -> None:
    source = VideoFile(written(tmp_path / "a.mp4", "x264", ALL))
    assert source.info.marks == ALL
    video = prepare(source, tmp_path / "cache", Degrade(2, codec, preset=PRESETS.get(codec)))
    got = VideoFile(video.lr_video).info.marks
    assert replace(got, mastering=None) == replace(ALL, mastering=None)


def test_joined_videos_with_different_marks_say_so(tmp_path: Path) -> None:
    one, other = (
        written(tmp_path / "a.mp4", "x264", ALL),
        written(tmp_path / "b.mp4", "x264", UNMARKED),
    )
    both = Joined([one, other]).info
    assert both.marks == ALL
    assert "what players are told beside the pixels differs" in both.notes[-1]
    assert "differs" not in " ".join(Joined([one, one]).info.notes)


def test_marks_that_are_not_carried_are_named(tmp_path: Path) -> None:
    odd = Marks(stereo=Stereo("checkerboard", True))
    path = written(tmp_path / "a.mkv", "x264", odd)
    info = VideoFile(path).info
    assert info.marks.stereo == odd.stereo
    assert any("only Matroska can tell" in note for note in info.notes)
    turned = h264("b.mp4", rotation=(90,), **{"x264-params": "frame-packing=4"})(tmp_path)
    info = VideoFile(turned).info
    assert info.marks.stereo is None
    assert any("not carried" in note and "two eyes" in note for note in info.notes)


def test_the_display_and_the_light_of_hdr_are_read(tmp_path: Path) -> None:
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    told = f"mastering-display={display}:cll=1000,400"
    marks = VideoFile(made("a.mp4", codec="libx264", **{"x264-params": told})(tmp_path)).info.marks
    assert (marks.mastering, marks.light) == (HDR10, (1000, 400))
