"""Small packages for the client's tests, and what the server makes of the same frames."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import torch

from stdo.chunks.grid import PatchGrid
from stdo.core.networks import Networks
from stdo.core.types import Colour, Frame
from stdo.encoder.graph import export_graph
from stdo.evaluation.reconstruct import Reconstructor
from stdo.models.common import Backbone, plain
from stdo.models.registry import BACKBONES, build
from stdo.package import labels, weights
from stdo.package.container import Package, write_package
from stdo.package.limits import CHUNKS, GRAPH, WEIGHTS
from stdo.package.manifest import Manifest, Network, Patches, Quantiser, Stream
from stdo.package.source import Source, Times
from stdo.video.degrade import BicubicUpscaler
from stdo.video.reader import VideoFile
from stdo.video.ticks import Timeline
from stdo.video.writer import VideoWriter

VARIANTS = [(name, residual) for name, kind in BACKBONES.items() for residual in kind.RESIDUALS]


def disturbed(
    name: str, scale: int, seed: int = 0, strength: float = 0.005, residual: str | None = None
) -> Backbone:
    """A network that is not merely bicubic."""
    torch.manual_seed(seed)
    network = plain(build(name, scale, residual=residual))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * strength)
    return network


@cache
def graph_of(name: str, scale: int, residual: str | None = None) -> bytes:
    return export_graph(build(name, scale, residual=residual))


@dataclass(frozen=True)
class Made:
    """A package and, as the server has them, its LR frames, labels and reconstruction."""

    path: Path
    lr: list[np.ndarray]
    labels: np.ndarray
    server: Reconstructor
    native: tuple[int, int]

    def expected(self, t: int) -> np.ndarray:
        patches = self.server.patches(self.lr[t], self.labels[t])
        return self.server.grid.assemble(patches)[: self.native[0], : self.native[1]]

    def bicubic(self, t: int) -> np.ndarray:
        return BicubicUpscaler(self.server.grid.scale)(self.lr[t])[
            : self.native[0], : self.native[1]
        ]


def smooth(height: int, width: int, frames: int) -> list[np.ndarray]:
    """Moving waves with some grain: a picture that a codec can take."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:height, :width]
    phases = np.array([0, 2, 4])
    waves = [np.sin((x[..., None] + 2 * t) / 5 + y[..., None] / 7 + phases) for t in range(frames)]
    grain = rng.normal(0, 4, (frames, height, width, 3))
    return [
        np.clip(127 + 110 * wave + grain[t], 0, 255).astype(np.uint8)
        for t, wave in enumerate(waves)
    ]


def add_sound(video: Path, seconds: float) -> None:
    """Give a video file a rising tone, and a title."""
    with_sound = video.with_stem("sound")
    with av.open(str(video)) as source, av.open(str(with_sound), "w") as out:
        out.metadata["title"] = "tiny"
        picture = out.add_stream_from_template(source.streams.video[0])
        tone = out.add_stream("aac", rate=48_000, layout="mono")
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = picture
                out.mux_one(packet)
        time = np.arange(int(48_000 * seconds)) / 48_000
        wave = (0.3 * np.sin(2 * np.pi * (300 + 500 * time) * time)).astype(np.float32)[None]
        for at in range(0, wave.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(wave[:, at : at + 1024]), "fltp", "mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = 48_000, at, Fraction(1, 48_000)
            out.mux(tone.encode(frame))
        out.mux(tone.encode(None))
    with_sound.rename(video)


def make(
    folder: Path,
    backbone: str = "espcn",
    scale: int = 2,
    networks: int = 2,
    network_of: tuple[int, ...] = (0, 1),
    width: int = 70,
    height: int = 50,
    frames: int = 6,
    patch: tuple[int, int] = (10, 12),
    halo: int = 0,
    codec: str = "lossless",
    pts: list[Fraction] | None = None,
    strength: float = 0.005,
    bits: int = 32,
    member: str = "lr.mp4",
    sound: bool = False,
    residual: str | None = None,
    told: dict | None = None,
) -> Made:
    """Write ``tiny.stdo``: noise networks, noise labels, an LR video that is really encoded.

    told: marks, and how long the last frame is shown.
    """
    rate = Fraction(25)
    times = pts or [t / rate for t in range(frames)]
    lr_h, lr_w = -(-height // scale), -(-width // scale)
    with VideoWriter(
        folder / member, lr_w, lr_h, rate, codec, timeline=Timeline.of(times)
    ) as writer:
        for time, lr_HWC in zip(times, smooth(lr_h, lr_w, len(times)), strict=True):
            writer.write(Frame(time, lr_HWC))
    if sound:
        add_sound(folder / member, float(times[-1] + 1 / rate))
    grid = PatchGrid(lr_h, lr_w, *patch, halo, scale)
    shape = len(times), grid.rows, grid.cols
    labels_TRC = np.random.default_rng(1).integers(0, len(network_of), shape).astype(np.int16)
    plain_networks = [
        disturbed(backbone, scale, seed, strength, residual) for seed in range(networks)
    ]
    tensors = [
        {name: t.numpy() for name, t in network.state_dict().items()} for network in plain_networks
    ]
    stamps = (
        Times(Fraction(1, 90_000), tuple(int(time * 90_000) for time in times))
        if pts is not None
        else None
    )
    source = Source.of(
        width, height, len(times), rate, Colour("bt709", "limited"), stamps, **(told or {})
    )
    manifest = Manifest(
        generator="tests",
        name="tiny",
        scale=scale,
        source=source,
        lr=Stream(member, lr_w, lr_h, codec, None, None, 0),
        grid=Patches(*patch, halo),
        network=Network(
            backbone,
            tuple(weights.params_of(tensors[0])),
            networks,
            network_of,
            plain_networks[0].receptive_radius,
            plain_networks[0].residual,
        ),
        quantiser=Quantiser(bits),
        quality=None,
        bicubic=None,
        members={},
    )
    contents = {
        GRAPH: graph_of(backbone, scale, residual),
        WEIGHTS: weights.encode(Networks(tensors), bits),
        CHUNKS: labels.encode(labels_TRC, len(network_of)),
        member: folder / member,
    }
    write_package(folder / "tiny.stdo", manifest, contents)
    lr = [frame.rgb_HWC for frame in VideoFile(folder / member)]
    server = Reconstructor(plain_networks, network_of, grid, torch.device("cpu"))
    return Made(folder / "tiny.stdo", lr, labels_TRC, server, (height, width))


def changed(made: Made, target: Path, **members: bytes) -> Path:
    """The same package with other members (``graph``, ``weights``, ``chunks``, ``lr``), correctly
    signed."""
    package = Package.open(made.path)
    names = {"graph": GRAPH, "weights": WEIGHTS, "chunks": CHUNKS, "lr": package.manifest.lr.member}
    contents = {name: members.get(key, package.read(name)) for key, name in names.items()}
    write_package(target, package.manifest, contents)
    return target
