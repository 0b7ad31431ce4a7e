"""The LR stream: the pixels that were trained on, and the source's sound where it belongs."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet

from stdo.core.types import UserError
from stdo.encoder.stream import write_stream
from stdo.video.codecs import PACKED
from stdo.video.degrade import Degrade
from stdo.video.images import ImageFolder
from stdo.video.joined import Joined
from stdo.video.reader import VideoFile
from stdo.video.sample import GeneratedClip
from stdo.video.store import Prepared, prepare
from stdo.video.writer import VideoWriter

RATE, SOUND_RATE, SECONDS, CLICK = 10, 48_000, 3, Fraction(3, 2)


def film(
    path: Path, sound: str | None = "aac", text: bool = False, width: int = 64, height: int = 48
) -> Path:
    """Three seconds: pictures that never repeat, a click at 1.5 s, a subtitle from 1.6 s to 2 s, a
    title."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=RATE, options={"crf": "10", "g": "7"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = (
            out.add_stream(sound, rate=SOUND_RATE, layout="mono", bit_rate=128_000)
            if sound
            else None
        )
        lines = out.add_mux_stream("subrip", time_base=Fraction(1, 1000)) if text else None
        out.metadata["title"] = "A film"
        if audio:
            audio.metadata["language"] = "deu"
        for frame in GeneratedClip(width=width, height=height, frames=SECONDS * RATE, rate=RATE):
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame.rgb_HWC, format="rgb24")))
        out.mux(video.encode(None))
        if audio:
            samples = np.zeros(SECONDS * SOUND_RATE, np.float32)
            samples[int(CLICK * SOUND_RATE) :][:48] = 0.9
            for chunk in resampled(samples, audio):
                out.mux(audio.encode(chunk))
            out.mux(audio.encode(None))
        if lines:
            packet = Packet(b"Hello")
            packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = (
                lines,
                Fraction(1, 1000),
                1600,
                1600,
                400,
            )
            out.mux_one(packet)
    return path


def resampled(samples: np.ndarray, audio: av.AudioStream) -> list[av.AudioFrame]:
    whole = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    whole.rate, whole.pts = SOUND_RATE, 0
    return av.AudioResampler(
        audio.codec_context.format, "mono", SOUND_RATE, frame_size=1024
    ).resample(whole)


def prepared(source, tmp_path: Path, codec: str | None) -> Prepared:
    return prepare(source, tmp_path / "cache", Degrade(2, codec))


def decoded(path: Path) -> list[np.ndarray]:
    return [frame.rgb_HWC for frame in VideoFile(path)]


def click(path: Path) -> float:
    """When the loudest sample is heard, in seconds after the first picture."""
    with av.open(str(path)) as container:
        first = container.streams.video[0].start_time * container.streams.video[0].time_base
        loudest = (0.0, 0.0)
        for frame in container.decode(audio=0):
            samples = np.abs(frame.to_ndarray().astype(np.float64)).max(axis=0)
            at = int(samples.argmax())
            loudest = max(
                loudest,
                (
                    float(samples[at]),
                    float(frame.pts * frame.time_base) + at / frame.rate - float(first),
                ),
            )
        return loudest[1]


