"""Mux an encoder's packets with the time at which each frame is shown."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

_OF_MP4 = (".mp4", ".m4v", ".mov", ".3gp", ".3g2")


def timescale(path: Path, base: Fraction) -> dict[str, str]:
    """Option of the container by which it counts time in ticks of ``base`` seconds, where it has
    one.

    Left alone, FFmpeg's MP4 counts in at least 10,000 ticks a second, and a pause of days is too
    long for it.
    """
    return (
        {"video_track_timescale": str(base.denominator)} if path.suffix.lower() in _OF_MP4 else {}
    )


class PacketWriter:
    """Packets on their way into a container, each with the time that its frame is shown.

    Encoders forget those times, and the last packet is often not of the last frame. It lasts to the
    end of the video nevertheless: MP4 adds up the lengths of packets in the order of decoding, and
    keeps no other.
    """

    def __init__(self, out: OutputContainer, base: Fraction) -> None:
        self._out, self._base = out, base
        self._lengths: dict[int, int] = {}
        self._waiting: Packet[VideoStream] | None = None
        self._first: int | None = None
        self._begin = self._end = self._count = 0
        self._before: int | None = None

    def add(self, stamp: int, length: int) -> None:
        """A frame was handed to the encoder."""
        if not self._count:
            self._begin = stamp
        self._count += 1
        self._lengths[stamp] = length
        self._end = stamp + length

    def put(self, packets: Iterable[Packet[VideoStream]]) -> None:
        """Write packets, all but the last one."""
        for packet in packets:
            assert packet.time_base == self._base, (packet.time_base, self._base)
            self._mend(packet)
            self._first = packet.dts if self._first is None else self._first
            packet.duration = self._lengths.pop(packet.pts or 0, packet.duration or 0)
            self._write()
            self._waiting = packet

    def _mend(self, packet: Packet[VideoStream]) -> None:
        """Replace a time of decoding that is none: of one or two frames x265 gives what lay in its
        memory."""
        assert packet.pts is not None
        earliest = self._begin - (self._end - self._begin)
        if packet.dts is None or not earliest <= packet.dts <= packet.pts:
            packet.dts = packet.pts - self._count + 1 if self._before is None else self._before + 1
        self._before = packet.dts

    def end(self) -> None:
        """Write the last one."""
        packet = self._waiting
        if packet is not None and packet.dts is not None and self._first is not None:
            missing = self._end - self._begin - (packet.dts - self._first)
            shown = packet.dts if packet.pts is None else packet.pts
            packet.duration = max(packet.duration or 1, missing, self._end - shown)
        self._write()

    def _write(self) -> None:
        if self._waiting is not None:
            self._out.mux_one(self._waiting)
        self._waiting = None
