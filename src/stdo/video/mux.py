"""Copy packets of sound, subtitles and pictures between containers, shifted in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from itertools import chain, islice
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.container import InputContainer, OutputContainer
from av.error import (
    ArgumentError,
    ExperimentalError,
    FFmpegError,
    InvalidDataError,
    PatchWelcomeError,
)
from av.format import ContainerFormat
from av.packet import Packet
from av.stream import Stream

from stdo.video.container import videos_of
from stdo.video.resets import continued
from stdo.video.tracks import Track, target
from stdo.video.trial import keeps_chapters, writing

if TYPE_CHECKING:
    from av.container.core import Chapter

OF_CONTAINER = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
"""Metadata that tells of the file it was read from, not of the video."""

_COARSEST = Fraction(1, 10_000)
"""Seconds of a tick in which packets are moved: AVI counts some sound in packets, which are too
long for that."""

_REORDERED = 32
"""Packets among which that of the first picture is: codecs reorder at most 16."""

_NEGATIVE = 0x40000
"""FFmpeg's mark of a format that can hold times before 0 (AVFMT_TS_NEGATIVE)."""

_SETTLED = Fraction(2)
"""Seconds after the first picture at which every stream has shown whether it begins before it."""

_REFUSALS = (ArgumentError, ExperimentalError, InvalidDataError, PatchWelcomeError, ValueError)


@dataclass(frozen=True, slots=True)
class Cut:
    """What of a source's streams belongs to the frames: from ``begin`` to ``end`` in seconds, None:
    to the end."""

    begin: Fraction
    end: Fraction | None

    def place(self, packet: Packet[Any]) -> Packet[Any] | None:
        """Move a packet to where the first frame is at 0; None where it is not wanted."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or not packet.size:
            return None
        start, length = stamp * packet.time_base, (packet.duration or 1) * packet.time_base
        # Decoders of sound need the packet before
        warm_up = length if packet.stream.type == "audio" else 0
        if start + length + warm_up <= self.begin or (self.end is not None and start >= self.end):
            return None
        packet.pts = stamp
        packet.dts = stamp if packet.dts is None else packet.dts
        _shift(packet, -self.begin)
        if packet.pts < 0 and packet.stream.type == "subtitle":
            packet.duration = (packet.duration or 0) + packet.pts
            packet.pts = packet.dts = 0
        return packet


def _shift(packet: Packet[Any], seconds: Fraction) -> None:
    """Move a packet in time, in ticks that are fine enough. Times that it does not have
    stay away."""
    finer = ceil(packet.time_base / _COARSEST)
    packet.time_base /= finer
    moved = round(seconds / packet.time_base)
    packet.pts = None if packet.pts is None else packet.pts * finer + moved
    packet.dts = None if packet.dts is None else packet.dts * finer + moved
    packet.duration = (packet.duration or 0) * finer


def opened(stack: ExitStack, path: Path) -> InputContainer:
    """A local file, opened until ``stack`` ends."""
    options = {"protocol_whitelist": "file"}
    return stack.enter_context(
        av.open(str(path), metadata_errors="replace", container_options=options)
    )


def error_text(error: FFmpegError | ValueError) -> str:
    """What FFmpeg says of an error, without the names of files."""
    return str(error.strerror) if isinstance(error, FFmpegError) else str(error)


def first_time(container: InputContainer) -> Fraction:
    """When the first picture of a container is shown, in seconds on its clock.

    That is not always 0: where sound begins before the picture, Matroska moves all streams, having
    no negative times. The packets say it. A stream's ``start_time`` is a guess, and 0 where FFmpeg
    may not decode.

    Args:
        container: Just opened; it is to be opened anew for its packets.
    """
    picture = videos_of(container)[0]
    times: list[Fraction] = []
    for packet in container.demux(picture):
        if packet.size and packet.pts is not None:
            times.append(packet.pts * packet.time_base)
        if len(times) == _REORDERED:
            break
    return min(times, default=Fraction(0))


def chapters(source: InputContainer, cut: Cut) -> list[Chapter]:
    """The source's chapters, moved and cut like its streams."""
    found = []
    for chapter in source.chapters():
        base = chapter["time_base"] or Fraction(1)
        begin, end = round(cut.begin / base), None if cut.end is None else round(cut.end / base)
        first, last = (
            max(chapter["start"], begin),
            chapter["end"] if end is None else min(chapter["end"], end),
        )
        if first < last:
            found.append(chapter | {"start": first - begin, "end": last - begin})
    return found


Timed = tuple[bool, "Packet[Any]"]
"""Whether a packet is of the picture, and the packet."""


def in_order(
    video: InputContainer, other: InputContainer, kept: Sequence[Stream], cut: Cut
) -> Iterator[Timed]:
    """Packets of the first video stream and of ``kept`` streams by the time of decoding; True for
    the video's.

    The first picture is at 0, also where its container begins later, as MPEG-TS does.
    """
    picture = video.streams.video[0]

    def of_video() -> Iterator[Timed]:
        packets = (packet for packet in video.demux(picture) if packet.size)
        waiting = list(islice(packets, _REORDERED))
        times = [packet.pts * packet.time_base for packet in waiting if packet.pts is not None]
        origin = min(times, default=Fraction(0))
        for packet in chain(waiting, packets):
            _shift(packet, -origin)
            yield True, packet

    others = ((False, packet) for packet in placed(other, kept, cut))
    return merge(of_video(), others, key=lambda each: decoded_at(each[1]))


