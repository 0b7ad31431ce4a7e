"""Small films with sound, subtitles and more beside the picture, their packages, and where a click
is heard in them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.packet import Packet
from tiny_package import disturbed, graph_of

from stdo.cli.play import main as play
from stdo.core.networks import Networks
from stdo.core.types import BICUBIC
from stdo.encoder.stream import Muxed, write_stream
from stdo.package import labels, weights
from stdo.package.container import write_package
from stdo.package.limits import CHUNKS, GRAPH, WEIGHTS
from stdo.package.manifest import Manifest, Network, Patches, Quantiser, Stream
from stdo.package.source import Source
from stdo.video.degrade import Degrade
from stdo.video.reader import VideoFile
from stdo.video.store import prepare

RATE = 10
CHAPTER = Fraction(6, 5)
"""Seconds at which the second chapter of a film begins."""


@dataclass(frozen=True)
class Sound:
    """A sound track: encoder, samples per second; when it begins, ends and clicks, in seconds of
    the film."""

    codec: str
    rate: int = 48_000
    begin: float = 0.0
    end: float = 3.0
    click: float = 1.5
    options: Mapping[str, str] = field(default_factory=dict)

    def samples(self) -> np.ndarray:
        """A quiet tone with 64 loud samples: float32 (samples,)."""
        tone = 0.05 * np.sin(
            np.arange(int((self.end - self.begin) * self.rate)) * 2 * np.pi * 440 / self.rate
        )
        tone[int((self.click - self.begin) * self.rate) :][:64] = 0.95
        return tone.astype(np.float32)


def film(
    path: Path,
    sounds: Sequence[Sound] = (),
    first: int = 0,
    frames: int = 30,
    codec: str = "libx264",
    text: float | None = None,
    chapters: bool = False,
    muxer: Mapping[str, str] | None = None,
    size: tuple[int, int] = (48, 64),
) -> Path:
    """Write a clip of ten pictures a second, of which number ``first`` is the first.

    text: seconds at which the one subtitle is shown, None: no subtitles. muxer: options of the
        container. size: height and width.
    """
    options = {"crf": "10", "g": "12", "bf": "0"} if codec == "libx264" else {}
    with av.open(str(path), "w", options=dict(muxer or {})) as out:
        video = out.add_stream(codec, rate=RATE, options=options)
        video.height, video.width, video.pix_fmt = *size, "yuv420p"
        video.codec_context.time_base = Fraction(1, RATE)
        tracks = [
            out.add_stream(each.codec, each.rate, dict(each.options), layout="mono")
            for each in sounds
        ]
        lines = None if text is None else out.add_mux_stream("subrip", time_base=Fraction(1, 1000))
        if chapters:
            out.set_chapters([_chapter(1, Fraction(0), CHAPTER), _chapter(2, CHAPTER, Fraction(3))])
        for packet in _pictures(video, range(first, first + frames), size):
            out.mux(packet)
        for track, sound in zip(tracks, sounds, strict=True):
            for packet in _encoded(track, sound):
                out.mux(packet)
        if lines:
            out.mux_one(_line(lines, text))
    return path


def _chapter(number: int, start: Fraction, end: Fraction) -> dict:
    base = Fraction(1, 1000)
    times = {"start": round(start / base), "end": round(end / base), "time_base": base}
    return {"id": number, "metadata": {"title": f"chapter {number}"}} | times


def _pictures(video: av.VideoStream, numbers: range, size: tuple[int, int]) -> Iterable[Packet]:
    y, x = np.mgrid[: size[0], : size[1]]
    for t in numbers:
        rgb = np.stack([(x * 4 + 5 * t) % 256, (y * 5 + 7 * t) % 256, (x + y + 11 * t) % 256], -1)
        frame = av.VideoFrame.from_ndarray(rgb.astype(np.uint8), "rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = t, Fraction(1, RATE)
        yield from video.encode(frame)
    yield from video.encode(None)


def _encoded(track: av.AudioStream, sound: Sound) -> Iterable[Packet]:
    samples, length = sound.samples(), track.codec_context.frame_size or 1024
    whole = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
    whole.sample_rate, whole.time_base = sound.rate, Fraction(1, sound.rate)
    whole.pts = round(sound.begin * sound.rate)
    context = track.codec_context
    resampler = av.AudioResampler(context.format, "mono", context.sample_rate, frame_size=length)
    for frame in [*resampler.resample(whole), *resampler.resample(None)]:
        yield from track.encode(frame)
    yield from track.encode(None)


def _line(stream: av.stream.Stream, seconds: float | None) -> Packet:
    packet = Packet(b"Hello")
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = round((seconds or 0) * 1000)
    packet.duration = 400
    return packet


def packed(path: Path, folder: Path, **span: float) -> tuple[Path, Muxed]:
    """The package of a file, bicubic alone, as `stdo.encoder.pack` would write its stream."""
    source = VideoFile(path, **span)
    video = prepare(source, folder / "cache", Degrade(2, "x264"))
    (folder / path.stem).mkdir()
    muxed = write_stream(folder / path.stem, video, source, True)
    frames, height, width, _ = video.lr.shape
    network = disturbed("espcn", 2)
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    manifest = Manifest(
        generator="tests",
        name=path.stem,
        scale=2,
        source=Source.of(video.width, video.height, frames, video.info.rate, video.info.colour),
        lr=Stream(muxed.path.name, width, height, "x264", None, None, muxed.audio_bytes),
        grid=Patches(height, width, 0),
        network=Network(
            "espcn", tuple(weights.params_of(tensors)), 1, (BICUBIC,), network.receptive_radius
        ),
        quantiser=Quantiser(32),
        quality=None,
        bicubic=None,
        members={},
    )
    members = {
        GRAPH: graph_of("espcn", 2),
        WEIGHTS: weights.encode(Networks([tensors]), 32),
        CHUNKS: labels.encode(np.zeros((frames, 1, 1), np.int16), 1),
        muxed.path.name: muxed.path,
    }
    package = folder / f"{path.stem}.stdo"
    write_package(package, manifest, members)
    return package, muxed


def played(package: Path, out: Path, *options: str) -> Path:
    """Play a package into a file."""
    play([str(package), str(out), "--threads", "1", *options])
    return out


def first_picture(path: Path) -> float:
    """When the first picture is shown, in seconds on the clock of the file."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        return float(
            min(p.pts for p in file.demux(stream) if p.size and p.pts is not None)
            * stream.time_base
        )


