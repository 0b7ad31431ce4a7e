"""Several videos played one after the other, as one."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from stdo.core.types import Frame, FrameSource, UserError, VideoInfo
from stdo.video.reader import VideoFile


class Joined:
    """Video files end to end; all must have the same size, after shrinking.

    Args:
        paths: The files, in order.
        start: As in `VideoFile`, for each of them.
        duration: As in `VideoFile`, for each of them.
        max_frames: As in `VideoFile`, for each of them.
        height: As in `VideoFile`, for each of them.
        every: As in `VideoFile`, for each of them.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        start: float = 0.0,
        duration: float | None = None,
        max_frames: int | None = None,
        height: int | None = None,
        every: int = 1,
    ) -> None:
        if isinstance(paths, str) or not paths:
            raise UserError(f"video.paths={paths}: must be a list of video files")
        self._parts: list[FrameSource] = [
            VideoFile(path, start, duration, max_frames, height, every) for path in paths
        ]
        infos = [part.info for part in self._parts]
        first = infos[0]
        for path, info in zip(paths, infos, strict=True):
            if (info.width, info.height) != (first.width, first.height):
                sizes = f"{info.width}x{info.height}, the first is {first.width}x{first.height}"
                raise UserError(
                    f"video.paths: {path} is {sizes}; set video.height where they differ by "
                    "scale alone"
                )
        counts = [info.frames for info in infos if info.frames is not None]
        known = len(counts) == len(infos)
        notes = [note for info in infos for note in info.notes]
        if any(info.marks != first.marks for info in infos):
            notes.append(
                f"what players are told beside the pixels differs: they are told that of {paths[0]}"
            )
        self._info = replace(
            first,
            name="+".join(info.name for info in infos),
            frames=sum(counts) if known else None,
            notes=tuple(dict.fromkeys(notes)),
        )

    @property
    def info(self) -> VideoInfo:
        """That of the first video, with all names, frames and notes."""
        return self._info

    def fingerprint(self) -> str:
        """Hash of the parts' fingerprints: 32 hexadecimal digits."""
        parts = "+".join(part.fingerprint() for part in self._parts)
        return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()

    def __iter__(self) -> Iterator[Frame]:
        begin = Fraction(0)
        for part in self._parts:
            end = Fraction(0)
            for frame in part:
                yield Frame(begin + frame.pts, frame.rgb_HWC, frame.length)
                end = frame.pts + (frame.length or 1 / part.info.rate)
            begin += end