def placed(other: InputContainer, kept: Sequence[Stream], cut: Cut) -> Iterator[Packet[Any]]:
    """The packets of some streams that belong to the frames, the first of which is at 0."""
    for packet, moved in continued(other, kept):
        _shift(packet, moved)
        found = cut.place(packet)
        if found is not None:
            yield found


def decoded_at(packet: Packet[Any]) -> Fraction:
    """When a packet is decoded, in seconds."""
    return (packet.dts or 0) * packet.time_base


class Beside:
    """Writes packets of the tracks beside a picture, and leaves out those that cannot be written.

    Args:
        out: Where they are written.
        streams: Number of a track in its source -> its stream in ``out``.

    Attributes:
        sound: Bytes of sound that were written.
    """

    def __init__(self, out: OutputContainer, streams: Mapping[int, Stream]) -> None:
        self._out, self._streams = out, streams
        self._refused: Counter[int] = Counter()
        self._last: dict[int, Fraction] = {}
        self.sound = 0

    def put(self, packet: Packet[Any]) -> None:
        """Write a packet, unless it is damaged, say, or out of order; the rest of its stream is
        good."""
        index, size, at = packet.stream_index, packet.size, decoded_at(packet)
        packet.stream = self._streams[index]
        try:
            if at < self._last.get(index, at):
                raise ValueError("runs backwards")
            self._out.mux_one(packet)
        except _REFUSALS:
            self._refused[index] += 1
            return
        self._last[index] = at
        self.sound += size if packet.stream.type == "audio" else 0

    def lost(self, tracks: Sequence[Track]) -> list[str]:
        """A line for each track of which packets were left out."""
        return [
            f"{each}: {self._refused[each.index]} packets are left out, damaged or out of order"
            for each in tracks
            if self._refused[each.index]
        ]


def join(
    path: Path,
    kind: str,
    video: InputContainer,
    other: InputContainer,
    tracks: Sequence[Track],
    cut: Cut,
    options: Mapping[str, str] | None = None,
) -> tuple[int, list[str]]:
    """Write the video of one container, and streams, metadata and chapters of another.

    Args:
        kind: FFmpeg's format.
        tracks: Of ``other``, those that `stdo.video.trial.holds` says yes to.
        options: Of the format.

    Returns:
        The sound's bytes, and what was left out all the same, one line each.
    """
    with writing(path, kind, tracks, options) as out:
        sound, lost = _copy(out, kind, video, other, tracks, cut)
    if other.chapters() and not keeps_chapters(kind, tracks):
        lost.append("chapters are left out: they cannot be written beside this sound")
    return sound, lost


def _copy(
    out: OutputContainer,
    kind: str,
    video: InputContainer,
    other: InputContainer,
    tracks: Sequence[Track],
    cut: Cut,
) -> tuple[int, list[str]]:
    picture = target(out, video.streams.video[0])
    streams = {each.index: each.added(out, kind) for each in tracks}
    out.metadata.update(
        {key: value for key, value in other.metadata.items() if key not in OF_CONTAINER}
    )
    moving = [other.streams[each.index] for each in tracks if each.has_packets]
    packets, lead = _from_zero(kind, in_order(video, other, moving, cut), len(moving))
    out.set_chapters(chapters(other, Cut(cut.begin - lead, cut.end)))
    out.start_encoding()
    for each in tracks:
        each.write_content(out, streams[each.index])

    beside = Beside(out, streams)
    for is_picture, packet in packets:
        if is_picture:
            packet.stream = picture
            out.mux_one(packet)
        else:
            beside.put(packet)
    return beside.sound, beside.lost(tracks)


def _from_zero(kind: str, packets: Iterator[Timed], count: int) -> tuple[Iterable[Timed], Fraction]:
    """The packets, moved so that none is before 0 where the container cannot hold that, and by how
    much.

    FFmpeg would do the same, but leave the chapters where they are. count: of streams beside the
    picture.
    """
    if ContainerFormat(kind, "w").flags & _NEGATIVE:
        return packets, Fraction(0)
    ahead: list[Timed] = []
    seen: set[int] = set()
    for is_picture, packet in packets:
        ahead.append((is_picture, packet))
        if not is_picture:
            seen.add(packet.stream_index)
        if decoded_at(packet) > _SETTLED or (len(seen) == count and is_picture):
            break
    lead = _lead(packet for is_picture, packet in ahead if not is_picture)

    def moved() -> Iterator[Timed]:
        for is_picture, packet in chain(ahead, packets):
            _shift(packet, lead)
            yield is_picture, packet

    return (moved() if lead else chain(ahead, packets)), lead


def from_zero(packets: Iterator[Packet[Any]]) -> tuple[Fraction, Iterator[Packet[Any]]]:
    """By how many seconds all streams of a video must be later so that none is before 0, and the
    packets of those beside its picture, moved."""
    ahead = []
    for packet in packets:
        ahead.append(packet)
        if decoded_at(packet) > _SETTLED:
            break
    lead = _lead(ahead)

    def moved() -> Iterator[Packet[Any]]:
        for packet in chain(ahead, packets):
            _shift(packet, lead)
            yield packet

    return lead, moved()


def _lead(packets: Iterable[Packet[Any]]) -> Fraction:
    """Seconds that packets begin before 0: whole milliseconds, so that pictures stay at theirs in
    Matroska."""
    earliest = min(map(decoded_at, packets), default=Fraction(0))
    return Fraction(ceil(max(-earliest, Fraction(0)) * 1000), 1000)
