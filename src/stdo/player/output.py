"""Write played frames: a video with the package's sound, or pictures."""

from collections.abc import Iterable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
from av.error import FFmpegError

from stdo.core.files import atomic, scratch
from stdo.core.types import U8, UserError
from stdo.package.container import complaints
from stdo.player.client import Player
from stdo.player.memory import encoder_options
from stdo.video.container import videos_of
from stdo.video.marks import write_boxes
from stdo.video.mux import Cut, error_text, first_time, join, opened
from stdo.video.packets import timescale
from stdo.video.tracks import Track, name_of, streams_beside, with_first_packets
from stdo.video.trial import held_by, holds
from stdo.video.writer import VideoWriter

CODEC, CRF, PRESET = "x264", 12, "fast"
"""How played frames are encoded: what is lost is far below what super-resolution gains."""

_OTHERS = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov"}
"""Endings that are named where a container does not hold the sound, and FFmpeg's formats."""

Played = Iterable[tuple[Fraction, U8]]


def write_pictures(out: Path, player: Player, frames: Played) -> tuple[str, ...]:
    """Write frames as ``00001.png`` and so on into a folder that is new or empty."""
    source = player.manifest.source
    with VideoWriter(out, source.width, source.height, source.rate, "png") as writer:
        for frame in frames:
            writer.write(frame)
    return ()


def write_video(out: Path, player: Player, frames: Played) -> tuple[str, ...]:
    """Write frames and, copied, the sound, subtitles and metadata that belong to them; the first
    frame is at 0.

    Returns what could not be carried, one line each. Raises UserError where ``out`` cannot hold the
    sound.
    """
    source, begin = player.manifest.source, player.manifest.source.pts(player.span.start)
    with scratch(out) as folder, ExitStack() as stack:
        with complaints(player.package.path):
            tracks, origin = _tracks(stack, player)
            other = stack.enter_context(player.lr.opened())
        kind = _kind(out)
        kept, notes = _carried(out, kind, tracks)
        silent = folder / "silent.mp4"  # it holds times and marks exactly
        size = source.width, source.height
        timeline = source.timeline(player.span)
        settings = encoder_options(source.width * source.height, player.threads)
        with VideoWriter(
            silent,
            *size,
            source.rate,
            CODEC,
            CRF,
            PRESET,
            source.colour,
            timeline=timeline,
            marks=source.marks,
            options=settings,
        ) as writer:
            for pts, rgb_HWC in frames:
                writer.write((pts - begin, rgb_HWC))
        try:
            with atomic(out) as partial:
                video = opened(stack, silent)
                options = timescale(out, video.streams.video[0].time_base or Fraction(1, 1000))
                _, refused = join(partial, kind, video, other, kept, _cut(player, origin), options)
                write_boxes(partial, source.marks)
        except (FFmpegError, ValueError) as error:
            raise UserError(
                f"{out}: the frames cannot be joined with the sound ({error_text(error)})"
            ) from error
    return (*notes, *refused)


def _cut(player: Player, origin: Fraction) -> Cut:
    """The stretch that is played, on the clock of the LR stream, whose first picture is shown at
    ``origin``."""
    source, span = player.manifest.source, player.span
    end = None if span.stop == source.frames else origin + source.pts(span.stop)
    return Cut(origin + source.pts(span.start), end)


def _tracks(stack: ExitStack, player: Player) -> tuple[list[Track], Fraction]:
    """What the package's LR stream holds beside its picture, and when its first picture is
    shown."""
    with player.lr.opened() as container:
        origin = first_time(container)
    container = stack.enter_context(player.lr.opened())
    return with_first_packets(container, streams_beside(videos_of(container)[0]), {}), origin


def _kind(out: Path) -> str:
    """FFmpeg's format for files of this ending."""
    try:
        with av.open(str(out), "w") as container:  # writes nothing: no stream is added
            return container.format.name
    except (FFmpegError, ValueError) as error:
        raise UserError(f"{out}: is no video that can be written; use .mp4 or .mkv") from error


def _carried(out: Path, kind: str, tracks: list[Track]) -> tuple[list[Track], tuple[str, ...]]:
    """Those of the tracks that the container can hold, and a line for each of the others.

    Raises UserError where it holds less sound than another container.
    """
    kept = held_by(kind, tracks)
    lost = [each for each in tracks if each not in kept]
    for each in lost:
        better = [
            ending
            for ending, other in _OTHERS.items()
            if each.kind == "audio" and holds(other, each)
        ]
        if better:
            raise UserError(
                f"{out}: cannot hold the sound ({name_of(each.template)}); use "
                f"{' or '.join(better)}"
            )
    return kept, tuple(f"{each} is left out: {out} cannot hold it" for each in lost)
