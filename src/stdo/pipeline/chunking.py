"""What a user asks of chunks and crops, checked before anything is decoded: a length in seconds, as
NAS and CaFM have them, thresholds, and crops that fit a frame."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from stdo.chunks.crops import check_crop
from stdo.chunks.grid import PatchGrid
from stdo.chunks.sample import Sampler
from stdo.chunks.split import MAX_CHUNKS, check_thresholds
from stdo.core.types import UserError, VideoInfo

SLACK = 2
"""Frames that a container may promise beyond the video's length: they make no chunk."""


def chunks_of(info: VideoInfo, seconds: float) -> int:
    """How many equal chunks a video has, each as long as asked for or shorter; `SLACK` may make one
    longer.

    Args:
        info: Of the video as it is read: its frames and frames per second.
        seconds: Longest chunk, more than 0.

    Raises:
        UserError: A chunk would be shorter than a frame, there would be too many, or nobody knows
            how long the video is.
    """
    asked = f"chunking.seconds={seconds:g}"
    if seconds * info.rate < 1:
        raise UserError(
            f"{asked}: must be at least {math.ceil(10_000 / info.rate) / 10_000:g}, the length of "
            f"a frame at {float(info.rate):.4g} frames per second"
        )
    if not info.frames:
        raise UserError(f"{asked}: the video does not say how long it is; set chunks in its place")
    chunks = max(1, math.ceil((info.frames - SLACK) / (seconds * info.rate)))
    if chunks > MAX_CHUNKS:
        raise UserError(f"{asked}: makes {chunks:,} chunks; must make at most {MAX_CHUNKS:,}")
    return chunks


def check_thresholds_of(scorer: str, thresholds: Sequence[float], chunks: int) -> None:
    """Raise UserError unless thresholds rise, are one fewer than chunks, and the scorer's scores
    are PSNR."""
    check_thresholds(thresholds, chunks)
    if scorer in ("dct", "eps"):
        raise UserError(
            f"chunking.thresholds={list(thresholds)}: must be null with scorer={scorer}, whose "
            "scores are no PSNR"
        )


def check_clusters_of(scorer: str, init: str) -> None:
    """Raise UserError unless the scores of a fit are those that chunking=clusters reads, to its
    end."""
    if scorer != "eps":
        raise UserError(f"scorer={scorer}: must be eps with chunking=clusters")
    if init == "warm":
        raise UserError(
            "init=warm: must be scratch or general with chunking=clusters: it makes chunks anew by "
            "PSNR"
        )


def on_grid(sampler: Any, grid: PatchGrid) -> Any:
    """A partial of a sampler's class that knows the patch grid, if the class asks for it.

    Args:
        sampler: A partial of a class.
        grid: Of the video.

    Raises:
        UserError: Crops are larger than LR frames.
    """
    kind = sampler.func
    if not (isinstance(kind, type) and issubclass(kind, Sampler) and kind.OFF_GRID):
        return sampler
    if "crop" in sampler.keywords:
        check_crop(sampler.keywords["crop"], grid)
    return partial(sampler, grid=grid)
