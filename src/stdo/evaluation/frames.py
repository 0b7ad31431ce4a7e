"""Compare any frames with the ground truth: of a video file or of a played package."""

import os
from collections.abc import Iterable, Iterator

from stdo.core.types import U8, Json, UserError
from stdo.evaluation.metrics import Comparison
from stdo.metrics.base import Pair
from stdo.video.store import Prepared


def truth(video: Prepared) -> Iterator[U8]:
    """The frames of a prepared video as the source has them: uint8 (height, width, 3), without
    padding."""
    for t in range(len(video.hr)):
        yield video.hr[t][: video.height, : video.width]


def compare(name: str | os.PathLike[str], hr: Iterable[U8], sr: Iterable[U8]) -> Json:
    """The metrics of full frames that need no patches, as docs/protocol.md defines them.

    Args:
        name: What the frames are called in a message.
        hr: uint8 (height, width, 3) in the same order. One pass; memory does not grow with their
            number.
        sr: As ``hr``.

    Returns ``psnr`` {``frame``, ``pooled``, ``y``} in dB and ``ssim`` (None where a side is too
    short for it). Raises UserError where the numbers of frames or their sizes differ.
    """
    comparison = Comparison()
    for hr_HWC, sr_HWC in _pairs(name, hr, sr):
        comparison.add(Pair(hr_HWC, sr_HWC))
    if not comparison.frames:
        raise UserError(f"{name}: no frame of it can be compared")
    return comparison.result()


def _pairs(
    name: str | os.PathLike[str], hr: Iterable[U8], sr: Iterable[U8]
) -> Iterator[tuple[U8, U8]]:
    found, wanted = iter(sr), 0
    for hr_HWC in hr:
        sr_HWC = next(found, None)
        if sr_HWC is None:
            raise UserError(f"{name}: has {wanted} frames, fewer than the ground truth")
        if sr_HWC.shape != hr_HWC.shape:
            raise UserError(
                f"{name}: frames have the shape {sr_HWC.shape}, the ground truth's {hr_HWC.shape}"
            )
        wanted += 1
        yield hr_HWC, sr_HWC
    if next(found, None) is not None:
        raise UserError(f"{name}: has more than the ground truth's {wanted} frames")
