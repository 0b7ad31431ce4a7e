"""Handle clocks that are set back inside a broadcast: sound follows the picture."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from stdo.video.clock import RESET
from stdo.video.container import videos_of
from stdo.video.tracks import demuxed

UNHEADED = ("mpegts", "mpeg")
"""Formats in which streams begin and clocks are set anew anywhere, unannounced."""


def continued(
    container: InputContainer, kept: Sequence[Stream]
) -> Iterator[tuple["Packet[Any]", Fraction]]:
    """Packets of some streams, each with the seconds that move it behind what came before its clock
    was set back.

    These are the seconds by which `stdo.video.clock.Clock` moves the pictures of the same
    recording. Where a stream's clock is set back before the picture's, its packets wait for the
    picture.
    """
    if container.format.name not in UNHEADED or not kept:
        for packet in demuxed(container, kept):
            yield packet, Fraction(0)
        return
    picture = videos_of(container)[0]
    moves = [Fraction(0)]
    ended = Fraction(0)  # when the last picture ends, on its own clock
    latest: dict[int, Fraction] = {}
    recording: dict[int, int] = {}
    waiting: list[tuple[int, Packet[Any]]] = []
    for packet in demuxed(container, [*kept, picture]):
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or not packet.size:
            continue
        index, at = packet.stream_index, stamp * packet.time_base
        back = at <= latest.get(index, at) - RESET
        if index == picture.index:
            length = (packet.duration or 0) * packet.time_base or 1 / (
                picture.average_rate or Fraction(25)
            )
            if back:
                moves.append(moves[-1] + ended - at)
                ready = [each for number, each in waiting if number < len(moves)]
                waiting = [(number, each) for number, each in waiting if number >= len(moves)]
                yield from ((each, moves[recording[each.stream_index]]) for each in ready)
            ended = at + length if back else max(ended, at + length)
            latest[index] = at if back else max(latest.get(index, at), at)
            continue
        recording[index] = recording.get(index, 0) + back
        latest[index] = at
        if recording[index] < len(moves):
            yield packet, moves[recording[index]]
        else:
            waiting.append((recording[index], packet))
