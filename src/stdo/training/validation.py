"""Validation: the PSNR of whole frames while training, for callbacks and curves."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import Dataset
from torchmetrics import Metric

from stdo.chunks.grid import PatchGrid
from stdo.chunks.score import psnr
from stdo.core.types import I16
from stdo.models.pixels import to_float, to_uint8, without_halo
from stdo.models.sharing import Sharing
from stdo.video.degrade import BicubicUpscaler
from stdo.video.store import Prepared

FrameBatch = dict[str, torch.Tensor]
"""lr: uint8 (P, h, w, 3), the padded patches of a frame, chunk after chunk; chunk: int64 (P,);
place: int64 (P, 6), see `placed`; border: int64 (), SR pixels of halo on each side; hr, base: uint8
(H, W, 3), the frame, and its bicubic picture where chunks have no network (else black)."""

AT_ONCE = 8
"""Patches that go through a network at once, as in evaluation."""

COST = 0.03
"""Share of a fit's work that validating takes where nobody says how many frames it measures."""

FIXED = 2**32
"""Parts of a dB that PSNR is added up in: whole numbers, since a device may have no float64."""

PATCH = 0.6
"""Work of measuring a patch, counted in patches that are trained on: a forward pass, and its share
of putting the frame together (measured: docs/decisions/0027-lightning.md)."""


class VideoPsnr(Metric):
    """Mean of the frames' PSNR in dB over RGB, as metrics.json has it (``psnr.frame``).

    `torchmetrics.image.PeakSignalNoiseRatio` pools the error of all frames, or keeps every frame;
    this one adds up as it goes, and is finite for equal frames.
    """

    full_state_update = False
    higher_is_better = True
    total: torch.Tensor
    frames: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("frames", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, sr_NHWC: torch.Tensor, hr_NHWC: torch.Tensor) -> None:
        """Add frames, uint8 (N, H, W, 3)."""
        for sr_HWC, hr_HWC in zip(sr_NHWC, hr_NHWC, strict=True):
            # Squares of whole numbers, exact in float32; their sum is not
            error = int((sr_HWC.float() - hr_HWC.float()).square_().sum(dtype=torch.int64))
            self.total += round(float(psnr(error / hr_HWC.numel())) * FIXED)
            self.frames += 1

    def compute(self) -> torch.Tensor:
        """The mean in dB, float32; NaN without a frame."""
        frames = int(self.frames)
        mean = int(self.total) / FIXED / frames if frames else math.nan
        return torch.tensor(mean, dtype=torch.float32, device=self.device)


class ValidationFrames(Dataset[FrameBatch]):
    """Whole frames of a video, cut into padded patches.

    Args:
        video: The prepared video.
        grid: Its patches.
        labels_TRC: The chunk of each patch.
        frames: Numbers of the frames.
        served: Chunks from this one on have no network.
    """

    def __init__(
        self, video: Prepared, grid: PatchGrid, labels_TRC: I16, frames: list[int], served: int
    ) -> None:
        self._video, self._grid, self._labels_TRC = video, grid, labels_TRC
        self._frames, self._served = frames, served
        self._place = placed(grid, video.height, video.width)

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, number: int) -> FrameBatch:
        t, video = self._frames[number], self._video
        lr_HWC, hr_HWC = np.asarray(video.lr[t]), np.asarray(video.hr[t])
        hr_HWC = np.ascontiguousarray(hr_HWC[: video.height, : video.width])
        chunk_P = self._labels_TRC[t].ravel().astype(np.int64)
        bicubic = (chunk_P >= self._served).any()
        base_HWC = np.zeros_like(hr_HWC)
        if bicubic:
            base_HWC[:] = BicubicUpscaler(self._grid.scale)(lr_HWC)[: video.height, : video.width]
        order_P = np.argsort(chunk_P, kind="stable")
        order_P = order_P[chunk_P[order_P] < self._served]
        batch = {
            "lr": self._grid.extract(lr_HWC)[order_P],
            "chunk": chunk_P[order_P],
            "place": self._place[order_P],
            "border": np.array(self._grid.halo * self._grid.scale),
            "hr": hr_HWC,
            "base": base_HWC,
        }
        return {name: torch.from_numpy(values) for name, values in batch.items()}


def placed(grid: PatchGrid, height: int, width: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Where each patch lies in a frame of native size: int64 (P, 6).

    Top, bottom, left and right of the HR pixels that it owns, and the row and column of the patch
    that the first of these is.
    """
    scale = grid.scale
    places = []
    for number in range(grid.patches):
        row, col = divmod(number, grid.cols)
        top, bottom = (int(each) * scale for each in grid.owned_rows[row])
        left, right = (int(each) * scale for each in grid.owned_cols[col])
        inside = (top - int(grid.tops[row]) * scale, left - int(grid.lefts[col]) * scale)
        places.append((top, min(bottom, height), left, min(right, width), *inside))
    return np.array(places, np.int64)


def reconstructed(sharing: Sharing, batch: FrameBatch) -> torch.Tensor:
    """The frame as the networks make it now, uint8 (H, W, 3).

    Args:
        sharing: The networks.
        batch: The frame.
    """
    sr_HWC, border = batch["base"].clone(), int(batch["border"])
    places = batch["place"].tolist()
    for first in range(0, len(places), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        sr_NCHW = sharing(to_float(batch["lr"][part]), batch["chunk"][part])
        patches = to_uint8(without_halo(sr_NCHW, border))
        for place, patch in zip(places[part], patches, strict=True):
            top, bottom, left, right, y, x = place
            sr_HWC[top:bottom, left:right] = patch[y : y + bottom - top, x : x + right - left]
    return sr_HWC


def frames_to_measure(
    frames: int, every: int | None, validations: int, patches: int, presentations: int
) -> list[int]:
    """Numbers of the frames that a validation measures.

    Args:
        frames: Of the video.
        every: Each n-th; None: as many as `COST` allows, spread evenly, at least one.
        validations: Of the whole fit.
        patches: Of a frame.
        presentations: Of the whole fit.
    """
    if every is not None:
        return list(range(0, frames, every))
    count = int(COST * presentations / (PATCH * patches * max(1, validations)))
    count = min(max(1, count), frames)
    return [int((place + 0.5) * frames / count) for place in range(count)]


def steps_between(every: float | None, steps: int) -> int | None:
    """Steps between two validations; None: there are none.

    Args:
        every: Steps, or a share of the fit.
        steps: Of the fit.
    """
    if every is None:
        return None
    return max(1, round(every * steps)) if isinstance(every, float) else every


def is_due(done: int, every: int | None, steps: int) -> bool:
    """Whether a validation follows when so many steps are done; one follows the last step."""
    return every is not None and done > 0 and (done % every == 0 or done == steps)


class ValidateWhenDue(pl.Callback):
    """Makes Lightning validate after certain steps, whatever number of steps a batch has.

    Lightning counts batches, and a batch of ours has several steps.

    Args:
        every: Steps between two validations.
        steps: Of the fit.
    """

    def __init__(self, every: int, steps: int) -> None:
        self._every, self._steps = every, steps

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,  # noqa: ARG002
        batch: Any,
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Say whether this batch is the one before a validation."""
        done = trainer.global_step + (len(batch) if isinstance(batch, list) else 1)
        due = is_due(done, self._every, self._steps)
        # Lightning validates where the number of the batch, from 1, is a multiple of this
        trainer.val_check_batch = (
            trainer.fit_loop.epoch_loop.total_batch_idx + 1 if due else sys.maxsize
        )
