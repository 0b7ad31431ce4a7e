"""Packages that keep every rule of the format and ask for more than a player should spend."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from package_specimens import Tiny

from stdo.chunks.grid import PatchGrid
from stdo.core.networks import Delta, Networks
from stdo.core.types import Colour
from stdo.encoder.graph import export_graph
from stdo.models.common import plain
from stdo.package import labels, weights
from stdo.package.coding import join
from stdo.package.container import write_package
from stdo.package.limits import CHUNKS, GRAPH, WEIGHTS
from stdo.package.manifest import Manifest, Network, Patches, Quantiser, Stream
from stdo.package.source import Source
from stdo.video.writer import VideoWriter

RATE = Fraction(25)
QUICK = {"x264": "ultrafast", "x265": "ultrafast", "lossless": "ultrafast", "svtav1": "12"}
"""The quickest preset of each codec of a package."""


def grey(width: int, height: int, frames: int) -> Iterator[tuple[Fraction, np.ndarray]]:
    """Frames that cost an encoder next to nothing."""
    frame_HWC = np.full((height, width, 3), 128, np.uint8)
    for t in range(frames):
        yield t / RATE, frame_HWC


def package(
    folder: Path,
    size: tuple[int, int] = (128, 96),
    frames: int = 4,
    patch: tuple[int, int] | None = None,
    lr: Path | None = None,
    codec: str = "x264",
    features: int = 4,
    halo: int = 2,
    **members: bytes,
) -> Path:
    """Write a package of one tiny network.

    Args:
        folder: Where ``hostile.stdo`` is written.
        size: Width and height of the frames that are shown; the LR frames are half as large.
        frames: How many the manifest promises.
        patch: Height and width of a patch in LR pixels; as a rule a quarter of the LR frame.
        lr: The LR video to pack in place of grey frames.
        codec: Of the grey frames.
        features: Channels of the network.
        halo: Of the patches; the network sees 2 pixels, and with less a player must compute these
            very patches.
        members: Content of ``weights`` and ``chunks`` in place of sound ones.
    """
    width, height = size[0] // 2, size[1] // 2
    video = folder / "lr.mp4"
    if lr is None:
        with VideoWriter(video, width, height, RATE, codec, preset=QUICK[codec]) as writer:
            for frame in grey(width, height, frames):
                writer.write(frame)
    network = plain(Tiny(2, features))
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    grid = PatchGrid(height, width, *(patch or (height // 2, width // 2)), halo)
    manifest = Manifest(
        "tests", "hostile", 2, Source.of(*size, frames, RATE, Colour("bt709", "limited")),
        Stream("lr.mp4", width, height, codec, 23, None, 0),
        Patches(grid.patch_h, grid.patch_w, halo),
        Network("tiny", tuple(weights.params_of(tensors)), 1, (0,), 2),
        Quantiser(32), None, None, {},
    )  # fmt: skip
    coded = labels.encode(np.zeros((1, grid.rows, grid.cols), np.int16).repeat(frames, 0), 1)
    contents = {
        GRAPH: export_graph(network),
        WEIGHTS: members.get("weights") or weights.encode(Networks([tensors]), 32),
        CHUNKS: members.get("chunks") or coded,
        "lr.mp4": lr or video,
    }
    write_package(folder / "hostile.stdo", manifest, contents)
    return folder / "hostile.stdo"


def grows(path: Path, size: tuple[int, int], later: tuple[int, int]) -> Path:
    """A video whose third frame is larger, as H.264 allows; its header tells the first size."""
    with av.open(str(path), "w") as out:
        stream = None
        at = 0
        for width, height in (size, later):
            context = av.CodecContext.create("libx264", "w")
            context.width, context.height, context.pix_fmt = width, height, "yuv420p"
            context.time_base, context.framerate = Fraction(1, 25), RATE
            context.options = {
                "preset": "ultrafast",
                "bf": "0",
                "rc-lookahead": "0",
                "threads": "1",
            }
            if stream is None:
                stream = out.add_stream("libx264", rate=RATE)
                stream.width, stream.height, stream.pix_fmt = size[0], size[1], "yuv420p"
                stream.codec_context.time_base = Fraction(1, 25)
            frame = av.VideoFrame(width, height, "yuv420p")
            for _ in range(2 if stream.width == width else 1):
                frame.pts, frame.time_base = at, Fraction(1, 25)
                packets = context.encode(frame)
                at += 1
                for packet in packets:
                    packet.stream = stream
                    out.mux_one(packet)
            for packet in context.encode(None):
                packet.stream = stream
                out.mux_one(packet)
    return path


def crowded(path: Path, size: tuple[int, int], other: tuple[int, int], count: int) -> Path:
    """A video with further streams of larger frames beside the first."""
    with av.open(str(path), "w") as out:
        streams = []
        for width, height in [size, *[other] * count]:
            stream = out.add_stream(
                "libx264", rate=RATE, options={"preset": "ultrafast", "bf": "0", "threads": "1"}
            )
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams.append(stream)
        for stream in streams:
            frame = av.VideoFrame(stream.width, stream.height, "yuv420p")
            for t in range(4 if stream.width == size[0] else 1):
                frame.pts, frame.time_base = t, Fraction(1, 25)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return path


def counts(words: int) -> bytes:
    """A table of sizes that says so many empty parts follow."""
    return np.array([words, *[0] * words], "<u4").tobytes()


def scalars(path: Path, networks: int, tensors: int) -> Path:
    """A package of ``networks`` times ``tensors`` numbers that each stand alone."""
    width, height, frames = 64, 48, 2
    video = path.with_name("lr.mp4")
    with VideoWriter(video, width, height, RATE, "x264", preset="ultrafast") as writer:
        for frame in grey(width, height, frames):
            writer.write(frame)
    params = tuple((f"p{i}", ()) for i in range(tensors))
    manifest = Manifest(
        "tests", "hostile", 2,
        Source.of(2 * width, 2 * height, frames, RATE, Colour("bt709", "limited")),
        Stream("lr.mp4", width, height, "x264", 23, None, 0), Patches(height, width, 0),
        Network("tiny", params, networks, (0,), 2), Quantiser(16), None, None, {},
    )  # fmt: skip
    part = np.zeros(tensors, "<f2").tobytes()
    contents = {
        GRAPH: export_graph(plain(Tiny(2))),
        WEIGHTS: join([bytes([16]), *[part] * networks]),
        CHUNKS: labels.encode(np.zeros((frames, 1, 1), np.int16), 1),
        "lr.mp4": video,
    }
    write_package(path, manifest, contents)
    return path


def empty_deltas(path: Path, networks: int, numbers: int) -> Path:
    """A package of one base of ``numbers`` weights and ``networks`` deltas that change nothing."""
    width, height, frames = 64, 48, 2
    video = path.with_name("lr.mp4")
    with VideoWriter(video, width, height, RATE, "x264", preset="ultrafast") as writer:
        for frame in grey(width, height, frames):
            writer.write(frame)
    base = {
        "a.weight": np.zeros((2, numbers // 18, 3, 3), np.float32),
        "a.bias": np.zeros(2, np.float32),
    }
    delta = {"a": np.zeros((1, 2, 3), np.float32)}
    coded = weights.encode(Networks([base], Delta.MODULATION, [delta, *[{}] * (networks - 1)]), 8)
    manifest = Manifest(
        "tests", "hostile", 2,
        Source.of(2 * width, 2 * height, frames, RATE, Colour("bt709", "limited")),
        Stream("lr.mp4", width, height, "x264", 23, None, 0), Patches(height, width, 0),
        Network("tiny", tuple(weights.params_of(base)), networks, (0,), 2),
        Quantiser(8), None, None, {},
    )  # fmt: skip
    contents = {
        GRAPH: export_graph(plain(Tiny(2))),
        WEIGHTS: coded,
        CHUNKS: labels.encode(np.zeros((frames, 1, 1), np.int16), 1),
        "lr.mp4": video,
    }
    write_package(path, manifest, contents)
    return path
