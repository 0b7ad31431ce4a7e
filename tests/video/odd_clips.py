"""How odd videos are made: with PyAV, sample by sample, or by bytes. Every maker takes a folder,
returns a path."""

import os
import socket
import struct
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image
from video_clips import encode

Make = Callable[[Path], Path]

SIZE = (48, 64)
COUNT = 8


def scene(
    count: int = COUNT,
    height: int = 48,
    width: int = 64,
    down: int = 2,
    across: int = 2,
    bits: int = 8,
    planes: int = 3,
) -> list[list[np.ndarray]]:
    """Planes of gradients that move, so that a frame turned, or out of its place, is seen."""
    frames = []
    for t in range(count):
        y, x = np.mgrid[:height, :width]
        luma, alpha = 16 + (2 * x + 3 * y + 9 * t) % 219, x * 3 % 256
        y, x = np.mgrid[: -(-height // down), : -(-width // across)]
        chroma = [90 + (3 * x * across + 5 * t) % 60, 100 + (2 * y * down + 7 * t) % 50]
        frames.append([plane << (bits - 8) for plane in [luma, *chroma, alpha][:planes]])
    return frames


def made(
    name: str, frames=None, pixel_format: str = "yuv420p", codec: str = "ffv1", **settings
) -> Make:
    """The scene, or ``frames``, encoded under ``name``; settings as in `encode`."""
    return lambda folder: encode(folder / name, frames or scene(), pixel_format, codec, **settings)


def h264(name: str, frames=None, pixel_format: str = "yuv420p", **settings) -> Make:
    return made(
        name, frames, pixel_format, "libx264", **({"crf": "10", "preset": "veryfast"} | settings)
    )


def plain() -> Make:
    return h264("plain.mp4")


def rgb(t: int, height: int = 48, width: int = 64) -> np.ndarray:
    """An RGB picture of few colours, so that a palette holds them all."""
    y, x = np.mgrid[:height, :width] // 8
    return np.stack([x * 30 % 256, y * 40 % 256, (x + y + t) * 16 % 256], -1).astype(np.uint8)


def packed(name: str, codec: str, pixel_format: str) -> Make:
    """RGB pictures in a format that ``encode`` does not fill."""
    return streams(name, [SIZE], codec, pixel_format)


def streams(
    name: str, sizes: Sequence[tuple[int, int]], codec: str = "ffv1", pixel_format: str = "yuv420p"
) -> Make:
    """Video streams of these sizes in one file."""

    def make(folder: Path) -> Path:
        with av.open(str(folder / name), "w") as out:
            videos = [out.add_stream(codec, rate=25) for _ in sizes]
            for video, (height, width) in zip(videos, sizes, strict=True):
                video.height, video.width, video.pix_fmt = height, width, pixel_format
            for t in range(COUNT):
                for video, size in zip(videos, sizes, strict=True):
                    frame = av.VideoFrame.from_ndarray(rgb(t, *size), "rgb24").reformat(
                        format=pixel_format
                    )
                    frame.pts = t
                    out.mux(video.encode(frame))
            for video in videos:
                out.mux(video.encode(None))
        return folder / name

    return make


def held(
    name: str, codec: str = "libx264", pixel_format: str = "yuv420p", container=None, **options: str
) -> Make:
    """Pictures every 0.1 s, the last of them shown for 5 s."""

    def make(folder: Path) -> Path:
        tick = Fraction(1, 10)
        with av.open(str(folder / name), "w", options=container or {}) as out:
            stream = out.add_stream(codec, rate=10, options=options)
            stream.height, stream.width, stream.pix_fmt = *SIZE, pixel_format
            stream.codec_context.time_base = tick
            packets = []
            for t in range(COUNT):
                frame = av.VideoFrame.from_ndarray(rgb(t), "rgb24").reformat(format=pixel_format)
                frame.pts, frame.time_base = t, tick
                packets += stream.encode(frame)
            packets += stream.encode(None)
            for index, packet in enumerate(packets):
                shown = 5 if packet.pts == (COUNT - 1) else tick
                # MP4 adds up what packets last in the order of decoding
                if index == COUNT - 1 and shown == tick:
                    shown = 5
                packet.duration = round(shown / packet.time_base)
                out.mux(packet)
        return folder / name

    return make


def layered(name: str, alpha: bool) -> Make:
    """HEVC with a second layer in each picture, as Apple writes transparency and spatial video.

    The layer is made of the first one's bytes under another number; no decoder of a single layer
    looks at it.
    """

    def make(folder: Path) -> Path:
        plain = encode(
            folder / "plain.hevc",
            scene(),
            codec="libx265",
            **{"x265-params": "log-level=none:bframes=0"},
        )
        units = [unit.rstrip(b"\0") for unit in plain.read_bytes().split(b"\0\0\1")[1:]]
        # Which pictures are transparency
        told = b"\x4e\1" + bytes([165, 4]) + b"\x10\xff\xff\x60\x80"
        both = []
        for index, unit in enumerate(units):
            both.append(unit)
            if unit[0] >> 1 < 32:  # a slice
                both.append(bytes([unit[0], unit[1] | 8]) + unit[2:])
            elif alpha and unit[0] >> 1 == 34 and index < 4:  # after the first picture's parameters
                both.append(told)
        raw = folder / "layers.hevc"
        raw.write_bytes(b"".join(b"\0\0\0\1" + unit for unit in both))
        with av.open(str(raw), format="hevc") as source, av.open(str(folder / name), "w") as out:
            stream = out.add_stream_from_template(source.streams.video[0])
            packets = [packet for packet in source.demux(video=0) if packet.size]
            for index, packet in enumerate(packets):
                packet.stream, packet.time_base = stream, Fraction(1, 25)
                packet.pts = packet.dts = index
                packet.duration = 1
                out.mux(packet)
        return folder / name

    return make


def sound(name: str, cover: bool = False, video: bool = False) -> Make:
    """A second of silence, if asked with the picture of a record's cover, or a video of 0.32 s,
    beside it."""

    def make(folder: Path) -> Path:
        codec = "libmp3lame" if cover else "aac" if video else "pcm_s16le"
        with av.open(str(folder / name), "w") as out:
            pictures = []
            if cover:
                stream = out.add_stream("png")
                stream.width, stream.height, stream.pix_fmt, stream.disposition = (
                    32,
                    32,
                    "rgb24",
                    1024,
                )
                pictures.append((stream, [av.VideoFrame.from_ndarray(rgb(0, 32, 32))]))
            if video:
                stream = out.add_stream("libx264", rate=25)
                stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
                pictures.append(
                    (stream, [av.VideoFrame.from_ndarray(rgb(t)) for t in range(COUNT)])
                )
            track = out.add_stream(codec, rate=8000)
            for stream, frames in pictures:
                for t, frame in enumerate(frames):
                    frame.pts = t
                    out.mux(stream.encode(frame))
                out.mux(stream.encode(None) if video else [])
            kind = {
                "pcm_s16le": ("s16", np.int16),
                "libmp3lame": ("s16p", np.int16),
                "aac": ("fltp", np.float32),
            }[codec]
            for begin in range(0, 8000, 1000):
                samples = av.AudioFrame.from_ndarray(np.zeros((1, 1000), kind[1]), kind[0], "mono")
                samples.rate, samples.pts = 8000, begin
                out.mux(track.encode(samples))
            out.mux(track.encode(None))
        return folder / name

    return make


def with_cover(folder: Path) -> Path:
    """A video with a picture for its cover."""
    video, path = plain()(folder), folder / "covered.mp4"
    with av.open(str(video)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        cover = out.add_stream("png")
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 32, 32, "rgb24", 1024
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
        out.mux(cover.encode(av.VideoFrame.from_ndarray(rgb(0, 32, 32))))
    return path


def picture(name: str) -> Make:
    def make(folder: Path) -> Path:
        Image.fromarray(rgb(0)).save(folder / name)
        return folder / name

    return make


def holding(name: str, content: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def changed(make: Make, change: Callable[[bytes], bytes]) -> Make:
    """What ``make`` writes, its bytes changed."""

    def changing(folder: Path) -> Path:
        path = make(folder)
        path.write_bytes(change(path.read_bytes()))
        return path

    return changing


def joined(name: str, *makes: Make) -> Make:
    """Files end to end, byte by byte."""

    def joining(folder: Path) -> Path:
        contents = []
        for index, make in enumerate(makes):
            (folder / str(index)).mkdir()
            contents.append(make(folder / str(index)).read_bytes())
        (folder / name).write_bytes(b"".join(contents))
        return folder / name

    return joining


def renamed(make: Make, name: str | bytes) -> Make:
    def renaming(folder: Path) -> Path:
        return make(folder).rename(folder / os.fsdecode(name))

    return renaming


def linked(folder: Path) -> Path:
    (folder / "link.mp4").symlink_to(plain()(folder))
    return folder / "link.mp4"


def link(target: str) -> Make:
    def make(folder: Path) -> Path:
        (folder / "link.mp4").symlink_to(target)
        return folder / "link.mp4"

    return make


def fifo(name: str, *others: Make) -> Make:
    """A FIFO that nobody writes to: whoever opens it to read waits for ever. Returns the last of
    the ``others``."""

    def make(folder: Path) -> Path:
        os.mkfifo(folder / name)
        return [folder / name, *(other(folder) for other in others)][-1]

    return make


def listening(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "a.sock"))
    return folder / "a.sock"


def listing(name: str, text: str) -> Make:
    """A list that names a video beside it, ``part.ts``."""

    def make(folder: Path) -> Path:
        h264("part.ts")(folder)
        return holding(name, text.encode())(folder)

    return make


def png(width: int, height: int) -> bytes:
    """A PNG header of that size with a few bytes of data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def gif(width: int, height: int) -> bytes:
    """A GIF of that size with one pixel drawn; it decodes, into four bytes for each pixel."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\x00;"


def qoi(width: int, height: int) -> bytes:
    """A QOI picture of that size of which little is drawn; it decodes as well."""
    return (
        b"qoif"
        + struct.pack(">IIBB", width, height, 4, 0)
        + b"\xfe\1\2\3"
        + b"\xfd" * 2000
        + bytes(7)
        + b"\1"
    )


def y4m(width: int, height: int) -> bytes:
    return f"YUV4MPEG2 W{width} H{height} F25:1 Ip C420\nFRAME\n".encode() + bytes(1000)


def claiming(width: int, height: int) -> Callable[[bytes], bytes]:
    """Rewrite the size in the headers of an AVI of 64x48."""
    return lambda content: content.replace(
        struct.pack("<II", 64, 48), struct.pack("<II", width, height)
    )


def without_data(content: bytes) -> bytes:
    """An MP4 with its index in front, cut where the pictures begin."""
    return content[: content.index(b"mdat") + 4]


def without_start(content: bytes) -> bytes:
    """A broadcast (MPEG-TS, packets of 188) without what follows its tables, up to a quarter."""
    return content[: 3 * 188] + content[len(content) // 4 // 188 * 188 :]


def with_noise(content: bytes) -> bytes:
    """A tenth of the bytes, in the middle, replaced by noise."""
    begin, length = len(content) // 2, len(content) // 10
    return content[:begin] + np.random.default_rng(0).bytes(length) + content[begin + length :]


def with_flips(content: bytes) -> bytes:
    """Twelve bits flipped in the middle half."""
    rng, flipped = np.random.default_rng(1), bytearray(content)
    for place in rng.integers(len(content) // 4, len(content) * 3 // 4, 12):
        flipped[place] ^= 1 << int(rng.integers(8))
    return bytes(flipped)
