"""Choose what of a source goes into its package beside the picture, by trial."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Stream

from stdo.core.types import FrameSource
from stdo.package.limits import STREAMS
from stdo.video.container import MAX_PIXELS, complaints, opened
from stdo.video.joined import Joined
from stdo.video.reader import VideoFile
from stdo.video.resets import UNHEADED
from stdo.video.tracks import Track, name_of, of_another_program, streams_beside, with_first_packets
from stdo.video.trial import held_by, rank

KINDS = dict(zip(STREAMS, ("mp4", "matroska"), strict=True))
"""Names of LR streams -> FFmpeg's formats."""

_STEP, _STEPS = 2 << 20, 64
"""Bytes between the places at which such a file is looked at, at least; and how many places, at
most."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What is carried of a source.

    Attributes:
        container: The source, None: nothing is carried.
        member: The LR stream's name.
        tracks: Of ``container``, what goes in.
        notes: What is left out, one line each.
    """

    container: InputContainer | None
    member: str
    tracks: tuple[Track, ...]
    notes: tuple[str, ...]


@contextmanager
def beside(source: FrameSource) -> Iterator[Beside]:
    """Find out what goes with the picture of a source, which is open until the block ends."""
    if not isinstance(source, VideoFile):
        joined = (
            ("joined videos are delivered without sound",) if isinstance(source, Joined) else ()
        )
        yield Beside(None, STREAMS[0], (), joined)
        return
    with ExitStack() as stack:
        with complaints(source.path):
            tracks, notes = _tracks(stack, source.path)
            member, kept = _chosen(tracks)
            notes += [_lost(each, tracks, member) for each in tracks if each not in kept]
            container, _ = stack.enter_context(opened(source.path, beside=True))
        yield Beside(container, member, tuple(kept), tuple(notes))


def _tracks(stack: ExitStack, path: Path) -> tuple[list[Track], list[str]]:
    """All that is beside the picture of a file, and notes on what is not even looked at."""
    container, picture = stack.enter_context(opened(path, beside=True))
    streams = streams_beside(picture)
    foreign = [each for each in streams if of_another_program(each, picture)]
    notes = [
        f"{each.type} stream {each.index} ({name_of(each)}) is left out: {_OTHER_PROGRAM}"
        for each in foreign
    ]
    notes += _late(path, container)
    streams = [each for each in streams if each not in foreign]
    tracks = with_first_packets(container, streams, {})
    if all(each.known for each in tracks):
        return tracks, notes
    thorough, _ = stack.enter_context(opened(path, beside=True, thorough=True))
    templates = {each.index: _same(each.stream, thorough) for each in tracks}
    return [Track(each.stream, templates[each.index], each.first) for each in tracks], notes


_OTHER_PROGRAM = "it belongs to another program"


def _same(stream: Stream, container: InputContainer) -> Stream:
    """The stream of another opening of the same file."""
    others = (
        each for each in container.streams if (each.index, each.id) == (stream.index, stream.id)
    )
    return next((each for each in others if each.type == stream.type), stream)


def _chosen(tracks: Sequence[Track]) -> tuple[str, list[Track]]:
    """The LR stream that holds most, MP4 where both do, and the tracks that it holds."""
    choices = [(name, held_by(kind, tracks)) for name, kind in KINDS.items()]
    return max(choices, key=lambda choice: rank(choice[1]))


def _lost(track: Track, tracks: Sequence[Track], member: str) -> str:
    if track.kind == "data":
        reason = "data is not carried"
    elif track.kind != "attachment" and track.template.codec_context is None:
        reason = "FFmpeg knows no codec for it here"
    elif not track.known:
        reason = "it begins so late in the file that its format is not known"
    elif any(held_by(kind, [track]) for name, kind in KINDS.items() if name != member):
        others = [str(each) for each in tracks if not held_by(_other(member), [each])]
        reason = (
            f"{member} does not hold it, and the container that does has no room for "
            f"{', '.join(others)}"
        )
    else:
        reason = "neither MP4 nor Matroska holds it"
    return f"{track} is left out: {reason}"


def _other(member: str) -> str:
    return next(kind for name, kind in KINDS.items() if name != member)


def _late(path: Path, container: InputContainer) -> list[str]:
    """Notes on streams that nobody knows of when the file is opened."""
    if container.format.name not in UNHEADED:
        return []
    known = {each.id for each in container.streams}
    found: dict[int, str] = {}
    size = path.stat().st_size
    step = max(_STEP, -(-size // _STEPS))
    with path.open("rb") as file:
        for offset in range(step, size, step):
            for stream in _streams_from(file, offset, container.format.name):
                if stream[0] not in known:
                    found.setdefault(*stream)
    return [
        f"{what} is left out: it is not yet there when the file begins" for what in found.values()
    ]


def _streams_from(file: BinaryIO, offset: int, kind: str) -> list[tuple[int, str]]:
    """Number in the file and description of the streams that FFmpeg finds in the rest of a file."""
    limits = {"protocol_whitelist": "none"}
    options = {"max_pixels": str(MAX_PIXELS)}
    try:
        with av.open(
            _Rest(file, offset), "r", format=kind, options=options, container_options=limits
        ) as rest:
            return [
                (each.id, f"{each.type} stream {each.id:#x} ({name_of(each)})")
                for each in rest.streams
            ]
    except FFmpegError:
        return []


class _Rest:
    """A file from an offset on."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        self._file, self._offset = file, offset
        file.seek(offset)

    def read(self, count: int) -> bytes:
        return self._file.read(count)

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        start = self._offset if whence == io.SEEK_SET else 0
        return self._file.seek(position + start, whence) - self._offset

    def tell(self) -> int:
        return self._file.tell() - self._offset
