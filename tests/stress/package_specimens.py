"""Small sound packages of every kind, for the fuzzer to harm: tiny networks, a few frames, all
codings and codecs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_package import add_sound, smooth
from torch import Tensor, nn

from stdo.chunks.grid import PatchGrid
from stdo.core.networks import PLACES, VALUES, Delta, Networks
from stdo.core.types import F32, Colour, Frame
from stdo.encoder.graph import export_graph
from stdo.encoder.join import Whole, join_parts
from stdo.models.common import Backbone, Bicubic, plain
from stdo.models.registry import build
from stdo.package import labels, weights
from stdo.package.container import write_package
from stdo.package.limits import CHUNKS, GRAPH, WEIGHTS
from stdo.package.manifest import Figures, Manifest, Network, Patches, Psnr, Quantiser, Stream
from stdo.package.source import Source, Times
from stdo.video.reader import VideoFile
from stdo.video.writer import VideoWriter

WIDTH, HEIGHT, FRAMES = 130, 70, 4
RATE = Fraction(25)


class Tiny(Backbone):
    """The operations of our backbones in two convolutions, of four channels as a rule."""

    BODY = ("first",)

    def __init__(self, scale: int, features: int = 4) -> None:
        super().__init__(scale)
        self.first = nn.Conv2d(3, features, 3, padding=1, padding_mode="replicate")
        self.last = nn.Conv2d(features, 3 * scale * scale, 3, padding=1)
        self.shuffle, self.bicubic = nn.PixelShuffle(scale), Bicubic(scale)
        self.last.weight.data *= 0.1

    @property
    def receptive_radius(self) -> int:
        return 2

    def predict(self, x_NCHW: Tensor) -> Tensor:
        return self.bicubic(x_NCHW) + self.shuffle(self.last(torch.relu(self.first(x_NCHW))))


@dataclass(frozen=True)
class Kind:
    """What one package is like. networks: how many, or how many deltas of one. chunks: the network
    of each."""

    scale: int
    networks: int
    chunks: Sequence[int]
    bits: int
    codec: str
    patch: tuple[int, int]
    halo: int = 0
    deltas: str = ""
    member: str = "lr.mp4"
    sound: bool = False
    times: Sequence[Fraction] | None = None
    backbone: str = "tiny"


VARIABLE = [Fraction(t, 100) for t in (0, 3, 10, 12)]
KINDS = {
    "stdo": Kind(2, 2, (0, 1), 8, "x264", (12, 16), sound=True),
    "jstdo": Kind(2, 1, (0,), 6, "x265", (12, 16), halo=2),
    "cafm": Kind(2, 3, (0, 1, 2), 8, "svtav1", (20, 30), deltas="modulations", times=VARIABLE),
    "awdnn": Kind(2, 1, (0,), 32, "lossless", (35, 65), member="lr.mkv", sound=True),
    "nas": Kind(3, 3, (0, 1, 2, 1), 16, "x264", (10, 20)),
    "rounded": Kind(4, 2, (1, -1, 0), 4, "lossless", (18, 33), halo=1),
}
OTHERS = {
    "cafm": KINDS["cafm"],
    "lowrank": Kind(2, 3, (0, 1, 2), 8, "x264", (12, 16), deltas="low rank"),
    "updates": Kind(2, 3, (0, 1, 2), 8, "x264", (12, 16), deltas="updates"),
    "transposed": Kind(3, 2, (0, 1), 8, "x264", (12, 16), halo=2, backbone="fsrcnn"),
}
"""Kept apart: a mutation's number picks one of the kinds above, and what it once found it must go
on finding."""


def _network(kind: Kind, seed: int) -> Backbone:
    return _made(kind.backbone, kind.scale, seed)


@cache
def _made(backbone: str, scale: int, seed: int) -> Backbone:
    torch.manual_seed(seed)
    return plain(Tiny(scale) if backbone == "tiny" else build(backbone, scale))


@cache
def _graph(backbone: str, scale: int) -> bytes:
    return export_graph(_made(backbone, scale, 0))


def make(kind: Kind, path: Path) -> None:
    """Write one package."""
    lr_h, lr_w = -(-HEIGHT // kind.scale), -(-WIDTH // kind.scale)
    times = kind.times or [t / RATE for t in range(FRAMES)]
    stream = path.with_name(kind.member)
    with VideoWriter(stream, lr_w, lr_h, RATE, kind.codec) as writer:
        for time, lr_HWC in zip(times, smooth(lr_h, lr_w, FRAMES), strict=True):
            writer.write(Frame(time, lr_HWC))
    if kind.sound:
        add_sound(stream, 0.2)
    grid = PatchGrid(lr_h, lr_w, *kind.patch, kind.halo)
    labels_TRC = (
        np.random.default_rng(1)
        .integers(0, len(kind.chunks), (FRAMES, grid.rows, grid.cols))
        .astype(np.int16)
    )
    coded = _weights(kind)
    stamps = (
        None
        if kind.times is None
        else Times(Fraction(1, 100), tuple(int(time * 100) for time in kind.times))
    )
    manifest = Manifest(
        generator="tests",
        name="tiny",
        scale=kind.scale,
        source=Source.of(WIDTH, HEIGHT, FRAMES, RATE, Colour("bt709", "limited"), stamps),
        lr=Stream(kind.member, lr_w, lr_h, kind.codec, 23, "fast", 0),
        grid=Patches(*kind.patch, kind.halo),
        network=Network(
            kind.backbone,
            tuple(weights.params_of(coded.bases[0])),
            kind.networks,
            tuple(kind.chunks),
            _network(kind, 0).receptive_radius,
        ),
        quantiser=Quantiser(kind.bits),
        quality=Figures(Psnr(30.0, 29.5, 31.0), 0.9),
        bicubic=Figures(Psnr(28.0, 27.5, 29.0), None),
        members={},
    )
    members: dict[str, Path | bytes] = {
        GRAPH: _graph(kind.backbone, kind.scale),
        WEIGHTS: weights.encode(coded, kind.bits),
        CHUNKS: labels.encode(labels_TRC, len(kind.chunks)),
        kind.member: stream,
    }
    write_package(path, manifest, members)
    stream.unlink()


def _weights(kind: Kind) -> Networks[F32]:
    tensors = [
        {name: t.numpy() for name, t in _network(kind, i).state_dict().items()}
        for i in range(kind.networks)
    ]
    if not kind.deltas:
        return Networks(tensors)
    if kind.deltas == "updates":
        return Networks(tensors[:1], Delta.UPDATE, [{}, _update(40, 1), _update(9, 2)])
    (outputs, inputs, high, wide), rng = tensors[0]["first.weight"].shape, np.random.default_rng(2)
    shape = (
        (outputs // 2, 2, 3)
        if kind.deltas == "modulations"
        else (2, outputs * high + inputs * wide)
    )
    deltas = [{"first": rng.normal(0, 0.1, shape).astype(np.float32)} for _ in range(kind.networks)]
    if kind.deltas == "modulations":
        return Networks(tensors[:1], Delta.MODULATION, deltas)
    return Networks(tensors[:1], Delta.LOW_RANK, [{}, *deltas[1:]])


def _update(count: int, seed: int) -> dict[str, Any]:
    """Of so many weights of `Tiny`."""
    rng = np.random.default_rng(seed)
    size = sum(parameter.numel() for parameter in _made("tiny", 2, 0).parameters())
    places = np.sort(rng.permutation(size)[:count])
    return {PLACES: places, VALUES: rng.normal(0, 0.05, count).astype(np.float32)}


def make_all(
    folder: Path,
    report: Callable[[str], None] = lambda name: None,
    kinds: Mapping[str, Kind] = KINDS,
) -> dict[str, Path]:
    """One package of each kind."""
    for name, kind in kinds.items():
        make(kind, folder / f"{name}.stdo")
        report(name)
    return {name: folder / f"{name}.stdo" for name in kinds}


def make_joined(folder: Path, kinds: Sequence[str] = ("stdo", "lowrank")) -> dict[str, Path]:
    """Packages in parts: of each kind one twice."""
    film = folder / "film.mp4"
    pts = [t / RATE for t in range(2 * FRAMES)]
    with VideoWriter(film, WIDTH, HEIGHT, RATE) as writer:
        for time, rgb_HWC in zip(pts, smooth(HEIGHT, WIDTH, len(pts)), strict=True):
            writer.write(Frame(time, rgb_HWC))
    whole = Whole(VideoFile(film), pts, None, (0, FRAMES))
    found = {}
    for name in kinds:
        make((KINDS | OTHERS)[name], folder / "part.stdo")
        found[name] = folder / f"{name}-parts.stdo"
        join_parts(found[name], [folder / "part.stdo"] * 2, whole)
    return found