@pytest.mark.parametrize("codec", [None, *PACKED])
def test_the_stream_holds_what_was_trained_on_and_the_sound(
    codec: str | None, tmp_path: Path
) -> None:
    source = VideoFile(film(tmp_path / "film.mp4"))
    video = prepared(source, tmp_path, codec)
    muxed = write_stream(tmp_path, video, source, codec is not None)
    assert muxed.path == tmp_path / "lr.mp4" and muxed.notes == ()
    frames = decoded(muxed.path)
    np.testing.assert_array_equal(frames, [video.lr[t] for t in range(len(video.lr))])
    assert [frame.pts for frame in VideoFile(muxed.path)] == video.pts
    assert packets(muxed.path) == packets(tmp_path / "film.mp4"), "copied, not encoded again"
    assert muxed.audio_bytes == sum(map(len, packets(muxed.path)))
    with av.open(str(muxed.path)) as container:
        assert container.metadata["title"] == "A film"
        assert container.streams.audio[0].metadata["language"] == "deu"
        assert container.streams.audio[0].disposition & 1


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize("codec", [None, "lossless"])
def test_lossless_is_bit_exact_on_every_value_of_rgb(codec: str | None, tmp_path: Path) -> None:
    """Frames of odd size and of noise, in which no codec finds anything to predict."""
    rng = np.random.default_rng(0)
    with VideoWriter(tmp_path / "noise.mkv", 66, 50, Fraction(25), "ffv1") as writer:
        for t in range(4):
            writer.write((Fraction(t, 25), rng.integers(0, 256, (50, 66, 3), np.uint8)))
    source = VideoFile(tmp_path / "noise.mkv")
    video, plain = prepared(source, tmp_path, codec), prepared(source, tmp_path, None)
    assert video.lr.shape == (4, 25, 33, 3)
    muxed = write_stream(tmp_path, video, source, codec is not None)
    np.testing.assert_array_equal(decoded(muxed.path), [plain.lr[t] for t in range(4)])


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ({}, CLICK),
        ({"start": 0.5}, CLICK - Fraction(1, 2)),
        ({"start": 1.23, "duration": 1.0}, CLICK - Fraction(13, 10)),
        ({"max_frames": 20}, CLICK),
        ({"every": 3}, CLICK),
    ],
)
@pytest.mark.parametrize("file", ["film.mp4", "film.mkv"])
def test_sound_is_cut_with_the_pictures(
    file: str, span: dict, expected: Fraction, tmp_path: Path
) -> None:
    source = VideoFile(film(tmp_path / file), **span)
    video = prepared(source, tmp_path, "x264")
    muxed = write_stream(tmp_path, video, source, True)
    before = click(tmp_path / file) - float(CLICK)  # what the encoder itself shifted
    assert click(muxed.path) == pytest.approx(float(expected) + before, abs=0.002)
    with av.open(str(muxed.path)) as container:
        ends = [
            float((p.pts + p.duration) * p.time_base) for p in container.demux(audio=0) if p.size
        ]
    assert max(ends) == pytest.approx(
        float(video.pts[-1]) + 0.1, abs=0.25 if "every" in span else 0.05
    )


def test_subtitles_that_mp4_cannot_hold_make_it_matroska(tmp_path: Path) -> None:
    source = VideoFile(film(tmp_path / "film.mkv", "flac", text=True), start=1.0)
    video = prepared(source, tmp_path, "x264")
    muxed = write_stream(tmp_path, video, source, True)
    assert muxed.path == tmp_path / "lr.mkv" and muxed.notes == ()
    with av.open(str(muxed.path)) as container:
        first = container.streams.video[0].start_time * container.streams.video[0].time_base
        (line,) = [packet for packet in container.demux(subtitles=0) if packet.size]
        assert bytes(line) == b"Hello"
        assert float(line.pts * line.time_base - first) == pytest.approx(0.6, abs=0.002)
        assert float(line.duration * line.time_base) == pytest.approx(0.4, abs=0.002)
    assert click(muxed.path) == pytest.approx(0.5, abs=0.002)
    np.testing.assert_array_equal(decoded(muxed.path), [video.lr[t] for t in range(len(video.lr))])


def test_sources_without_sound(tmp_path: Path) -> None:
    silent = VideoFile(film(tmp_path / "film.mp4", None))
    generated = GeneratedClip(width=64, height=48, frames=3)
    with VideoWriter(tmp_path / "pictures", 64, 48, Fraction(25), "png") as writer:
        for frame in generated:
            writer.write(frame)
    for name, source in {
        "a": silent,
        "b": generated,
        "c": ImageFolder(tmp_path / "pictures"),
    }.items():
        (tmp_path / name).mkdir()
        muxed = write_stream(tmp_path / name, prepared(source, tmp_path, "x264"), source, True)
        assert (muxed.audio_bytes, muxed.notes) == (0, ())
        with av.open(str(muxed.path)) as container:
            assert [stream.type for stream in container.streams] == ["video"]


def test_joined_videos_have_no_sound_and_say_so(tmp_path: Path) -> None:
    source = Joined([film(tmp_path / "film.mp4")] * 2, max_frames=3)
    muxed = write_stream(tmp_path, prepared(source, tmp_path, "x264"), source, True)
    assert (muxed.audio_bytes, muxed.notes) == (0, ("joined videos are delivered without sound",))


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    source = VideoFile(film(tmp_path / "film.mkv", "flac", text=True))
    video = prepared(source, tmp_path, "x264")
    (tmp_path / "again").mkdir()
    first, second = (
        write_stream(folder, video, source, True) for folder in (tmp_path, tmp_path / "again")
    )
    assert first.path.read_bytes() == second.path.read_bytes()


def test_an_lr_video_that_is_gone_is_told(tmp_path: Path) -> None:
    source = VideoFile(film(tmp_path / "film.mp4"))
    video = prepared(source, tmp_path, "x264")
    video.lr_video.unlink()
    with pytest.raises(UserError, match=r"is gone; remove lr-x2-x264-\w+\.json"):
        write_stream(tmp_path, video, source, True)
