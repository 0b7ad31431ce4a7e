"""Join encoded videos end to end without encoding them again.

Each begins with a key frame of its own, so its packets decode to the same frames behind those of
another. Only their times change, and parameter sets that differ from the first one's are repeated
at every key frame: a file has room for one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from stdo.core.files import atomic
from stdo.core.types import UserError
from stdo.video.container import videos_of
from stdo.video.packets import PacketWriter, timescale
from stdo.video.ticks import Ticks, Timeline, ticks_of
from stdo.video.tracks import target

Opener = Callable[[], AbstractContextManager[InputContainer]]
"""Opens a container with one video, anew at each call."""


def concatenate(path: Path, videos: Sequence[Opener], timeline: Timeline) -> None:
    """Write videos one after the other as one.

    Args:
        path: Of the new video, MP4.
        videos: Of one codec and one size, in order.
        timeline: When the frames of all of them are shown.

    Raises:
        UserError: They hold another number of frames than ``timeline``.
    """
    ranks = [_ranks(each) for each in videos]
    frames = sum(map(len, ranks))
    if frames != len(timeline.stamps):
        raise UserError(f"{path}: {frames} frames: must be {len(timeline.stamps)}")
    last = timeline.last or timeline.base
    ticks = ticks_of(timeline, last)
    stamps = _stamps(ticks)
    delay = max(number - rank for part in ranks for number, rank in enumerate(part))

    with (
        atomic(path) as partial,
        av.open(
            str(partial), "w", format="mp4", container_options=timescale(path, ticks.base)
        ) as out,
    ):
        writer = PacketWriter(out, ticks.base)
        for t, stamp in enumerate(stamps):
            writer.add(stamp, ticks.length(t, stamp))
        picture: VideoStream | None = None
        first, begin = b"", 0
        for video, rank_N in zip(videos, ranks, strict=True):
            with video() as container:
                stream = videos_of(container)[0]
                extra = stream.codec_context.extradata or b""
                if picture is None:
                    made = target(out, stream)
                    assert isinstance(made, VideoStream)
                    picture, first = made, extra
                    picture.time_base = ticks.base
                again = b"" if extra == first else _parameter_sets(stream, extra, first)
                for number, packet in enumerate(_packets(container)):
                    moved = _with(packet, again) if packet.is_keyframe and again else packet
                    moved.time_base, moved.stream = ticks.base, picture
                    moved.pts = stamps[begin + rank_N[number]]
                    moved.dts = _decoded(stamps, begin + number, delay)
                    writer.put([moved])
            begin += len(rank_N)
        writer.end()


def _packets(container: InputContainer) -> Iterator["Packet[VideoStream]"]:
    stream = videos_of(container)[0]
    return (packet for packet in container.demux(stream) if packet.size and packet.pts is not None)


def _ranks(video: Opener) -> list[int]:
    """Of each packet in the order of decoding: its place in the order of showing."""
    with video() as container:
        times = [packet.pts or 0 for packet in _packets(container)]
    ranks = [0] * len(times)
    for rank, number in enumerate(sorted(range(len(times)), key=times.__getitem__)):
        ranks[number] = rank
    return ranks


def _stamps(ticks: Ticks) -> list[int]:
    stamps: list[int] = []
    for t in range(len(ticks.timeline.stamps)):
        stamps.append(ticks.stamp(t, stamps[-1] if stamps else None))
    return stamps


def _decoded(stamps: Sequence[int], number: int, delay: int) -> int:
    """When a packet is decoded: as its frame's predecessor by ``delay`` is shown, so that none is
    shown before it is decoded."""
    if number >= delay:
        return stamps[number - delay]
    return stamps[number] - (stamps[delay] - stamps[0])


def _with(packet: "Packet[VideoStream]", before: bytes) -> "Packet[VideoStream]":
    """A key frame behind parameter sets."""
    longer = Packet(before + bytes(packet))
    longer.is_keyframe = True
    return cast("Packet[VideoStream]", longer)


def _parameter_sets(stream: VideoStream, extra: bytes, first: bytes) -> bytes:
    """Those of H.264 or HEVC as packets have them, each behind its size. Of AV1 none: its key
    frames hold them anyway."""
    name = stream.codec_context.codec.canonical_name
    if name not in ("h264", "hevc"):
        return b""
    place = 4 if name == "h264" else 21
    size = (extra[place] & 3) + 1
    if size != (first[place] & 3) + 1:
        raise UserError("the LR videos of the parts cannot be joined: their packets differ in form")
    sets = _of_h264(extra) if name == "h264" else _of_hevc(extra)
    return b"".join(len(each).to_bytes(size, "big") + each for each in sets)


def _of_h264(extra: bytes) -> Iterator[bytes]:
    """The sets of an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3)."""
    at = 5
    for mask in (0x1F, 0xFF):  # of sequences, then of pictures
        count, at = extra[at] & mask, at + 1
        for _ in range(count):
            each, at = _sized(extra, at)
            yield each


def _of_hevc(extra: bytes) -> Iterator[bytes]:
    """The sets of an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3)."""
    arrays, at = extra[22], 23
    for _ in range(arrays):
        count, at = int.from_bytes(extra[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            each, at = _sized(extra, at)
            yield each


def _sized(data: bytes, at: int) -> tuple[bytes, int]:
    """What stands behind its size in two bytes, and where it ends."""
    begin = at + 2
    end = begin + int.from_bytes(data[at:begin], "big")
    return data[begin:end], end


__all__ = ["Opener", "concatenate"]
