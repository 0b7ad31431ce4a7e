"""From high to low resolution: antialiased bicubic, then optionally a real codec."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from stdo.types import SCALES, U8, Colour, Frame, UserError
from stdo.video.reader import VideoFile
from stdo.video.writer import VideoWriter, encoder_of

LOSSY = ("x264", "x265", "svtav1")
CODECS = (*LOSSY, "lossless")


def resize(frame_HWC: U8, height: int, width: int) -> U8:
    """Bicubic with a = −0.5, antialiased when shrinking, computed in float32 and rounded once.

    Kernel, pixel centres and support are those of MATLAB's ``imresize``; outside the frame the kernel is cut off and
    renormalised as Pillow does, where MATLAB mirrors the frame.
    """
    frame_NCHW = torch.from_numpy(frame_HWC.astype(np.float32)).permute(2, 0, 1)[None]
    resized = F.interpolate(frame_NCHW, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
    rounded = resized.round_().clamp_(0, 255).to(torch.uint8)
    resized_HWC: U8 = rounded[0].permute(1, 2, 0).contiguous().numpy()
    return resized_HWC


def downscale(hr_HWC: U8, scale: int) -> U8:
    """LR frame of an HR frame whose size ``scale`` divides."""
    height, width = hr_HWC.shape[:2]
    assert height % scale == 0 and width % scale == 0, (hr_HWC.shape, scale)
    return resize(hr_HWC, height // scale, width // scale)


@dataclass(frozen=True)
class BicubicUpscaler:
    """f0 without a network: bicubic enlargement by ``scale``."""

    scale: int

    def __call__(self, lr_HWC: U8) -> U8:
        """Enlarge an LR frame (h, w, 3): (scale·h, scale·w, 3)."""
        return resize(lr_HWC, lr_HWC.shape[0] * self.scale, lr_HWC.shape[1] * self.scale)

    def key(self) -> str:
        """What the scores depend on."""
        return "bicubic"


@dataclass(frozen=True)
class Degrade:
    """How LR frames are made of HR frames.

    scale: 2, 3 or 4. codec: None for the plain rounded bicubic, or the codec that the LR video is sent with: then the
    LR frames are the *decoded* ones, because that is what the viewer has; ``lossless`` gives those of None, with their
    video. crf, preset: the codec's own; None leaves the encoder's default.
    """

    scale: int
    codec: str | None = None
    crf: int | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise UserError(f"scale={self.scale}: must be one of {', '.join(map(str, SCALES))}")
        if self.codec is not None and self.codec not in CODECS:
            raise UserError(f"degrade.codec={self.codec}: must be null or one of {', '.join(CODECS)}")
        if self.codec is None and (self.crf is not None or self.preset is not None):
            raise UserError("degrade.crf and degrade.preset need degrade.codec")
        if self.codec is not None:
            try:
                encoder_of(self.codec, self.crf, self.preset)
            except UserError as error:
                raise UserError(f"degrade.{error}") from None

    def key(self) -> str:
        """Short name of everything that shapes the LR frames."""
        if self.codec is None:
            return f"x{self.scale}"
        settings = json.dumps([self.codec, self.crf, self.preset])
        return f"x{self.scale}-{self.codec}-{hashlib.blake2b(settings.encode(), digest_size=4).hexdigest()}"

    def frames(
        self, hr_THWC: Iterable[U8], pts: list[Fraction], rate: Fraction, colour: Colour, video: Path
    ) -> Iterator[U8]:
        """LR frames, uint8 (height, width, 3), one for each HR frame.

        hr_THWC: HR frames whose size ``scale`` divides. pts: their time stamps in seconds. video: where the encoded
        LR video is kept when there is a codec.
        """
        small = (downscale(hr_HWC, self.scale) for hr_HWC in hr_THWC)
        if self.codec is None:
            yield from small
            return
        first = next(small)
        with VideoWriter(
            video,
            first.shape[1],
            first.shape[0],
            rate,
            self.codec,
            crf=self.crf,
            preset=self.preset,
            colour=colour,
        ) as writer:
            writer.write(Frame(pts[0], first))
            for time, lr_HWC in zip(pts[1:], small, strict=True):
                writer.write(Frame(time, lr_HWC))
        yield from (frame.rgb_HWC for frame in VideoFile(str(video)))
