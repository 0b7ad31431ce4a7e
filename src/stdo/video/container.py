"""Open local video files safely: no other file, no network, bounded frames.

FFmpeg is handed the open file and may open nothing else, so that a playlist, which names other
files, shows none of them; and its decoders are told the size of frame that they may allocate,
whatever a header of a few bytes claims.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import av
from av.container import Container, InputContainer
from av.error import ArgumentError, FFmpegError, InvalidDataError
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from stdo.core.types import UserError

MAX_PIXELS = 1 << 26
"""Most pixels of a frame: 8192 x 8192. A decoder keeps some ten frames, of 100 MB each then."""

_NOT_VIDEO = {
    *(
        "hls",
        "dash",
        "concat",
        "concatf",
        "imf",
        "sdp",
        "mlv",
        "vobsub",
        "webm_dash_manifest",
    ),  # name other files
    *("avisynth", "vapoursynth"),  # programs
    *("tty", "bin", "xbin", "adf", "idf"),  # any text is a picture to them
}
_FORMATS = ",".join(sorted(av.formats_available - _NOT_VIDEO))
_BUFFER = 1 << 20
_THOROUGH = {"probesize": str(1 << 50), "analyzeduration": str(10**15), "fflags": "nobuffer"}
"""Read as far as it takes to know the parameters of every stream, and keep none of what was read on
the way."""
_FRAME_BY_FRAME = ("h264", "mpeg4", "rv30", "rv40")
"""Decoders that mark a frame whose holes they filled; with several frames at once some leave before
their mark."""


def local_file(path: str | Path) -> Path:
    """The absolute path of an existing, readable, regular, non-empty file; UserError for anything
    else."""
    found = Path(path).absolute()
    try:
        if not found.exists():
            raise UserError(f"video.path={path}: {_absence(found, str(path))}")
        if found.is_dir():
            raise UserError(
                f"video.path={path}: is a folder, not a file; "
                f"for a folder of pictures use video=folder video.path={path}"
            )
        if not found.is_file():
            raise UserError(f"video.path={path}: is not a regular file")
        if found.stat().st_size == 0:
            raise UserError(f"video.path={path}: is empty (0 bytes)")
        with found.open("rb"):
            return found
    except OSError as error:
        raise UserError(f"video.path={path}: cannot be read ({error.strerror})") from error


def name_of(path: Path) -> str:
    """What a file is called in results and pictures: its name without ending, as text, though it
    may be no UTF-8."""
    return os.fsencode(path.stem).decode(errors="replace")


def _absence(found: Path, typed: str) -> str:
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:", typed):
        return "no such file; URLs are not read: download it first"
    return (
        "a symbolic link that leads nowhere: no such file" if found.is_symlink() else "no such file"
    )


@contextlib.contextmanager
def complaints(path: Path) -> Iterator[None]:
    """Whatever is wrong with the content of a file becomes one line that names the file."""
    try:
        yield
    except UserError as error:
        named = str(error).startswith("video.")
        raise error if named else UserError(f"video.path={path}: {error}") from None
    except FFmpegError as error:
        raise UserError(
            f"video.path={path}: not a video that FFmpeg can read ({error.strerror})"
        ) from error
    except OSError as error:
        raise UserError(f"video.path={path}: cannot be read ({error.strerror})") from error


@contextlib.contextmanager
def opened(
    path: Path, most: int = MAX_PIXELS, beside: bool = False, thorough: bool = False
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and the video stream that is used.

    Args:
        path: A local file.
        most: Pixels of a frame; a decoder that meets a larger one refuses it before it allocates.
        beside: Whether the packets of other streams are wanted as well; otherwise the container
            passes over them.
        thorough: Whether to read on until the parameters of every stream are known, if need be the
            whole file. Such a container tells of its streams; its packets are not to be read.

    Raises:
        UserError: It is a playlist, holds no video, or one of an unknown codec or of frames of over
            `MAX_PIXELS`.
    """
    limits = {"protocol_whitelist": "none", "format_whitelist": _FORMATS} | (
        _THOROUGH if thorough else {}
    )
    options = {"max_pixels": str(MAX_PIXELS)}
    with path.open("rb") as file:
        try:
            container = av.open(
                file,
                "r",
                metadata_errors="replace",
                options=options,
                container_options=limits,
                buffer_size=_BUFFER,
            )
        except ArgumentError as error:
            raise UserError(
                "not a video that FFmpeg can read; playlists, other lists of files, text and "
                "raw samples are not read"
            ) from error
        with container:
            stream = _video_stream(container, {"max_pixels": str(most)})
            for other in container.streams:
                if other is not stream and not beside:
                    other.discard = Discard.all
            yield container, stream


def videos_of(container: Container) -> list[VideoStream]:
    """The video streams, without the pictures that are covers."""
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]


def _video_stream(container: InputContainer, options: dict[str, str]) -> VideoStream:
    videos = videos_of(container)
    if not videos:
        kinds = sorted({"picture" if s.type == "video" else s.type for s in container.streams})
        raise UserError(f"holds no video, only {' and '.join(kinds) or 'nothing'}")
    stream = videos[0]
    context = stream.codec_context
    if context is None:
        raise UserError("its video codec is not known to this build of FFmpeg")
    if context.width * context.height > MAX_PIXELS:
        most = MAX_PIXELS // 10**6
        raise UserError(
            f"frames of {context.width}x{context.height}: at most {most} million pixels are read"
        )
    context.options = options
    stream.thread_type = "SLICE" if context.name in _FRAME_BY_FRAME else "AUTO"
    return stream


def decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """All frames in the order of presentation; what comes before the first whole one of a recording
    is passed over.

    Raises av.error.InvalidDataError where the file is damaged, av.error.EOFError where it ends
    within a frame.
    """
    started = False
    for packet in _whole_packets(container, stream):
        try:
            frames = packet.decode()
        except (InvalidDataError, ArgumentError):
            if started:
                raise
            continue
        for frame in frames:
            started = started or not frame.is_corrupt
            if started:
                yield frame


def packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets of a stream, an empty one last."""
    # PyAV trips over streams that appear on the way (MPEG-TS), but after the last packet of those
    # it knew.
    with contextlib.suppress(IndexError):
        yield from container.demux(stream)


def _whole_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Packets; one that the end of the file cuts through is left out, and complained of after all
    the others.

    Elsewhere a packet that is marked as corrupt may be whole: MPEG-TS marks the first after a gap
    in its counters.
    """
    torn: Packet[VideoStream] | None = None
    for packet in packets(container, stream):
        # Noise to a decoder, which now and then finds a frame in it
        if packet.has_sidedata("encryption_info"):
            raise UserError("is encrypted")
        if torn is not None and packet.size:
            yield torn
            torn = None
        if packet.is_corrupt:
            torn = packet
        else:
            yield packet
    if torn is not None:
        raise av.error.EOFError(0, "the file ends within a frame")
