"""A clip: a video at high and at low resolution with its patch grid."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from stdo.chunks.grid import PatchGrid
from stdo.core.types import FrameSource, Pairs, Progress, VideoInfo, silent
from stdo.video.degrade import Degrade
from stdo.video.store import Prepared, prepare


@dataclass(frozen=True)
class PatchSize:
    """Patch size in LR pixels. None: the paper's, turned the way that needs fewer patches.

    whole: Finished networks are run on whole frames, whatever patches they were trained on.
    """

    height: int | None = None
    width: int | None = None
    halo: int = 0
    whole: bool = False

    def grid(self, height: int, width: int, scale: int) -> PatchGrid:
        """Grid for LR frames of this size. The paper's patches are 48×54 at ×2 and ×4, 64×60 at ×3
        (w×h)."""
        long, short = (64, 60) if scale == 3 else (54, 48)
        paper = [(short, long), (long, short)] if scale == 3 else [(long, short), (short, long)]
        choices = [(self.height or h, self.width or w) for h, w in paper]
        fits = [c for c in choices if c[0] <= height and c[1] <= width] or choices[:1]
        grids = [
            PatchGrid(height, width, patch_h, patch_w, self.halo, scale)
            for patch_h, patch_w in fits
        ]
        return min(grids, key=lambda grid: grid.patches)


class Clip:
    """A video, how its LR frames are made, and how both are cut into patches.

    Nothing is decoded before `video` is asked for; then the frames lie on the disk and are read
    through a memory map.

    Args:
        source: The video.
        degrade: HR frames to LR frames.
        patches: Size of a patch.
        cache: Folder of prepared videos; all clips may share one.
        progress: Shows how far decoding and other work on all frames is.
        cache_limit: Largest size of the cache in GB; None: none.

    Attributes:
        info: What is known of the video before it is decoded.
        grid: Its patches.
        scale: 2, 3 or 4.
        settings: What `stdo.open_clip` was given, for the run directory to keep; None where it did
            not make the clip.

    Raises:
        UserError: The patches do not fit the frames.
    """

    def __init__(
        self,
        source: FrameSource,
        degrade: Degrade,
        patches: PatchSize = PatchSize(),
        cache: Path = Path("cache"),
        progress: Progress = silent,
        cache_limit: float | None = None,
    ) -> None:
        self.source, self.degrade, self.patches = source, degrade, patches
        self.cache, self.progress = cache, progress
        self.cache_limit = cache_limit
        self.info: VideoInfo = source.info
        self.scale = degrade.scale
        height, width = -(-self.info.height // self.scale), -(-self.info.width // self.scale)
        self.grid = patches.grid(height, width, self.scale)
        self.settings: Mapping[str, Any] | None = None
        self._watch: Callable[[Pairs], None] | None = None

    def inference_grid(self, receptive_radius: int) -> PatchGrid:
        """The patches as finished networks are run on them.

        With ``patches.whole`` their halo holds all that a network sees, so that each patch is that
        part of the picture that its network makes of the whole frame with its edge repeated.

        Args:
            receptive_radius: How many LR pixels away a pixel still changes the network's result.
        """
        if not self.patches.whole:
            return self.grid
        return replace(self.grid, halo=max(self.grid.halo, receptive_radius))

    @cached_property
    def video(self) -> Prepared:
        """The frames: decoded and degraded now, unless that was done before.

        Raises:
            UserError: The video is damaged, the disk is full, or the cache cannot be written.
        """
        return prepare(
            self.source, self.cache, self.degrade, self.progress, self._watch, self.cache_limit
        )

    def prepare(self, watch: Callable[[Pairs], None]) -> Prepared:
        """`video`, which ``watch`` sees while it is made: (LR, HR) frames in order, where any have
        to be made."""
        self._watch = watch
        return self.video
