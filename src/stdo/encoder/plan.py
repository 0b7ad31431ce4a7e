"""Check before training that the run can be packed, by the checks of packing itself.

The streams that go with the picture are tried (`stdo.encoder.beside`), the ranges of the manifest
are those that `stdo.package.manifest` holds every package to, and large patches are tried in the
player's runtime.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isqrt, prod

import numpy as np

from stdo import __version__
from stdo.chunks.grid import PatchGrid
from stdo.core.checked import FieldError
from stdo.core.types import BICUBIC, UserError, VideoInfo
from stdo.encoder.beside import beside
from stdo.models.common import Backbone
from stdo.models.cost import count
from stdo.models.registry import BACKBONES, name_of
from stdo.models.sharing import Sharing
from stdo.package.limits import MAX_CHUNKS, MAX_PIXELS, MAX_SIDE, MAX_WINDOWS, STREAMS
from stdo.package.manifest import Manifest, Network, Patches, Quantiser, Stream, to_json
from stdo.package.source import Source
from stdo.video.clip import Clip
from stdo.video.reader import VideoFile
from stdo.video.span import MIN_HEIGHT

_SURE = 2**17
"""HR pixels of a padded patch that any backbone computes in the memory that players give it."""


@dataclass(frozen=True, slots=True)
class Planned:
    """The networks that a run has or will have.

    Attributes:
        one: Any of them.
        count: How many.
        network_of: As in the manifest, each number once.
    """

    one: Backbone
    count: int
    network_of: tuple[int, ...]

    @classmethod
    def expected(cls, build: Callable[[int], Sharing], chunks: int, bicubic: int) -> Planned:
        """Those that ``build(chunks)`` would make, where ``bicubic`` chunks have none; at most two
        are built."""
        few = build(min(chunks, bicubic + 2))
        count = 1 if few.networks < few.served else chunks - bicubic
        return cls(
            few.network(0), count, (BICUBIC, *range(count)) if bicubic else tuple(range(count))
        )

    @property
    def told(self) -> Network:
        """As the manifest tells of them."""
        params = tuple(
            (name, tuple(tensor.shape)) for name, tensor in self.one.state_dict().items()
        )
        return Network(
            name_of(self.one),
            params,
            self.count,
            self.network_of,
            self.one.receptive_radius,
            self.one.residual,
        )


def stream_notes(clip: Clip) -> tuple[str, ...]:
    """What the package will not hold of the source, one line each. Raises UserError where the
    source is damaged."""
    with beside(clip.source) as carried:
        return carried.notes


def check_run(clip: Clip, networks: Planned, bits: int) -> None:
    """Raise UserError, in one line that names the settings, for a run that no package can hold.

    Args:
        clip: The run's; nothing of it is decoded.
        networks: What it has or will have.
        bits: Of a weight in the package.
    """
    grid = clip.inference_grid(networks.one.receptive_radius)
    _check_ranges(clip, networks, bits)
    _check_work(clip, grid, networks.one)
    _check_window(clip, grid, networks.one)
    if name_of(networks.one) not in BACKBONES:
        from stdo.encoder.playable import check_playable

        check_playable(networks.one, bits)


def _check_ranges(clip: Clip, networks: Planned, bits: int) -> None:
    """Raise UserError for a value that is out of the manifest's range."""
    grid = clip.inference_grid(networks.one.receptive_radius)
    draft = _draft(clip, grid, networks.told, bits)
    try:
        to_json(draft)
    except FieldError as error:
        raise UserError(_explained(error, clip, grid, draft)) from error


def _draft(clip: Clip, grid: PatchGrid, network: Network, bits: int) -> Manifest:
    """The manifest of the package, as far as it is known."""
    info, degrade = clip.info, clip.degrade
    preset = None if degrade.preset is None else str(degrade.preset)
    return Manifest(
        generator=f"stdo {__version__}",
        name=printable_name(info),
        scale=degrade.scale,
        source=Source.of(
            info.width,
            info.height,
            info.frames or 1,
            info.rate.limit_denominator(2**31 - 1),
            info.colour,
        ),
        lr=Stream(
            STREAMS[0], grid.width, grid.height, degrade.codec or "lossless", degrade.crf, preset, 0
        ),
        grid=Patches(grid.patch_h, grid.patch_w, grid.halo),
        network=network,
        quantiser=Quantiser(bits),
        quality=None,
        bicubic=None,
        members={},
    )


def printable_name(info: VideoInfo) -> str:
    """What the manifest calls a video."""
    return "".join(each for each in info.name if each.isprintable())[:400] or "video"


