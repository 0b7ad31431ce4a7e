"""Measure a package on the frames that the player makes."""

from fractions import Fraction
from math import isfinite
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from stdo.core.types import Progress
from stdo.evaluation.metrics import Comparison
from stdo.metrics.base import Pair
from stdo.package.limits import MAX_RANGE, MAX_RANGES
from stdo.package.manifest import Figures, Manifest, Psnr
from stdo.player.client import Player
from stdo.video.store import Prepared

_EXACT = Fraction(1, 10**6)
"""Seconds to which the manifest holds times whose fractions fit no 31 bits."""


def measured(manifest: Manifest, package: Path, video: Prepared, progress: Progress) -> Manifest:
    """Play a package as a viewer would. Its manifest with how near it is to the truth, and what
    convolutions read."""
    player, network = Player(package), manifest.network
    observed = player.networks.observe()
    quality = _compared(player, video, progress)
    ranges = observed.ranges(network.networks, network.convolutions)
    good = len(ranges) * len(network.convolutions) <= MAX_RANGES
    good = good and all(
        isfinite(low + high) and max(-low, high) <= MAX_RANGE
        for each in ranges
        for low, high in each
    )
    return replace(
        manifest, quality=quality, network=replace(network, ranges=ranges if good else None)
    )


def _compared(player: Player, video: Prepared, progress: Progress) -> Figures:
    comparison = Comparison()
    for t, (pts, rgb_HWC) in enumerate(progress(player, len(video.lr), "measure")):
        hr_HWC = np.asarray(video.hr[t])[: video.height, : video.width]
        assert abs(pts - video.pts[t]) < _EXACT, (t, pts, video.pts[t])
        comparison.add(Pair(hr_HWC, rgb_HWC))
    assert comparison.frames == len(video.lr), (comparison.frames, len(video.lr))
    found = comparison.result()
    known = {name: found["psnr"][name] for name in Psnr.__struct_fields__}
    return Figures(Psnr(**known), found["ssim"])
