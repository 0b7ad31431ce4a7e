"""Find by trial which streams a container can hold."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.format import ContainerFormat
from av.stream import Stream

from stdo.video.tracks import Track

CARRIED = ("audio", "subtitle", "attachment", "cover")
"""Kinds of tracks that are copied where a container holds them."""


@contextmanager
def writing(
    path: Path, kind: str, tracks: Sequence[Track], options: Mapping[str, str] | None = None
) -> Iterator[OutputContainer]:
    """Open a file of FFmpeg's format ``kind`` for writing these tracks beside a picture.

    Args:
        options: Of the format.
    """
    settings = dict(options or {})
    if all(_by_name(kind, each) for each in tracks):
        with av.open(str(path), "w", format=kind, container_options=settings) as out:
            yield out
        return
    # PyAV refuses what Matroska has no name of its own for, though it holds all sound that AVI
    # does. It does not ask FFmpeg's format "tee", which hands everything on to another, but for
    # chapters.
    inner = "".join(f":{name}={value}" for name, value in settings.items())
    with av.open(f"[f={kind}{inner}]{_escaped(path)}", "w", format="tee") as out:
        yield out


def keeps_chapters(kind: str, tracks: Sequence[Track]) -> bool:
    """Whether `writing` keeps the chapters that are set, where the format has any."""
    return all(_by_name(kind, each) for each in tracks)


def _escaped(path: Path) -> str:
    """A path for the format "tee", in which brackets, quotes, bars and spaces have meanings."""
    return re.sub(r"([^\w/.-])", r"\\\1", str(path))


def _by_name(kind: str, track: Track) -> bool:
    """Whether PyAV makes a stream for the track in this format."""
    with av.open(
        str(Path("probe")), "w", format=kind
    ) as out:  # nothing is written before there is a header
        try:
            track.added(out, kind)
        except (FFmpegError, ValueError):
            return False
    return True


def holds(kind: str, track: Track) -> bool:
    """Whether a container of FFmpeg's format ``kind`` takes the track, and gives it back.

    Its header and the first packets of the track are written into a temporary folder.
    """
    if track.kind not in CARRIED or (
        track.template.codec_context is None and track.kind != "attachment"
    ):
        return False
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "trial"
        try:
            with writing(trial, kind, [track]) as out:
                stream = track.added(out, kind)
                out.start_encoding()
                track.write_content(out, stream)
                for each in track.first if track.has_packets else ():
                    out.mux_one(each.packet(stream))
        except (FFmpegError, ValueError):
            return False
        return _comes_back(trial, kind, track)


def _comes_back(path: Path, kind: str, track: Track) -> bool:
    """Whether a file is read with the track in it: MPEG-TS takes anything, as bytes of which nobody
    knows more."""
    if track.has_packets and not track.first:  # the header alone tells little of it
        return True
    # Small files
    reader = kind if kind in av.formats_available and ContainerFormat(kind).is_input else None
    try:
        with av.open(
            str(path), format=reader, container_options={"protocol_whitelist": "file"}
        ) as written:
            return any(
                each.type == track.template.type and _is_known(each) for each in written.streams
            )
    except (FFmpegError, ValueError):
        return True  # it is too little to be recognised


def _is_known(stream: Stream) -> bool:
    return stream.type == "attachment" or stream.codec_context is not None


def held_by(kind: str, tracks: Sequence[Track]) -> list[Track]:
    """Those of the tracks that a container takes."""
    return [each for each in tracks if holds(kind, each)]


def rank(kept: Sequence[Track]) -> tuple[int, int, int]:
    """How much is kept: sound counts more than subtitles, and these more than the rest."""
    kinds = [each.kind for each in kept]
    return kinds.count("audio"), kinds.count("subtitle"), len(kinds)
