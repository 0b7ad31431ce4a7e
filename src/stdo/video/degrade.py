"""From high to low resolution: antialiased bicubic, then optionally a real codec."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stdo.core.types import SCALES, U8, Frame, UserError, VideoInfo
from stdo.video.codecs import PACKED, codec_of
from stdo.video.reader import VideoFile
from stdo.video.resize import resize
from stdo.video.ticks import Timeline
from stdo.video.writer import VideoWriter

_WRITTEN = 2
"""Part of the key of an LR video: 2 since it has the source's times and marks."""


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

    Attributes:
        scale: 2, 3 or 4.
        codec: None for the plain rounded bicubic, or the codec that the LR video is sent with: then
            the LR frames are the *decoded* ones, because that is what the viewer has; ``lossless``
            gives those of None, with their video.
        crf, preset: The codec's own; None leaves the encoder's default.
    """

    scale: int
    codec: str | None = None
    crf: int | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise UserError(f"scale={self.scale}: must be one of {', '.join(map(str, SCALES))}")
        if self.codec is not None and self.codec not in PACKED:
            raise UserError(
                f"degrade.codec={self.codec}: must be null or one of {', '.join(PACKED)}"
            )
        if self.codec is None and (self.crf is not None or self.preset is not None):
            raise UserError("degrade.crf and degrade.preset need degrade.codec")
        if self.codec is not None:
            try:
                codec_of(self.codec, self.crf, self.preset)
            except UserError as error:
                raise UserError(f"degrade.{error}") from None

    def key(self) -> str:
        """Short name of everything that shapes the LR frames."""
        if self.codec is None:
            return f"x{self.scale}"
        settings = json.dumps([self.codec, self.crf, self.preset, _WRITTEN])
        digest = hashlib.blake2b(settings.encode(), digest_size=4).hexdigest()
        return f"x{self.scale}-{self.codec}-{digest}"

    @property
    def live(self) -> bool:
        """Whether each LR frame is there as soon as its HR frame; with a codec, all of them are
        encoded first."""
        return self.codec is None

    def frames(
        self, hr: Iterable[Frame], info: VideoInfo, timeline: Timeline | None, video: Path
    ) -> Iterator[U8]:
        """LR frames, uint8 (height, width, 3), one for each HR frame.

        Args:
            hr: HR frames whose size ``scale`` divides.
            info: Of their source: rate, colour and marks of the LR video.
            timeline: When they are shown; None: not known yet, which a codec does not like: times
                are then rounded.
            video: Where the encoded LR video is kept when there is a codec.
        """
        small = (Frame(frame.pts, downscale(frame.rgb_HWC, self.scale)) for frame in hr)
        if self.codec is None:
            yield from (frame.rgb_HWC for frame in small)
            return
        first = next(small)
        height, width, _ = first.rgb_HWC.shape
        with VideoWriter(
            video,
            width,
            height,
            info.rate,
            self.codec,
            crf=self.crf,
            preset=self.preset,
            colour=info.colour,
            timeline=timeline,
            marks=info.marks,
        ) as writer:
            writer.write(first)
            for frame in small:
                writer.write(frame)
        yield from (frame.rgb_HWC for frame in VideoFile(str(video)))
