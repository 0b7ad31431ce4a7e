"""Write played frames: a video with the package's sound, pictures, or a stream for another
program."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from heapq import merge
from math import lcm
from operator import itemgetter
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError
from av.packet import Packet

from stdo.core.files import atomic, scratch
from stdo.core.types import U8, UserError
from stdo.package.container import complaints
from stdo.player.client import Player
from stdo.player.memory import encoder_options
from stdo.video.container import videos_of
from stdo.video.marks import write_boxes
from stdo.video.mux import (
    Beside,
    Cut,
    decoded_at,
    error_text,
    first_time,
    from_zero,
    join,
    opened,
    placed,
)
from stdo.video.packets import timescale
from stdo.video.ticks import MOST, held, ticks_of
from stdo.video.tracks import Track, name_of, streams_beside, with_first_packets
from stdo.video.trial import held_by, holds
from stdo.video.writer import VideoWriter

CODEC, CRF, PRESET = "x264", 12, "fast"
"""How played frames are encoded: what is lost is far below what super-resolution gains."""

_OTHERS = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov"}
"""Endings that are named where a container does not hold the sound, and FFmpeg's formats."""

_PIPED = "nut"
"""FFmpeg's format of a stream: it holds pixels as they are, times exactly, and nearly all sound."""

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


def write_stream(
    player: Player, frames: Played, realtime: bool = False, target: str = "pipe:1"
) -> tuple[str, ...]:
    """Write frames as RGB without loss, and the sound and subtitles that belong to them, to
    standard output as NUT. Ends quietly where nobody reads on.

    The first frame is at 0, or as much later as sound begins before it, in whole milliseconds: NUT
    holds no times below 0.

    Args:
        player: Of the package.
        frames: Times in seconds, and uint8 RGB (height, width, 3).
        realtime: Whether no frame is written before its time.
        target: Where FFmpeg writes.

    Returns:
        What could not be carried, one line each.

    Raises:
        UserError: Standard output takes no more for another reason, or the package is damaged.
    """
    source, begin = player.manifest.source, player.manifest.source.pts(player.span.start)
    with ExitStack() as stack:
        with complaints(player.package.path):
            tracks, origin = _tracks(stack, player)
            other = stack.enter_context(player.lr.opened())
        kept = held_by(_PIPED, tracks)
        lost = [
            f"{each} is left out: a stream cannot hold it" for each in tracks if each not in kept
        ]
        moving = [other.streams[each.index] for each in kept if each.has_packets]
        lead, sound = from_zero(placed(other, moving, _cut(player, origin)))
        timeline = source.timeline(player.span)
        ticks = ticks_of(timeline, timeline.last or 1 / source.rate)
        base = _finer(ticks.base, lead)
        clock = _Clock() if realtime else None
        with _read_by_another(target), av.open(target, "w", format=_PIPED) as out:
            picture = out.add_stream("rawvideo", rate=held(source.rate))
            picture.width, picture.height, picture.pix_fmt = source.width, source.height, "rgb24"
            picture.codec_context.time_base = picture.time_base = base
            if source.marks.aspect != 1:
                picture.codec_context.sample_aspect_ratio = source.marks.aspect
            beside = Beside(out, {each.index: each.added(out, _PIPED) for each in kept})
            stamp, number = None, 0
            for at, item in _interleaved(frames, begin - lead, sound):
                if clock:
                    clock.wait(at)
                if isinstance(item, Packet):
                    beside.put(item)
                    continue
                frame = av.VideoFrame.from_ndarray(item, format="rgb24")
                stamp, number = ticks.stamp(number, stamp), number + 1
                frame.pts, frame.time_base = round((stamp * ticks.base + lead) / base), base
                out.mux(picture.encode(frame))
            lost += beside.lost(kept)
    return tuple(lost)


@contextmanager
def _read_by_another(target: str) -> Iterator[None]:
    """A reader that ends is no error; what else the system refuses is one line."""
    try:
        yield
    except BrokenPipeError:
        return
    except OSError as error:
        if getattr(error, "filename", None) != target:
            raise
        raise UserError(f"standard output: {error.strerror}") from error


def _finer(base: Fraction, lead: Fraction) -> Fraction:
    """Seconds of a tick that also holds ``lead``, where that is no finer than files count."""
    denominator = lcm(base.denominator, lead.denominator)
    return Fraction(1, denominator) if denominator <= MOST else base


def _interleaved(
    frames: Played, begin: Fraction, packets: Iterator[Packet[Any]]
) -> Iterator[tuple[Fraction, Any]]:
    """Frames, and packets of sound, each with its time in seconds, by that time."""
    pictures = ((pts - begin, rgb_HWC) for pts, rgb_HWC in frames)
    sound = ((decoded_at(packet), packet) for packet in packets)
    return merge(pictures, sound, key=itemgetter(0))


class _Clock:
    """Runs from the first frame on."""

    def __init__(self) -> None:
        self._began: float | None = None

    def wait(self, seconds: Fraction) -> None:
        """Sleep until so many seconds after the first call, less those of that call."""
        now = time.monotonic()
        if self._began is None:
            self._began = now - float(seconds)
        time.sleep(max(0.0, self._began + float(seconds) - now))


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
