"""From a finished run to its package: the server's side."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path

import numpy as np
from msgspec.structs import asdict, replace

from stdo import __version__
from stdo.core.files import scratch
from stdo.core.types import Json, UserError, VideoInfo
from stdo.encoder.graph import export_graph
from stdo.encoder.measuring import measured
from stdo.encoder.plan import Planned, check_run, printable_name
from stdo.encoder.rounding import load_weights, rounded, windows_of
from stdo.encoder.stream import Muxed, check_stream, write_stream
from stdo.evaluation.identity import own_video
from stdo.models.registry import name_of
from stdo.models.weights import load_networks
from stdo.package import labels, weights
from stdo.package.container import SUFFIX, Package, write_package
from stdo.package.limits import BITS, CHUNKS, GRAPH, WEIGHTS
from stdo.package.manifest import Figures, Manifest, Network, Patches, Psnr, Quantiser, Stream
from stdo.package.source import Source, Times
from stdo.runs.directory import WEIGHTS as RUN_WEIGHTS
from stdo.runs.directory import claimed, file_name, read_chunks, read_result, write_result
from stdo.runs.files import read_facts
from stdo.video.clip import Clip
from stdo.video.degrade import Degrade
from stdo.video.store import Prepared
from stdo.video.ticks import Ticks, Timeline, held

ROUNDED = 8
"""Weights of this many bits or fewer are rounded; those of more are sent as numbers of 16 or 32
bits."""


@dataclass(frozen=True)
class Delivery:
    """How a run is packed.

    Attributes:
        bits: Of a weight: 32, 16, 8, 6 or 4.
        out: The package; None: ``<video>.stdo`` in the run directory.
        unpacked: A folder rather than a file.
    """

    bits: int = 8
    out: Path | None = None
    unpacked: bool = False

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise UserError(f"weights.bits={self.bits}: must be one of {', '.join(map(str, BITS))}")

    def path(self, directory: Path, name: str) -> Path:
        """Where the package of a run is written."""
        return self.out or directory / f"{file_name(name)}{SUFFIX}"


@dataclass(frozen=True)
class Delivered:
    """A written package, the run's metrics with its bytes, and what could not be carried, one line
    each."""

    path: Path
    metrics: Json
    notes: tuple[str, ...]


def deliver(directory: Path, clip: Clip, delivery: Delivery) -> Delivered:
    """Pack a finished run, play it through the client, and keep what it costs in metrics.json.

    Args:
        directory: The run directory.
        clip: What the run was trained on.
        delivery: How it is packed.

    Raises:
        UserError: The run is not finished, the clip is another one, its LR video is not what was
            trained on, or the target cannot be written.
    """
    metrics = read_result(directory)
    target = delivery.path(directory, clip.info.name)
    if not target.parent.is_dir():
        raise UserError(f"out={target}: there is no folder {target.parent}")
    labels_TRC, network_of = read_chunks(directory)
    networks, meta = load_networks(directory / RUN_WEIGHTS)
    check_run(
        clip, Planned(networks[0], len(networks), tuple(sorted(set(network_of)))), delivery.bits
    )
    with claimed(directory), scratch_beside(target) as folder:
        video = own_video(directory, metrics | read_facts(directory, meta), labels_TRC, clip)
        muxed = write_stream(
            folder, video, clip.source, clip.degrade.codec is not None, clip.progress
        )
        manifest, members = _contents(directory, clip, delivery, muxed)
        draft = folder / f"draft{SUFFIX}"
        write_package(draft, manifest, members, delivery.unpacked)
        check_stream(Package.open(draft), video, clip.progress)
        manifest = replace(
            measured(manifest, draft, video, clip.progress), bicubic=_figures(metrics["bicubic"])
        )
        write_package(target, manifest, members, delivery.unpacked)
    metrics |= _costs(Package.open(target), delivery)
    write_result(directory, metrics)
    return Delivered(target, metrics, muxed.notes)


@contextmanager
def scratch_beside(target: Path) -> Iterator[Path]:
    """A folder beside the package for what it is made of."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch(target))
        except OSError as error:
            raise UserError(f"out={target}: cannot be written ({error.strerror})") from error
        yield folder


