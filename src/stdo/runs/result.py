"""The typed result of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stdo.core.types import Json


@dataclass(frozen=True)
class Psnr:
    """PSNR in dB, by each protocol of docs/protocol.md; None where a run of before does not tell
    it.

    Attributes:
        frame: Mean of the frames' PSNR over RGB, native size. The figure to quote.
        pooled: Of the mean squared error of all frames.
        stdo_patch: As the authors of STDO measure.
        cafm_frame: As the authors of CaFM measure.
        y: Of luma.
    """

    frame: float
    pooled: float | None = None
    stdo_patch: float | None = None
    cafm_frame: float | None = None
    y: float | None = None


@dataclass(frozen=True)
class Figures:
    """Quality of some frames against the source's."""

    psnr: Psnr
    ssim: float | None

    @classmethod
    def of(cls, measured: Mapping[str, Any]) -> Figures:
        """From a part of metrics.json."""
        known = {name: measured["psnr"].get(name) for name in Psnr.__dataclass_fields__}
        return cls(Psnr(**known), measured.get("ssim"))


@dataclass(frozen=True)
class Result:
    """What a finished run has to show.

    Attributes:
        video, method, backbone: Names.
        scale: 2, 3 or 4.
        chunks: Groups of patches.
        frames, width, height: Of the video.
        psnr, ssim: Of the reconstruction, before any package.
        bicubic: Of bicubic enlargement of the same LR frames.
        params: Weights of all networks together.
        presentations: Patches shown in training, all together.
        steps: Optimizer steps.
        seconds: By ``prepare``, ``score``, ``train``, ``evaluate``; None where unknown.
        bytes: Of the package, by part; None: there is none.
        delivered: What a viewer of the package sees; None: there is none.
        metrics: Everything in metrics.json.
    """

    video: str
    method: str
    backbone: str
    scale: int
    chunks: int
    frames: int
    width: int
    height: int
    psnr: Psnr
    ssim: float | None
    bicubic: Figures
    params: int
    presentations: int
    steps: int | None
    seconds: Mapping[str, float | None]
    bytes: Mapping[str, int] | None
    delivered: Figures | None
    metrics: Json

    @classmethod
    def of(cls, metrics: Json) -> Result:
        """From the content of metrics.json, which `stdo.runs.directory.read_result` has checked."""
        own, made = Figures.of(metrics), metrics.get("delivered")
        return cls(
            **{
                name: metrics[name]
                for name in ("video", "method", "backbone", "scale", "chunks", "frames")
            },
            width=metrics["width"],
            height=metrics["height"],
            psnr=own.psnr,
            ssim=own.ssim,
            bicubic=Figures.of(metrics["bicubic"]),
            params=metrics["params"],
            presentations=metrics["patch_presentations"],
            steps=metrics.get("steps"),
            seconds=metrics["seconds"],
            bytes=metrics.get("bytes"),
            delivered=None if made is None else Figures.of(made),
            metrics=metrics,
        )
