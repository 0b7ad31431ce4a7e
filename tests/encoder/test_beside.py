"""What goes with the picture: sound where it was, and a note for every stream that is left out."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from av.packet import Packet
from carried import (
    CHAPTER,
    Sound,
    chapter_at,
    click_at,
    film,
    first_picture,
    line_at,
    packed,
    played,
    streams,
)

from stdo.core.types import UserError
from stdo.encoder.beside import beside
from stdo.video.mux import _REFUSALS
from stdo.video.reader import VideoFile
from stdo.video.tracks import streams_beside, with_first_packets
from stdo.video.trial import holds

NEAR = 0.005
"""Seconds by which sound, subtitles and chapters may be off."""

PADDED = {"muxrate": "8000000"}
"""So much padding that FFmpeg does not see the end of a broadcast when it opens it."""


def offers(path: Path) -> tuple[str, list[str], tuple[str, ...]]:
    """The LR stream that a file would get, the codecs that go in, and the notes."""
    with beside(VideoFile(path)) as carried:
        return (
            carried.member,
            [str(each).split(" stream ")[0] for each in carried.tracks],
            carried.notes,
        )


BEGINNINGS = {
    "cut": ({}, {}, 1.0),
    "picture late": ({"first": 1}, {}, 0.0),
    "sound late": ({}, {"begin": 0.7}, 0.0),
}
CODECS = [
    "aac",
    "flac",
    *(
        pytest.param(each, marks=pytest.mark.slow)
        for each in ("ac3", "libopus", "libmp3lame", "pcm_s16le")
    ),
]


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("codec", CODECS)
def test_sound_lines_and_chapters_stay_where_they_were(
    codec: str, beginning: str, tmp_path: Path
) -> None:
    of_film, of_sound, start = BEGINNINGS[beginning]
    path = film(
        tmp_path / "film.mkv", [Sound(codec, **of_sound)], text=1.6, chapters=True, **of_film
    )
    package, muxed = packed(path, tmp_path, start=start)
    assert muxed.path.name == "lr.mkv" and muxed.notes == ()
    for name, options, skipped in (
        ("all.mkv", (), 0),
        ("all.mp4", (), 0),
        ("part.mkv", ("--start", "0.1"), 0.1),
    ):
        out = played(package, tmp_path / name, *options)
        before = start + skipped
        assert click_at(out) == pytest.approx(click_at(path) - before, abs=NEAR), name
        assert chapter_at(out) == pytest.approx(max(0, chapter_at(path) - before), abs=NEAR), name
        if name.endswith("mkv"):
            assert line_at(out) == pytest.approx(line_at(path) - before, abs=NEAR), name


@pytest.mark.parametrize("file", ["film.mp4", "film.ts", "film.mov"])
@pytest.mark.parametrize("out", ["out.mkv", "out.mp4", "out.mov", "out.ts"])
def test_every_container_from_every_container(file: str, out: str, tmp_path: Path) -> None:
    path = film(tmp_path / file, [Sound("ac3")], first=1)
    package, _ = packed(path, tmp_path)
    assert click_at(played(package, tmp_path / f"played-{out}")) == pytest.approx(
        click_at(path), abs=NEAR
    )


def test_the_first_picture_of_the_lr_stream_says_where_the_others_belong(tmp_path: Path) -> None:
    """Matroska has no times before 0: the picture, and all that is with it, begin later."""
    path = film(tmp_path / "film.mkv", [Sound("flac")], first=1, text=1.6, chapters=True)
    _, muxed = packed(path, tmp_path)
    assert first_picture(muxed.path) == pytest.approx(0.1, abs=0.001)
    assert click_at(muxed.path) == pytest.approx(1.4, abs=NEAR)
    assert chapter_at(muxed.path) == pytest.approx(float(CHAPTER) - 0.1, abs=NEAR)


REFUSED_BY_MP4 = {
    "mp3 at 11,025 Hz": ("film.flv", "flv1", Sound("libmp3lame", 11_025)),
    "mp3 at 8,000 Hz": ("film.avi", "mpeg4", Sound("libmp3lame", 8_000)),
    "wma": ("film.avi", "mpeg4", Sound("wmav2", options={"b": "128000"})),
    "adpcm": ("film.avi", "mpeg4", Sound("adpcm_ms")),
    "a-law": ("film.avi", "mpeg4", Sound("pcm_alaw", 8_000)),
    "mu-law": ("film.avi", "mpeg4", Sound("pcm_mulaw", 8_000)),
    "8 bit": ("film.avi", "mpeg4", Sound("pcm_u8")),
}


@pytest.mark.parametrize("case", REFUSED_BY_MP4)
def test_sound_that_mp4_refuses_goes_into_matroska(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, codec, sound = REFUSED_BY_MP4[case]
    path = film(tmp_path / name, [sound], codec=codec)
    package, muxed = packed(path, tmp_path)
    assert muxed.path.name == "lr.mkv" and muxed.notes == () and muxed.audio_bytes
    out = played(package, tmp_path / "out [1] 'a'.mkv")
    assert click_at(out) == pytest.approx(click_at(path), abs=0.11), (
        "AVI places pictures to one frame"
    )
    assert [kind for kind, _ in streams(out)] == ["video", "audio"]
    capsys.readouterr()
    with pytest.raises(SystemExit):
        played(package, tmp_path / "out.mp4")
    said = capsys.readouterr().err
    assert said.startswith(f"stdo: {tmp_path}/out.mp4: cannot hold the sound") and ".mkv" in said
    assert "partial" not in said and not (tmp_path / "out.mp4").exists()


def test_sound_that_nothing_holds_is_named(tmp_path: Path) -> None:
    path = film(tmp_path / "film.flv", [Sound("nellymoser", 22_050)], codec="flv1")
    member, tracks, (note,) = offers(path)
    assert (member, tracks) == ("lr.mp4", [])
    assert "(nellymoser) is left out: neither MP4 nor Matroska holds it" in note


def test_what_a_container_cannot_give_back_it_does_not_hold(tmp_path: Path) -> None:
    """MPEG-TS takes FLAC, and whoever reads it finds bytes of nothing known."""
    path = film(tmp_path / "film.mkv", [Sound("flac"), Sound("aac")])
    with av.open(str(path)) as file:
        flac, aac = with_first_packets(file, streams_beside(file.streams.video[0]), {})
        assert not holds("mpegts", flac) and holds("mpegts", aac)


def _late(folder: Path) -> tuple[Path, Path]:
    """A broadcast with a second track from 12 s on; the same with an end that has it no more."""
    first = film(
        folder / "1.ts", [Sound("aac", begin=10, end=22, click=11.5)], 100, 120, muxer=PADDED
    )
    both = [
        Sound("aac", begin=22.2, end=26.2, click=23.2),
        Sound("mp2", begin=22.2, end=26.2, click=23.2),
    ]
    second = film(folder / "2.ts", both, 222, 40, muxer=PADDED)
    third = film(
        folder / "3.ts", [Sound("aac", begin=26.4, end=30.4, click=27.4)], 264, 40, muxer=PADDED
    )
    late, between = folder / "late.ts", folder / "between.ts"
    late.write_bytes(first.read_bytes() + second.read_bytes())
    between.write_bytes(late.read_bytes() + third.read_bytes())
    return late, between


def test_a_track_that_begins_late(tmp_path: Path) -> None:
    for path, frames in zip(_late(tmp_path), (160, 200), strict=True):
        found = [offers(path) for _ in range(3)]
        assert found[0] == found[1] == found[2]
        member, tracks, (note,) = found[0]
        assert (
            (member, tracks) == ("lr.mp4", ["audio"])
            and "audio stream" in note
            and "left out" in note
        )
        package, muxed = packed(path, tmp_path)
        assert muxed.notes == (note,)
        with av.open(str(played(package, tmp_path / f"{path.stem}.mp4"))) as file:
            assert sum(1 for _ in file.decode(video=0)) == frames
        parts = [tmp_path / f"{number}.ts" for number in (1, 2, 3)][: 2 + (path.stem == "between")]
        assert abs(sounds(tmp_path / f"{path.stem}.mp4") - sum(map(sounds, parts))) <= len(parts), (
            "one at each joint"
        )


def sounds(path: Path) -> int:
    """How many packets the first sound track has."""
    with av.open(str(path)) as file:
        return sum(each.size > 0 for each in file.demux(audio=0))


def test_sound_that_is_announced_and_begins_late(tmp_path: Path) -> None:
    """FFmpeg does not know its rate when it opens the file; who reads on does."""
    path = film(
        tmp_path / "film.ts", [Sound("aac", begin=22, end=26, click=23)], 100, 160, muxer=PADDED
    )
    with av.open(str(path)) as file:
        assert file.streams.audio[0].sample_rate == 0
    package, muxed = packed(path, tmp_path)
    assert muxed.notes == ()
    assert click_at(played(package, tmp_path / "out.mp4")) == pytest.approx(13, abs=NEAR)


def remuxed(source: Path, out: Path, add: Callable[[av.container.OutputContainer], None]) -> Path:
    """A copy of a file with more in it."""
    with av.open(str(source)) as file, av.open(str(out), "w") as target:
        copies = {each.index: target.add_stream_from_template(each) for each in file.streams}
        add(target)
        for packet in file.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                target.mux_one(packet)
    return out


def png() -> bytes:
    encoder = av.VideoCodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 16, 16, "rgb24", 1
    frame = av.VideoFrame(16, 16, "rgb24")
    return b"".join(bytes(each) for each in [*encoder.encode(frame), *encoder.encode(None)])


def test_fonts_and_covers_come_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    font, cover = bytes(range(256)) * 40, png()

    def add(target: av.container.OutputContainer) -> None:
        target.add_attachment("Some Font.ttf", "font/ttf", font)
        target.add_attachment("cover.png", "image/png", cover)

    plain = film(tmp_path / "plain.mkv", [Sound("aac")], text=1.6)
    package, muxed = packed(remuxed(plain, tmp_path / "anime.mkv", add), tmp_path)
    assert muxed.path.name == "lr.mkv" and muxed.notes == ()
    with av.open(str(played(package, tmp_path / "out.mkv"))) as file:
        (attached,) = file.streams.attachments
        assert (attached.name, attached.mimetype, attached.data) == (
            "Some Font.ttf",
            "font/ttf",
            font,
        )
        assert file.streams.video[1].metadata["filename"] == "cover.png"
        assert bytes(next(file.demux(file.streams.video[1]))) == cover
    capsys.readouterr()
    out = played(package, tmp_path / "out.mp4")
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert (
        len(notes) == 2
        and "(subrip) is left out" in notes[0]
        and "(Some Font.ttf) is left out" in notes[1]
    )
    assert streams(out) == [("video", "h264"), ("audio", "aac"), ("video", "png")]


def test_a_cover_alone_stays_in_mp4(tmp_path: Path) -> None:
    cover = png()
    plain = film(tmp_path / "plain.mp4", [Sound("aac")])
    with av.open(str(plain)) as file, av.open(str(tmp_path / "film.mp4"), "w") as target:
        copies = {each.index: target.add_stream_from_template(each) for each in file.streams}
        picture = target.add_mux_stream("png", width=16, height=16)
        picture.disposition = av.stream.Disposition.attached_pic
        packet = Packet(cover)
        packet.stream, packet.time_base, packet.pts, packet.dts = picture, 1, 0, 0
        target.mux_one(packet)
        for each in file.demux():
            if each.size:
                each.stream = copies[each.stream_index]
                target.mux_one(each)
    package, muxed = packed(tmp_path / "film.mp4", tmp_path)
    assert muxed.path.name == "lr.mp4" and muxed.notes == ()
    assert streams(played(package, tmp_path / "out.mp4"))[-1] == ("video", "png")


def unknown(path: Path) -> Path:
    """Make the last track of an MP4 file one that FFmpeg has no name for."""
    data = bytearray(path.read_bytes())
    at = data.rindex(b"mp4a")
    box = data.index(b"esds", at)
    data[at : at + 4], data[box : box + 4] = b"apac", b"dapa"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("sounds", [1, 2])
def test_sound_of_an_unknown_codec_is_named(sounds: int, tmp_path: Path) -> None:
    tracks = [Sound("aac"), Sound("aac", 44_100)][-sounds:]
    path = unknown(film(tmp_path / "film.mp4", tracks))
    member, kept, (note,) = offers(path)
    assert (member, kept) == ("lr.mp4", ["audio"] * (sounds - 1))
    assert note.startswith(f"audio stream {sounds} (unknown codec) is left out")


def test_data_is_named_and_chapters_are_not(tmp_path: Path) -> None:
    """MP4 holds chapters as a stream of data, which is no loss: chapters are carried."""
    assert offers(film(tmp_path / "film.mp4", [Sound("aac")], chapters=True)) == (
        "lr.mp4",
        ["audio"],
        (),
    )
    path = film(tmp_path / "film.ts", [Sound("pcm_s16le")])  # nobody reads that from MPEG-TS again
    assert offers(path) == (
        "lr.mp4",
        [],
        ("data stream 1 (bin_data) is left out: data is not carried",),
    )


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="PyAV makes no programs")
def test_sound_of_the_pictures_program(tmp_path: Path) -> None:
    one, two = film(tmp_path / "1.mkv", [Sound("aac")]), film(tmp_path / "2.mkv", [Sound("ac3")])
    path = tmp_path / "two.ts"
    programs = ["-program", "st=0:st=1", "-program", "st=2:st=3"]
    maps = ["-map", "0", "-map", "1", "-c", "copy"]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", one, "-i", two, *maps, *programs, path], check=True
    )
    note = "audio stream 3 (ac3) is left out: it belongs to another program"
    assert offers(path) == ("lr.mp4", ["audio"], (note,))
    package, _ = packed(path, tmp_path)
    assert streams(played(package, tmp_path / "out.mkv")) == [("video", "h264"), ("audio", "aac")]


def test_damaged_packets_cost_themselves_alone(tmp_path: Path) -> None:
    """ADTS whose headers are gone cannot be turned into what MP4 holds; the other packets can."""
    path = film(tmp_path / "film.ts", [Sound("aac")])
    data = bytearray(path.read_bytes())
    middle = data.index(b"\xff\xf1", len(data) // 2)
    data[middle : middle + 2] = b"\0\0"
    path.write_bytes(data)
    package, muxed = packed(path, tmp_path)
    assert muxed.audio_bytes and streams(played(package, tmp_path / "out.mp4"))[-1] == (
        "audio",
        "aac",
    )


def test_mistakes_of_ours_are_not_refusals() -> None:
    assert not any(issubclass(OSError, each) for each in _REFUSALS) and issubclass(
        UserError, ValueError
    )


def test_sound_follows_a_clock_that_is_set_back(tmp_path: Path) -> None:
    """Two recordings end to end, each from 0: the second's pictures come after the first's, and so
    does its sound."""
    first = film(tmp_path / "1.ts", [Sound("aac", click=1.0)])
    second = film(tmp_path / "2.ts", [Sound("aac", click=2.0)])
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    package, muxed = packed(path, tmp_path)
    assert not [note for note in muxed.notes if int(note.split(": ")[1].split()[0]) > 3]
    assert click_at(played(package, tmp_path / "1.mp4", "--duration", "3")) == pytest.approx(
        1, abs=NEAR
    )
    assert click_at(played(package, tmp_path / "2.mp4", "--start", "3")) == pytest.approx(
        2, abs=NEAR
    )
