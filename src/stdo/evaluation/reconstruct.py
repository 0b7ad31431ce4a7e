"""The only stitcher: LR frames, chunk labels and networks in, SR frames out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from stdo.chunks.grid import PatchGrid
from stdo.core.timeshare import yield_cores
from stdo.core.types import BICUBIC, I16, U8, Frames
from stdo.models.common import Backbone
from stdo.models.cost import macs_per_patch
from stdo.models.pixels import to_float, to_uint8, without_halo
from stdo.video.clip import Clip
from stdo.video.degrade import BicubicUpscaler

BATCH = 8
"""Padded patches that go through a network at once: enough to fill a CPU, bounded in memory."""


def device_of(name: object) -> torch.device:
    """The device that a run was trained on, where this machine has it and it works; else the GPU,
    else the CPU."""
    try:
        device = torch.device(str(name))
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError):
        # Not a device, not built for it, not there
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return device


@dataclass(frozen=True)
class Reconstructor:
    """Super-resolves frames patch by patch, each patch with its chunk's network, in float32.

    Attributes:
        networks: Plain backbones, in evaluation mode, on ``device``.
        network_of: The network that serves each chunk, or `BICUBIC`: its patches are those of the
            whole frame enlarged.
        tiles: Larger patches with the same halo, which all that networks see must fit in: frames
            whose patches share one network are computed in these, which takes less work and gives
            the same picture. None: patch by patch.
    """

    networks: Sequence[nn.Module]
    network_of: Sequence[int]
    grid: PatchGrid
    device: torch.device
    tiles: PatchGrid | None = None

    @classmethod
    def of(
        cls,
        networks: Sequence[Backbone],
        network_of: Sequence[int],
        clip: Clip,
        device: torch.device,
    ) -> Self:
        """As a clip's settings ask for it: patch by patch, or whole frames (``patches.whole``).

        Whole frames are computed in tiles of no more pixels than `BATCH` padded patches, so that
        memory does not grow with the frame.

        Args:
            networks: See `networks`; all are of one architecture.
            network_of: See `network_of`.
            clip: The video.
            device: See `device`.
        """
        grid = clip.inference_grid(networks[0].receptive_radius)
        tiles = grid.tiles(BATCH * prod(grid.padded_patch)) if clip.patches.whole else None
        return cls(networks, network_of, grid, device, tiles)

    def macs_per_frame(self, labels_TRC: I16) -> int:
        """Multiply-accumulates for a frame, the mean over the video; see `stdo.models.cost`.

        Args:
            labels_TRC: int16 (T, rows, cols).
        """
        label_TP = labels_TRC.reshape(len(labels_TRC), -1)
        macs_T = self._macs(self.grid)[label_TP].sum(axis=1)
        if self.tiles is not None:
            chosen_TP = np.asarray(self.network_of)[label_TP]
            whole_T = (chosen_TP == chosen_TP[:, :1]).all(axis=1) & (chosen_TP[:, 0] != BICUBIC)
            macs_T[whole_T] = (self._macs(self.tiles) * self.tiles.patches)[label_TP[whole_T, 0]]
        return round(int(macs_T.sum()) / len(macs_T))

    def _macs(self, grid: PatchGrid) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Of one patch of each chunk."""
        networks, patch = list(self.networks), (grid.patch_h, grid.patch_w)
        macs = macs_per_patch(networks, self.network_of, grid.scale, grid.padded_patch, patch)  # type: ignore[arg-type]
        return np.array(macs, np.int64)

    @torch.inference_mode()
    def patches(self, lr_HWC: U8, labels: I16) -> U8:
        """Every patch of one frame as its network makes it, rounded to 8 bit.

        Args:
            lr_HWC: uint8 (height, width, 3).
            labels: int16 (rows, cols).

        Returns:
            uint8 (patches, s·h, s·w, 3), without halo.
        """
        yield_cores()
        chosen = np.asarray(self.network_of)[labels.ravel()]
        if self.tiles is None or (chosen != chosen[0]).any() or chosen[0] == BICUBIC:
            return self._patches(self.grid, lr_HWC, chosen)
        whole = np.full(self.tiles.patches, chosen[0])
        return self.grid.hr.extract(self.tiles.assemble(self._patches(self.tiles, lr_HWC, whole)))

    def _patches(
        self, grid: PatchGrid, lr_HWC: U8, chosen: np.ndarray[Any, np.dtype[np.int64]]
    ) -> U8:
        """The patches of a grid as the networks ``chosen`` for them make them."""
        scale, at_once = grid.scale, 1 if grid is self.tiles else BATCH
        padded_patches = torch.from_numpy(grid.extract(lr_HWC))
        out = np.empty((grid.patches, grid.patch_h * scale, grid.patch_w * scale, 3), np.uint8)
        if (chosen == BICUBIC).any():
            out[:] = grid.hr.extract(BicubicUpscaler(scale)(lr_HWC))
        for index in np.unique(chosen[chosen != BICUBIC]):
            for members in np.array_split(
                np.flatnonzero(chosen == index), -(-int((chosen == index).sum()) // at_once)
            ):
                lr_NCHW = to_float(padded_patches[members].to(self.device))
                sr_NCHW = without_halo(self.networks[index](lr_NCHW), grid.halo * scale)
                out[members] = to_uint8(sr_NCHW).cpu().numpy()
        return out

    def frames(self, lr_THWC: Frames, labels: I16) -> Iterator[tuple[U8, U8]]:
        """SR frame (scale·height, scale·width, 3) and its patches, for every LR frame. labels: (T,
        rows, cols)."""
        for t in range(len(lr_THWC)):
            patches = self.patches(np.asarray(lr_THWC[t]), labels[t])
            yield self.grid.assemble(patches), patches
