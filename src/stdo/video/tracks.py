"""Tracks of a video beside its picture: sound, subtitles, fonts, covers, data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Discard, Disposition, Stream
from av.video.stream import VideoStream

_LOOKED_AT = 32 << 20
"""Bytes of packets among which the first ones of each stream are looked for."""

_TRIED = 2
"""Packets of each stream that a container is tried with: what converts a stream's format sees its
first packet."""

_COVERS = {"mjpeg": "jpg", "png": "png", "gif": "gif", "bmp": "bmp", "tiff": "tiff", "webp": "webp"}
"""Codec of a cover -> ending of such a file."""


@dataclass(frozen=True, slots=True)
class KeptPacket:
    """A packet that can be written more than once."""

    data: bytes
    pts: int
    dts: int
    duration: int
    time_base: Fraction

    @classmethod
    def of(cls, packet: Packet[Stream]) -> KeptPacket:
        """A copy of a packet; a missing time becomes the other one, or 0."""
        dts = next((each for each in (packet.dts, packet.pts) if each is not None), 0)
        pts = dts if packet.pts is None else max(packet.pts, dts)
        return cls(bytes(packet), pts, dts, packet.duration or 0, packet.time_base)

    def packet(self, stream: Stream) -> Packet[Stream]:
        """A new packet of the same content for a stream."""
        packet = Packet(self.data)
        packet.stream, packet.time_base = stream, self.time_base
        packet.pts, packet.dts, packet.duration = self.pts, self.dts, self.duration
        packet.is_keyframe = True
        return packet


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A stream beside the picture.

    Attributes:
        stream: The one whose packets are read.
        template: A stream of the same kind that has all its parameters; mostly the same.
        first: Its first packets.
    """

    stream: Stream
    template: Stream
    first: tuple[KeptPacket, ...] = ()

    @property
    def index(self) -> int:
        """Number of the stream in its file."""
        return self.stream.index

    @property
    def kind(self) -> str:
        """``audio``, ``subtitle``, ``attachment``, ``cover``, ``data``, ``video`` or
        ``unknown``."""
        return "cover" if _is_cover(self.stream) else self.stream.type

    @property
    def known(self) -> bool:
        """Whether its parameters are known, as far as every container asks for them."""
        template = self.template
        if not isinstance(template, AudioStream) or template.codec_context is None:
            return True
        return template.sample_rate > 0

    @property
    def has_packets(self) -> bool:
        """Whether its content comes in packets over time, and not in the header."""
        return self.kind not in ("attachment", "cover")

    def __str__(self) -> str:
        return f"{self.kind} stream {self.index} ({name_of(self.template)})"

    def added(self, out: OutputContainer, kind: str) -> Stream:
        """A stream of ``out`` for it, complete where it is an attachment there.

        Args:
            kind: FFmpeg's format of ``out``.

        Raises:
            ValueError: Where such a format has no stream for it.
        """
        if self.kind == "cover" and kind == "matroska":
            ending, mime = _cover_type(self.template)
            metadata = self.stream.metadata
            name = metadata.get("filename", f"cover.{ending}")
            return _described(
                out.add_attachment(name, metadata.get("mimetype", mime), self.content), metadata
            )
        if isinstance(self.stream, AttachmentStream):
            name = self.stream.name or f"attachment-{self.index}"
            mime = self.stream.mimetype or "application/octet-stream"
            return _described(out.add_attachment(name, mime, self.content), self.stream.metadata)
        stream = target(out, self.template)
        # A cover that was not decoded; MP4 keeps no size
        if isinstance(stream, VideoStream) and not stream.width:
            stream.width = stream.height = 1
        return stream

    def write_content(self, out: OutputContainer, stream: Stream) -> None:
        """Write the cover into a stream that `added` made, where that is not an attachment."""
        if self.kind == "cover" and not isinstance(stream, AttachmentStream):
            packet = Packet(self.content)
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = 0
            packet.is_keyframe = True
            out.mux_one(packet)

    @property
    def content(self) -> bytes:
        """An attachment, or a cover as a picture file."""
        if isinstance(self.stream, AttachmentStream):
            return self.stream.data
        return self.first[0].data if self.first else b""


