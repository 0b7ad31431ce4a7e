"""Copying packets of sound, subtitles and pictures between containers, moved in time. Nothing is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

if TYPE_CHECKING:
    from av.container.core import Chapter

CARRIED = ("audio", "subtitle")
"""What is copied beside the video."""

OF_CONTAINER = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
"""Metadata that tells of the file it was read from, not of the video."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What of a source's streams belongs to the frames: from ``begin`` to ``end`` in seconds, None: to the end."""

    begin: Fraction
    end: Fraction | None

    def place(self, packet: Packet[Any]) -> Packet[Any] | None:
        """Move a packet to where the first frame is at 0; None where it is not wanted."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or not packet.size:
            return None
        start, length = stamp * packet.time_base, (packet.duration or 1) * packet.time_base
        warm_up = length if packet.stream.type == "audio" else 0  # decoders of sound need the packet before
        if start + length + warm_up <= self.begin or (self.end is not None and start >= self.end):
            return None
        moved = round(self.begin / packet.time_base)
        packet.pts = stamp - moved
        packet.dts = packet.pts if packet.dts is None else packet.dts - moved
        if packet.pts < 0 and packet.stream.type == "subtitle":
            packet.duration = (packet.duration or 0) + packet.pts
            packet.pts = packet.dts = 0
        return packet


def opened(stack: ExitStack, path: Path) -> InputContainer:
    """A local file, opened until ``stack`` ends."""
    options = {"protocol_whitelist": "file"}
    return stack.enter_context(av.open(str(path), metadata_errors="replace", container_options=options))


def target(out: OutputContainer, template: Stream) -> Stream:
    """A stream of ``out`` that takes the packets of another container's stream."""
    stream = out.add_stream_from_template(template, opaque=True)  # AV1 has another name as a decoder
    stream.time_base = template.time_base
    stream.metadata.update(template.metadata)
    stream.disposition = template.disposition
    if isinstance(stream, VideoStream) and isinstance(template, VideoStream) and template.sample_aspect_ratio:
        stream.codec_context.sample_aspect_ratio = template.sample_aspect_ratio  # AV1 itself does not hold it
    return stream


def chapters(source: InputContainer, cut: Cut) -> list[Chapter]:
    """The source's chapters, moved and cut like its streams."""
    found = []
    for chapter in source.chapters():
        base = chapter["time_base"] or Fraction(1)
        begin, end = round(cut.begin / base), None if cut.end is None else round(cut.end / base)
        first, last = max(chapter["start"], begin), chapter["end"] if end is None else min(chapter["end"], end)
        if first < last:
            found.append(chapter | {"start": first - begin, "end": last - begin})
    return found


def in_order(
    video: InputContainer, other: InputContainer | None, kept: Sequence[Stream], cut: Cut
) -> Iterator[tuple[bool, Packet[Any]]]:
    """Packets of the first video stream and of ``kept`` streams by the time of decoding; True for the video's."""

    def of_video() -> Iterator[tuple[bool, Packet[Any]]]:
        for packet in video.demux(video.streams.video[0]):
            if packet.size:
                yield True, packet

    def of_other() -> Iterator[tuple[bool, Packet[Any]]]:
        for packet in other.demux(list(kept)) if other and kept else ():
            placed = cut.place(packet)
            if placed is not None:
                yield False, placed

    return merge(of_video(), of_other(), key=lambda each: (each[1].dts or 0) * each[1].time_base)


def join(out: OutputContainer, video: InputContainer, other: InputContainer, kept: Sequence[Stream], cut: Cut) -> int:
    """Copy the video of one container, and streams, metadata and chapters of another; returns the sound's bytes."""
    picture = target(out, video.streams.video[0])
    targets = {each.index: target(out, each) for each in kept}
    out.metadata.update({key: value for key, value in other.metadata.items() if key not in OF_CONTAINER})
    out.set_chapters(chapters(other, cut))
    sound = 0
    for is_video, packet in in_order(video, other, kept, cut):
        packet.stream = picture if is_video else targets[packet.stream_index]
        sound += packet.size if packet.stream.type == "audio" else 0
        out.mux_one(packet)
    return sound