def click_at(path: Path, track: int = 0) -> float:
    """Seconds from the first picture to the loudest sample of a sound track."""
    loudest = (0.0, 0.0)
    with av.open(str(path)) as file:
        for frame in file.decode(audio=track):
            if frame.pts is None:  # what a decoder had left
                continue
            level = np.abs(frame.to_ndarray().astype(np.float64)).reshape(-1)
            at = float(frame.pts * frame.time_base) + int(level.argmax()) / frame.sample_rate
            loudest = max(loudest, (float(level.max()), at))
    return loudest[1] - first_picture(path)


def line_at(path: Path) -> float:
    """Seconds from the first picture to the subtitle."""
    with av.open(str(path)) as file:
        line = next(each for each in file.demux(subtitles=0) if each.size)
        return float(line.pts * line.time_base) - first_picture(path)


def chapter_at(path: Path) -> float:
    """Seconds from the first picture to the second chapter."""
    with av.open(str(path)) as file:
        found = next(each for each in file.chapters() if each["metadata"]["title"] == "chapter 2")
        return float(found["start"] * found["time_base"]) - first_picture(path)


def streams(path: Path) -> list[tuple[str, str | None]]:
    """Kind and codec of every stream."""
    with av.open(str(path)) as file:
        return [
            (each.type, each.codec_context and each.codec_context.codec.canonical_name)
            for each in file.streams
        ]
