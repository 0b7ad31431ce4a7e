"""One pass over a video: reconstruct every frame, score it and bicubic beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stdo.core.types import F32, I16, U8, Frame, Json, Progress, silent
from stdo.evaluation.metrics import Meter
from stdo.evaluation.reconstruct import Reconstructor
from stdo.video.degrade import BicubicUpscaler
from stdo.video.store import Prepared

Sink = Callable[[Frame], None]


@dataclass(frozen=True)
class Measured:
    """What one pass found. ours, bicubic: all protocols. rows: one per frame. patch maps: dB, (T,
    rows, cols)."""

    ours: Json
    bicubic: Json
    rows: list[Json]
    ours_TRC: F32
    bicubic_TRC: F32


def measure(
    video: Prepared,
    reconstructor: Reconstructor,
    labels: I16,
    sink: Sink | None = None,
    progress: Progress = silent,
    extra: Sequence[str] = (),
) -> Measured:
    """Measure a reconstruction on the full, native frames.

    Args:
        labels: int16 (T, rows, cols).
        sink: Receives every SR frame, cropped to the native size.
        extra: Names of metrics beside those that are always computed.
    """
    grid, height, width = reconstructor.grid, video.height, video.width
    chunks = len(reconstructor.network_of)
    ours, bicubic = (Meter(grid, chunks, extra) for _ in range(2))
    hr_grid, enlarge = grid.hr, BicubicUpscaler(grid.scale)
    rows: list[Json] = []
    # Made once: small arrays that stay, made between large ones that go, would split the C
    # library's heap.
    ours_TRC, bicubic_TRC = (
        np.empty((len(video.lr), grid.rows, grid.cols), np.float32) for _ in range(2)
    )
    frames = reconstructor.frames(video.lr, labels)
    for t, (sr_HWC, sr_patches) in enumerate(progress(frames, len(video.lr), "evaluate")):
        padded_HWC = video.hr[t]
        hr_HWC, hr_patches = padded_HWC[:height, :width], hr_grid.extract(padded_HWC)
        bicubic_HWC = enlarge(np.asarray(video.lr[t]))
        label_P = labels[t].ravel()
        of_ours = ours.add(hr_HWC, sr_HWC[:height, :width], hr_patches, sr_patches, label_P)
        of_bicubic = bicubic.add(
            hr_HWC, bicubic_HWC[:height, :width], hr_patches, hr_grid.extract(bicubic_HWC), label_P
        )
        rows.append(
            {"frame": t, "pts": float(video.pts[t]), **of_ours} | _prefixed("bicubic_", of_bicubic)
        )
        ours_TRC[t], bicubic_TRC[t] = ours.patch_psnr, bicubic.patch_psnr
        if sink is not None:
            sink(Frame(video.pts[t], np.ascontiguousarray(sr_HWC[:height, :width])))
    return Measured(ours.result(), bicubic.result(), rows, ours_TRC, bicubic_TRC)


def pictures_of(
    video: Prepared, reconstructor: Reconstructor, labels: I16
) -> Callable[[int], tuple[U8, U8, U8]]:
    """Frame number -> ground truth, bicubic and SR frame, each (height, width, 3) of native
    size."""

    def pictures(t: int) -> tuple[U8, U8, U8]:
        lr_HWC = np.asarray(video.lr[t])
        sr_HWC = reconstructor.grid.assemble(reconstructor.patches(lr_HWC, labels[t]))
        both = (np.asarray(video.hr[t]), BicubicUpscaler(video.scale)(lr_HWC), sr_HWC)
        hr, bicubic, ours = (frame[: video.height, : video.width] for frame in both)
        return hr, bicubic, ours

    return pictures


def _prefixed(prefix: str, row: Json) -> Json:
    return {prefix + key: value for key, value in row.items()}