def _explained(error: FieldError, clip: Clip, grid: PatchGrid, draft: Manifest) -> str:
    """What a value out of the manifest's range means to whoever sets a run up: settings, what is
    allowed, a way out."""
    info, network, allowed = clip.info, draft.network, error.allowed
    source = (
        f"video.path={clip.source.path}"
        if isinstance(clip.source, VideoFile)
        else f"video {info.name}"
    )
    size, patches = (
        f"{source}: {info.width}x{info.height} pixels",
        f"patches of {grid.patch_w}x{grid.patch_h} LR pixels",
    )
    shrunk = f"video.height={_fitting_height(info)} shrinks the frames"
    fewer = "lower chunks or backbone.width, or share one network (sharing=single)"
    said = {
        "source.width": f"{size}: in a package each side must be {allowed}; {shrunk}",
        "source.height": f"{size}: in a package each side must be {allowed}; {shrunk}",
        "source.width·height": f"{size}: in a package a frame must have {allowed} pixels; {shrunk}",
        "source.frames": (
            f"{source}: in a package its frames must be {allowed}; video.max_frames takes fewer"
        ),
        "network.params": (
            f"chunks: {network.networks} networks of {network.backbone} have {error.value} "
            f"weights: in a package they must have {allowed}; {fewer}"
        ),
        "network.networks": (
            f"chunks: {error.value} networks: in a package they must be {allowed}; {fewer}"
        ),
        "network.network_of": (
            f"chunks: {len(network.network_of)}: in a package they must be at most {MAX_CHUNKS}"
        ),
        "patches": (
            f"patches.height, patches.width: {error.value} {patches} in the whole video: "
            f"in a package they must be {allowed}; raise these settings"
        ),
        "grid.halo": (
            f"{_halo_of(clip, grid)}: in a package it must be {_fitting_halo(grid)} or less "
            f"for {patches}"
        ),
        "lr.crf": f"degrade.crf={error.value}: in a package it must be {allowed}",
        "lr.preset": f"degrade.preset={error.value}: in a package it must be {allowed}",
    }
    return said.get(error.field, f"{error.field}={error.value}: in a package it must be {allowed}")


def _fitting_height(info: VideoInfo) -> int:
    """The largest height to which frames can be shrunk so that a package holds them."""
    share = min(Fraction(1), Fraction(MAX_SIDE, info.width), Fraction(MAX_SIDE, info.height))
    pixels = info.width * info.height * share**2
    if pixels > MAX_PIXELS:
        share *= Fraction(isqrt(int(MAX_PIXELS / pixels * 10**12)), 10**6)
    return max(MIN_HEIGHT, int(info.height * share) - 1)


def _halo_of(clip: Clip, grid: PatchGrid) -> str:
    """The setting that a halo comes from."""
    if grid.halo == clip.grid.halo:
        return f"patches.halo={grid.halo}"
    return f"patches.whole=true: takes a halo of {grid.halo} LR pixels"


def _fitting_halo(grid: PatchGrid) -> int:
    """The largest halo that a package holds for patches of this size."""
    halo, grid = grid.halo, replace(grid, halo=0)
    most = MAX_WINDOWS // (grid.patches * grid.scale**2)  # LR pixels of a padded patch
    return (
        bisect_right(
            range(halo),
            most,
            key=lambda tried: prod(replace(grid, halo=tried).padded_patch),
        )
        - 1
    )


def _check_work(clip: Clip, grid: PatchGrid, network: Backbone) -> None:
    """Raise UserError where a frame costs more than players compute."""
    from stdo.player.model import MAX_MACS

    work = count(network, clip.scale, *grid.padded_patch).macs * grid.patches
    if work > MAX_MACS:
        name, most = name_of(network), f"at most {MAX_MACS:.3g}"
        raise UserError(
            f"backbone={name}: {work:.3g} multiply-accumulates for a frame of "
            f"{clip.info.width}x{clip.info.height}: "
            f"in a package it must be {most}; take a smaller backbone, or video.height"
        )


def _check_window(clip: Clip, grid: PatchGrid, network: Backbone) -> None:
    """Raise UserError where players would refuse to compute patches as large as these."""
    scale = clip.scale
    height, width = grid.padded_patch
    if height * width * scale**2 <= _SURE:
        return
    from stdo.encoder.graph import export_graph
    from stdo.player.memory import VIEWER, of_networks
    from stdo.player.model import check_held, held, network_model
    from stdo.player.runtime import core

    tensors = {name: np.asarray(tensor) for name, tensor in network.state_dict().items()}
    try:
        model = network_model(core(), export_graph(network), tensors, scale, (height, width))
        check_held(
            held(model),
            of_networks(clip.info.width * clip.info.height, grid.height * grid.width, VIEWER),
        )
    except UserError as error:
        reason = str(error).partition(": ")[2]
        settings = (
            f"patches.height={grid.patch_h} patches.width={grid.patch_w} {_halo_of(clip, grid)}"
        )
        what = f"players cannot compute {name_of(network)} on patches as large as these"
        raise UserError(f"{settings}: {what} ({reason}); lower these settings") from error