def is_delivered(metrics: Json, delivery: Delivery, path: Path) -> bool:
    """Whether a run's package is there already, made as ``delivery`` asks."""
    made = metrics.get("delivered", {})
    return path.exists() and made.get("bits") == delivery.bits


def _contents(
    directory: Path, clip: Clip, delivery: Delivery, muxed: Muxed
) -> tuple[Manifest, dict[str, Path | bytes]]:
    """The manifest, as yet without what is measured, and all other members."""
    networks, _ = load_networks(directory / RUN_WEIGHTS)
    grid, video = clip.inference_grid(networks[0].receptive_radius), clip.video
    labels_TRC, network_of = read_chunks(
        directory, (len(video.lr), grid.rows, grid.cols), len(networks)
    )
    coded = load_weights(directory / RUN_WEIGHTS)
    if delivery.bits <= ROUNDED:
        seen = windows_of(clip, labels_TRC, network_of, grid=grid)
        coded = rounded(coded, delivery.bits, networks[0], seen)
    # Chunks that share their network: one to the viewer
    numbers, chunk_of = np.unique(network_of, return_inverse=True)
    labels_TRC, network_of = chunk_of.astype(np.int16)[labels_TRC], numbers.tolist()
    one = networks[0]
    network = Network(
        name_of(one),
        tuple(weights.params_of(coded.bases[0])),
        len(networks),
        tuple(network_of),
        one.receptive_radius,
        one.residual,
    )
    manifest = Manifest(
        generator=f"stdo {__version__}",
        name=printable_name(clip.info),
        scale=video.scale,
        source=_source(clip.info, video),
        lr=_stream(clip.degrade, muxed, video),
        grid=Patches(grid.patch_h, grid.patch_w, grid.halo),
        network=network,
        quantiser=Quantiser(delivery.bits),
        quality=None,
        bicubic=None,
        members={},
    )
    members: dict[str, Path | bytes] = {
        GRAPH: export_graph(networks[0]),
        WEIGHTS: weights.encode(coded, delivery.bits),
        CHUNKS: labels.encode(labels_TRC, len(network_of)),
        muxed.path.name: muxed.path,
    }
    return manifest, members


def _stream(degrade: Degrade, muxed: Muxed, video: Prepared) -> Stream:
    height, width = video.lr.shape[1:3]
    preset = None if degrade.preset is None else str(degrade.preset)
    codec = degrade.codec or "lossless"
    return Stream(muxed.path.name, width, height, codec, degrade.crf, preset, muxed.audio_bytes)


def _source(info: VideoInfo, video: Prepared) -> Source:
    rate = held(info.rate)
    last = None if video.last in (1 / rate, 1 / info.rate) else held(video.last)
    times = timing(video.pts, rate)
    return Source.of(
        video.width, video.height, len(video.pts), rate, info.colour, times, last, info.marks
    )


def timing(pts: Sequence[Fraction], rate: Fraction) -> Times | None:
    """How a manifest tells when frames are shown.

    Args:
        pts: Seconds of each frame, the first at 0.
        rate: Frames per second.

    Returns:
        None where they are evenly spaced.
    """
    if all(time == t / rate for t, time in enumerate(pts)):
        return None
    exact = lcm(*(time.denominator for time in pts))
    base = Fraction(1, exact if exact < 2**31 else 10**9)
    ticks = Ticks(base, 1, Timeline.of(pts))
    stamps: list[int] = []
    for t in range(len(pts)):
        stamps.append(ticks.stamp(t, stamps[-1] if stamps else None))
    return Times(base, tuple(stamps))


def _figures(measured: Json) -> Figures:
    return Figures(
        Psnr(*(measured["psnr"][name] for name in Psnr.__struct_fields__)), measured["ssim"]
    )


def _costs(package: Package, delivery: Delivery) -> Json:
    """What metrics.json keeps of a package."""
    sizes, manifest = package.sizes(), package.manifest
    assert manifest.quality is not None
    return {
        "bytes": sizes,
        "network_bytes": weights.sizes(package.read(WEIGHTS)),
        "bitrate_kbps": float(sizes["total"] * 8 / 1000 / manifest.source.seconds),
        "delivered": {
            "bits": delivery.bits,
            "codec": manifest.lr.codec,
            "crf": manifest.lr.crf,
            "psnr": asdict(manifest.quality.psnr),
            "ssim": manifest.quality.ssim,
        },
    }