def _cover_type(stream: Stream) -> tuple[str, str]:
    """Ending and MIME type of a cover as an attachment, which is how Matroska holds covers."""
    codec = name_of(stream)
    if codec not in _COVERS:
        raise ValueError(f"no picture file is known for {codec}")
    return _COVERS[codec], f"image/{codec.replace('mjpeg', 'jpeg')}"


def target(out: OutputContainer, template: Stream) -> Stream:
    """A stream of ``out`` that takes the packets of another container's stream."""
    # AV1 has another name as a decoder
    stream = out.add_stream_from_template(template, opaque=True)
    stream.time_base = template.time_base
    stream.disposition = template.disposition
    if (
        isinstance(stream, VideoStream)
        and isinstance(template, VideoStream)
        and template.sample_aspect_ratio
    ):
        # AV1 itself does not hold it
        stream.codec_context.sample_aspect_ratio = template.sample_aspect_ratio
    return _described(stream, template.metadata)


def _described(stream: Stream, metadata: Mapping[str, str]) -> Stream:
    stream.metadata.update(metadata)
    return stream


def name_of(stream: Stream) -> str:
    """What a stream holds: its codec, or the file name of an attachment; printable."""
    if stream.codec_context is not None:
        name = stream.codec_context.codec.canonical_name
    elif isinstance(stream, AttachmentStream) or stream.type == "data":
        name = stream.name or ("timecode" if "timecode" in stream.metadata else "unknown")
    else:
        name = "unknown codec"
    return "".join(each if each.isprintable() else "?" for each in name)[:80]


def _is_cover(stream: Stream) -> bool:
    # Both: one picture for each chapter
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    return stream.type == "video" and stream.disposition & pictures == Disposition.attached_pic


def streams_beside(picture: VideoStream) -> list[Stream]:
    """All streams of the picture's container but videos that are shown over time, and chapters kept
    as a text track."""
    streams = (each for each in picture.container.streams if each.index != picture.index)
    return [each for each in streams if not _is_film(each) and not _of_chapters(each)]


def _is_film(stream: Stream) -> bool:
    return stream.type == "video" and not stream.disposition & Disposition.attached_pic


def _of_chapters(stream: Stream) -> bool:
    """Whether it is the titles or pictures of chapters: MP4 has them as streams, FFmpeg tells them
    as chapters."""
    return stream.discard == Discard.all


def of_another_program(stream: Stream, picture: VideoStream) -> bool:
    """Whether a broadcast of several programs has the stream in another one than its picture.

    PyAV tells no programs. FFmpeg looks for the best stream of a kind in the program of a given one
    first.
    """
    return _best_beside(stream) != _best_beside(picture)


def _best_beside(stream: Stream) -> list[int | None]:
    best = stream.container.streams.best
    found = best("video", stream), best("audio", stream), best("subtitle", stream)
    return [None if each is None else each.index for each in found]


def with_first_packets(
    container: InputContainer, streams: Sequence[Stream], templates: Mapping[int, Stream]
) -> list[Track]:
    """Tracks of the streams. templates: by index, for streams whose parameters their container does
    not know."""
    found: dict[int, list[KeptPacket]] = {each.index: [] for each in streams}
    awaited = {each.index for each in streams if each.type in ("audio", "video")}
    seen = 0
    for packet in demuxed(container, list(container.streams)):
        first = found.get(packet.stream_index)
        if first is not None and len(first) < _TRIED and packet.size:
            first.append(KeptPacket.of(packet))
            if len(first) == _TRIED or packet.stream.type == "video":
                awaited.discard(packet.stream_index)
        seen += packet.size
        if not awaited or seen > _LOOKED_AT:
            break
    return [
        Track(each, templates.get(each.index, each), tuple(found[each.index])) for each in streams
    ]


def demuxed(container: InputContainer, streams: Sequence[Stream]) -> Iterator[Packet[Stream]]:
    """The packets of some streams, empty ones last."""
    # PyAV trips over streams that appear on the way (MPEG-TS), but after the last packet of those
    # it knew.
    with contextlib.suppress(IndexError):
        yield from container.demux(list(streams)) if streams else ()
