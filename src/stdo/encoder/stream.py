"""Encode the LR stream of a package, with the source's sound, subtitles and metadata.

Nothing is encoded anew but the LR frames of a run that had no codec; packets are copied and moved
in time.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.error import FFmpegError

from stdo.core.types import Frame, FrameSource, Marks, Progress, UserError, silent
from stdo.encoder.beside import KINDS, beside
from stdo.package.container import Package
from stdo.package.limits import STREAMS
from stdo.player.lr import LrVideo
from stdo.video.marks import write_boxes
from stdo.video.mux import Cut, error_text, join, opened
from stdo.video.packets import timescale
from stdo.video.reader import VideoFile
from stdo.video.store import Prepared
from stdo.video.writer import VideoWriter


@dataclass(frozen=True, slots=True)
class Muxed:
    """A written LR stream. audio_bytes: of its sound's packets. notes: what could not be carried,
    one line each."""

    path: Path
    audio_bytes: int
    notes: tuple[str, ...]


def write_stream(
    folder: Path, video: Prepared, source: FrameSource, encoded: bool, progress: Progress = silent
) -> Muxed:
    """Write ``lr.mp4``, or ``lr.mkv`` where MP4 cannot hold the source's other streams, into a
    folder.

    Args:
        encoded: `stdo.video.store.prepare` kept an LR video, since there was a codec; otherwise the
            LR frames are encoded without loss.

    Raises:
        UserError: Where the LR video is gone.
    """
    lr = video.lr_video if encoded else _lossless(folder / "lossless.mp4", video, progress)
    if not lr.is_file():
        remedy = (
            f"remove {lr.with_suffix('.json').name} beside it and deliver again to encode it again"
        )
        raise UserError(f"{lr}: the LR video that the networks were trained on is gone; {remedy}")
    return mux_stream(folder, lr, source, _cut(video, source), video.info.marks)


def mux_stream(folder: Path, lr: Path, source: FrameSource, cut: Cut, marks: Marks) -> Muxed:
    """Write ``lr.mp4`` or ``lr.mkv`` of an LR video that is there.

    Args:
        folder: Where it is written.
        lr: The LR video, without sound.
        source: What it was made of.
        cut: The stretch of ``source`` that it shows.
        marks: What players are told beside the pixels.

    Raises:
        UserError: The sound cannot be joined with it.
    """
    with ExitStack() as stack:
        small = opened(stack, lr)
        carried = stack.enter_context(beside(source))
        path = folder / carried.member
        # bitexact: no dates and random numbers, so that the same run gives the same bytes
        options = {"fflags": "+bitexact"} | (
            {"movflags": "+faststart"} if carried.member == STREAMS[0] else {}
        )
        options |= timescale(path, small.streams.video[0].time_base or Fraction(1, 1000))
        try:
            other, kind = carried.container or small, KINDS[carried.member]
            sound, refused = join(path, kind, small, other, carried.tracks, cut, options)
        except (FFmpegError, ValueError) as error:
            what = f"{source.info.name}: the LR video cannot be joined with its sound"
            raise UserError(f"{what} ({error_text(error)})") from error
        write_boxes(path, marks)
    return Muxed(path, sound, (*carried.notes, *refused))


def check_stream(package: Package, video: Prepared, progress: Progress = silent) -> None:
    """Raise UserError unless the package's LR stream gives exactly the frames that the networks
    were trained on."""
    frames = LrVideo(lambda: package.file(package.manifest.lr.member), package.manifest).frames()
    for t, lr_HWC in enumerate(progress(frames, len(video.lr), "check")):
        if not np.array_equal(lr_HWC, video.lr[t]):
            remedy = f"remove {video.folder} to prepare it anew, and train again (force=true)"
            raise UserError(
                f"{video.lr_video}: its frame {t} is not the one that the networks were "
                f"trained on; {remedy}"
            )


def _lossless(path: Path, video: Prepared, progress: Progress) -> Path:
    height, width = video.lr.shape[1:3]
    info = video.info
    with VideoWriter(
        path,
        width,
        height,
        info.rate,
        "lossless",
        colour=info.colour,
        timeline=video.timeline,
        marks=info.marks,
    ) as writer:
        for t in progress(range(len(video.lr)), len(video.lr), "encode"):
            writer.write(Frame(video.pts[t], video.lr[t]))
    return path


def _cut(video: Prepared, source: FrameSource) -> Cut:
    return cut_of(source, video.pts[-1] + video.last)


def cut_of(source: FrameSource, seconds: Fraction) -> Cut:
    """The stretch of a source that its frames show, which is so long."""
    if not isinstance(source, VideoFile):
        return Cut(Fraction(0), None)
    begin, ends_early = source.stretch()
    return Cut(begin, begin + seconds if ends_early else None)
