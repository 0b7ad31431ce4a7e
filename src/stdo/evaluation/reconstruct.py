"""The only stitcher: LR frames, chunk labels and networks in, SR frames out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from stdo.chunks.grid import PatchGrid
from stdo.core.timeshare import yield_cores
from stdo.core.types import BICUBIC, I16, U8, Frames
from stdo.models.pixels import to_float, to_uint8, without_halo
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
    """

    networks: Sequence[nn.Module]
    network_of: Sequence[int]
    grid: PatchGrid
    device: torch.device

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
        padded_patches = torch.from_numpy(self.grid.extract(lr_HWC))
        chosen = np.asarray(self.network_of)[labels.ravel()]
        grid, scale = self.grid, self.grid.scale
        out = np.empty((grid.patches, grid.patch_h * scale, grid.patch_w * scale, 3), np.uint8)
        if (chosen == BICUBIC).any():
            out[:] = grid.hr.extract(BicubicUpscaler(scale)(lr_HWC))
        for index in np.unique(chosen[chosen != BICUBIC]):
            for members in np.array_split(
                np.flatnonzero(chosen == index), -(-int((chosen == index).sum()) // BATCH)
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
