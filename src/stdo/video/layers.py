"""Detect transparency and other layers that a stream holds beside its picture."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.video.stream import VideoStream

from stdo.video.container import opened, packets

_SEI = (39, 40)
"""NAL units of HEVC with supplemental information."""

_ALPHA = 165
"""Supplemental information on an alpha channel (ITU-T H.265, D.2.39)."""


@dataclass(frozen=True, slots=True)
class Layers:
    """alpha: transparency. other: a layer that is none, as of a second eye."""

    alpha: bool = False
    other: bool = False


def has_alpha(stream: VideoStream, frame: av.VideoFrame, layers: Layers) -> bool:
    """Whether a video has transparency: in its pixels, beside each block of Matroska, or in a layer
    of HEVC."""
    beside = stream.metadata.get("alpha_mode", "0") not in ("", "0")
    return beside or layers.alpha or any(part.is_alpha for part in frame.format.components)


def layers_of(path: Path) -> Layers:
    """What the first packet of an HEVC stream and its header hold beside the picture; of other
    codecs nothing."""
    with opened(path) as (container, stream):
        if stream.codec_context.codec.canonical_name != "hevc":
            return Layers()
        header = bytes(stream.codec_context.extradata or b"")
        first = next((bytes(packet) for packet in packets(container, stream) if packet.size), b"")
    units = [*_in_header(header), *_in_packet(first, header)]
    layered = any((unit[0] & 1) << 5 | unit[1] >> 3 for unit in units)
    alpha = any(_tells_of_alpha(unit) for unit in units)
    return Layers(alpha, layered and not alpha)


def _tells_of_alpha(unit: bytes) -> bool:
    """Whether a NAL unit is supplemental information on an alpha channel; only its first message is
    looked at."""
    return (unit[0] >> 1 & 63) in _SEI and len(unit) > 2 and unit[2] == _ALPHA


def _in_header(header: bytes) -> Iterator[bytes]:
    """NAL units of ``hvcC`` (ISO 14496-15, 8.3.3.1.2), or of a header that is a byte stream."""
    if len(header) < 23 or header[0] != 1:
        yield from _in_stream(header)
        return
    at = 23
    for _ in range(header[22]):
        count = int.from_bytes(header[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            size = int.from_bytes(header[at : at + 2], "big")
            unit = header[at + 2 : at + 2 + size]
            if len(unit) < 2:
                return
            yield unit
            at += 2 + size


def _in_packet(packet: bytes, header: bytes) -> Iterator[bytes]:
    """NAL units of a packet, each behind its size where the header is ``hvcC``."""
    if len(header) < 23 or header[0] != 1:
        yield from _in_stream(packet)
        return
    width, at = (header[21] & 3) + 1, 0
    while at + width + 2 <= len(packet):
        size = int.from_bytes(packet[at : at + width], "big")
        if size < 2:
            return
        yield packet[at + width : at + width + size]
        at += width + size


def _in_stream(content: bytes) -> Iterator[bytes]:
    """NAL units of a byte stream, each behind 00 00 01."""
    for unit in content.split(b"\0\0\1")[1:]:
        if len(unit) >= 2:
            yield unit
