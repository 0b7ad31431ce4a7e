"""From the packages of a video's parts to one package of the whole video.

The networks and labels of a part are taken over byte by byte, and so are the packets of its LR
stream: what a viewer sees of the whole is what was measured of the parts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, chain
from math import log10
from pathlib import Path

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from stdo import __version__
from stdo.core.types import BICUBIC, U8, FrameSource, Progress, UserError, silent
from stdo.encoder.pack import scratch_beside, timing
from stdo.encoder.stream import cut_of, mux_stream
from stdo.package import coding
from stdo.package.container import SUFFIX, Package, write_package
from stdo.package.limits import CHUNKS, GRAPH, MAX_RANGES, WEIGHTS
from stdo.package.manifest import Figures, Manifest, Network, Psnr, VideoPart
from stdo.package.source import Source
from stdo.player.lr import LrVideo
from stdo.video.concat import Opener, concatenate
from stdo.video.ticks import Timeline, held

MOST = 2**31 - 1
"""Bytes of a ZIP as packages are."""
_EXACT = Fraction(1, 10**6)
"""Seconds to which a manifest holds times whose fractions fit no 31 bits."""


@dataclass(frozen=True)
class Whole:
    """The video that the parts are of.

    Attributes:
        source: The video.
        pts: Seconds of each frame, the first at 0.
        last: Seconds that the last frame is shown; None: one average interval.
        firsts: Number of the first frame of each part.
    """

    source: FrameSource
    pts: Sequence[Fraction]
    last: Fraction | None
    firsts: Sequence[int]


def join_parts(
    target: Path, parts: Sequence[Path], whole: Whole, progress: Progress = silent
) -> tuple[Manifest, tuple[str, ...]]:
    """Write the package of a whole video, whole or not at all; one that exists is replaced.

    Args:
        target: Of the package.
        parts: The packages of its parts, two or more, in order.
        whole: The video.
        progress: Shows how far the check of the frames is.

    Returns:
        Its manifest, and what could not be carried of the source, one line each.

    Raises:
        UserError: The parts are not those of the video, or of different recipes; their networks
            together are more than a package may hold; the target cannot be written.
    """
    packages = [Package.open(path) for path in parts]
    size = sum(package.sizes()["total"] for package in packages)
    if size > MOST:
        raise UserError(
            f"{target}: its parts have {size:,} bytes: must be at most {MOST:,} together, as a "
            "package is a ZIP without extensions; a codec makes them smaller (experiment=delivery)"
        )
    _check(packages, whole)
    with scratch_beside(target) as folder:
        silent_lr = folder / "silent.mp4"
        streams = [_lr_of(package) for package in packages]
        last = whole.last or 1 / whole.source.info.rate
        concatenate(
            silent_lr,
            [_opener(each) for each in streams],
            Timeline.of(whole.pts, last),
        )
        seconds, marks = whole.pts[-1] + last, whole.source.info.marks
        muxed = mux_stream(folder, silent_lr, whole.source, cut_of(whole.source, seconds), marks)

        manifest = _manifest(packages, whole, muxed.path.name, muxed.audio_bytes)
        members: dict[str, Path | bytes] = {
            GRAPH: packages[0].read(GRAPH),
            WEIGHTS: coding.join([package.read(WEIGHTS) for package in packages]),
            CHUNKS: coding.join([package.read(CHUNKS) for package in packages]),
            muxed.path.name: muxed.path,
        }
        made = folder / f"made{SUFFIX}"
        manifest = write_package(made, manifest, members)
        _check_frames(Package.open(made), streams, whole, progress)
        made.replace(target)
    return manifest, muxed.notes


def _lr_of(package: Package) -> LrVideo:
    return LrVideo(lambda: package.file(package.manifest.lr.member), package.manifest)


def _opener(lr: LrVideo) -> Opener:
    return lambda: lr.opened(decoding=True)


def _check(packages: Sequence[Package], whole: Whole) -> None:
    """Raise UserError where the packages are not of the parts of one video, made alike."""
    ends = [*whole.firsts[1:], len(whole.pts)]
    for package, first, end in zip(packages, whole.firsts, ends, strict=True):
        source = package.manifest.source
        if source.frames != end - first:
            raise UserError(f"{package.path}: has {source.frames} frames: must be {end - first}")
        begin = whole.pts[first]
        for t in range(source.frames):
            if abs(source.pts(t) - (whole.pts[first + t] - begin)) >= _EXACT:
                raise UserError(
                    f"{package.path}: shows its frame {t} at {float(source.pts(t)):g} s: must be "
                    f"{float(whole.pts[first + t] - begin):g} s, as in the whole video"
                )
    alike, graph = _in_common(packages[0].manifest), packages[0].read(GRAPH)
    for package in packages[1:]:
        if _in_common(package.manifest) != alike or package.read(GRAPH) != graph:
            raise UserError(
                f"{package.path}: is of another recipe than {packages[0].path}: must be of the same"
            )


def _in_common(manifest: Manifest) -> Manifest:
    """A manifest without what parts of one video differ in."""
    return replace(
        manifest,
        generator="",
        source=_timeless(manifest),
        lr=replace(manifest.lr, member="", audio_bytes=0),
        network=replace(manifest.network, networks=0, network_of=(), ranges=None),
        quality=None,
        bicubic=None,
        members={},
    )


def _timeless(manifest: Manifest) -> Source:
    return replace(manifest.source, frames=1, times=None, last=UNSET)


def _manifest(packages: Sequence[Package], whole: Whole, member: str, audio_bytes: int) -> Manifest:
    manifests = [package.manifest for package in packages]
    first, rate = manifests[0], manifests[0].source.rate
    usual = whole.last in (None, 1 / rate, 1 / whole.source.info.rate)
    source = replace(_timeless(first), frames=len(whole.pts), times=timing(whole.pts, rate))
    if not usual:
        assert whole.last is not None
        source = replace(source, last=held(whole.last))
    parts = [
        VideoPart(begin, each.network.networks, len(each.network.network_of))
        for begin, each in zip(whole.firsts, manifests, strict=True)
    ]
    return replace(
        first,
        generator=f"stdo {__version__}",
        source=source,
        lr=replace(first.lr, member=member, audio_bytes=audio_bytes),
        network=_networks([each.network for each in manifests]),
        quality=_mean(manifests, [each.quality for each in manifests]),
        bicubic=_mean(manifests, [each.bicubic for each in manifests]),
        members={},
        parts=tuple(parts),
    )


def _networks(networks: Sequence[Network]) -> Network:
    """Those of all parts, numbered through."""
    before = [0, *accumulate(each.networks for each in networks)]
    network_of = [
        number if number == BICUBIC else number + offset
        for each, offset in zip(networks, before, strict=False)
        for number in each.network_of
    ]
    ranges = None
    if all(each.ranges is not None for each in networks):
        ranges = tuple(chain.from_iterable(each.ranges or () for each in networks))
        ranges = ranges if sum(map(len, ranges)) <= MAX_RANGES else None
    return replace(networks[0], networks=before[-1], network_of=tuple(network_of), ranges=ranges)


def _mean(manifests: Sequence[Manifest], figures: Sequence[Figures | None]) -> Figures | None:
    """The figures of all frames, from those of each part."""
    weights = [each.source.frames for each in manifests]
    known = [each for each in figures if each is not None]
    if len(known) < len(figures):
        return None

    def mean(values: Sequence[float]) -> float:
        return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)

    error = mean([10 ** (-each.psnr.pooled / 10) for each in known])
    psnr = Psnr(
        mean([each.psnr.frame for each in known]),
        min(100.0, -10 * log10(error)),
        mean([each.psnr.y for each in known]),
    )
    ssims = [each.ssim for each in known if each.ssim is not None]
    return Figures(psnr, mean(ssims) if len(ssims) == len(known) else None)


def _check_frames(
    package: Package, streams: Sequence[LrVideo], whole: Whole, progress: Progress
) -> None:
    """Raise UserError unless the joined LR stream gives exactly the frames of the parts'."""
    expected: Iterator[U8] = chain.from_iterable(each.frames() for each in streams)
    found = progress(_lr_of(package).frames(), len(whole.pts), "check")
    for t, (lr_HWC, wanted_HWC) in enumerate(zip(found, expected, strict=True)):
        if not np.array_equal(lr_HWC, wanted_HWC):
            raise UserError(f"{package.path}: its LR frame {t} is not that of its part")
