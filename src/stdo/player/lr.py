"""Decode the LR stream inside its package, from any frame on."""

import errno
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import BinaryIO

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from stdo.core.types import U8, UserError
from stdo.package.limits import STREAMS
from stdo.package.manifest import Manifest
from stdo.player.confine import limited
from stdo.video.codecs import CODECS
from stdo.video.colour import ToRgb, colour_of
from stdo.video.container import videos_of

FORMATS = dict(zip(STREAMS, ("mov", "matroska"), strict=True))
"""FFmpeg's readers. Said, not probed: a playlist in place of the video would open files of its
choice."""

_DECODED = "h264,hevc,av1,libdav1d"  # what is carried along is copied, never decoded
_LIMITS = {"protocol_whitelist": "none"}  # nothing but the member is opened
_INDEX = 256 << 20
"""Bytes that the list of packets may take in the process that copies sound: four million packets
and more."""
_ROUNDED = 128
"""Pixels that decoders add to a side at most, for blocks and vectors."""

_THREADS = 4
"""Of the decoder, at most as many frames as it keeps for them; networks take the rest of
the cores."""


class LrVideo:
    """The frames of a package's LR stream, as `stdo.video.reader.VideoFile` gives those of a file.

    Args:
        open_file: Opens the member for reading, anew at each call.
        manifest: Says its name and how large its frames are.
    """

    def __init__(
        self, open_file: Callable[[], BinaryIO | io.BufferedReader], manifest: Manifest
    ) -> None:
        self._open_file, self._lr, self._count = open_file, manifest.lr, manifest.source.frames

    def frames(self, first: int = 0) -> Iterator[U8]:
        """Frames from number ``first`` on: uint8 RGB (height, width, 3); the same whatever
        ``first`` is.

        Raises UserError where the stream is damaged, holds other frames than the manifest says, or
        fewer.
        """
        at, to_rgb = first, None
        try:
            for frame in self._decoded(first):
                if (frame.width, frame.height) != (self._lr.width, self._lr.height):
                    raise self._wrong(f"frame {at} has {frame.width}x{frame.height} pixels")
                if at == self._count:
                    raise self._wrong("it holds more frames than that")
                to_rgb = to_rgb or ToRgb(colour_of(frame), frame.width, frame.height)
                yield to_rgb(frame)
                at += 1
        except UserError:
            raise
        except (FFmpegError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOMEM:
                raise MemoryError from error
            raise UserError(f"{self._lr.member}: damaged at frame {at} ({error})") from error
        if at < self._count:
            raise self._wrong(f"it holds {at} frames")

    def _wrong(self, what: str) -> UserError:
        lr = self._lr
        return UserError(
            f"{lr.member}: {what}: must be {self._count} frames of {lr.width}x{lr.height} pixels"
        )

    @contextmanager
    def opened(self, decoding: bool = False) -> Iterator[InputContainer]:
        """The member as FFmpeg reads it, until the block ends.

        Args:
            decoding: Whether frames are wanted. Otherwise FFmpeg may decode nothing at all.

        Raises:
            UserError: It cannot be read, or holds more than one video or none. Covers are no
                videos.
        """
        limits = _LIMITS | {"codec_whitelist": _DECODED if decoding else "none"}
        with self._open_file() as file:
            kind = FORMATS[self._lr.member]
            try:
                # A few bytes can promise a billion packets
                with nullcontext() if decoding else limited(_INDEX):
                    container = av.open(
                        file,
                        "r",
                        format=kind,
                        metadata_errors="replace",
                        options=self._largest,
                        container_options=limits,
                    )
            except (FFmpegError, ValueError, MemoryError) as error:
                raise UserError(f"{self._lr.member}: damaged ({error})") from error
            with container:
                videos = videos_of(container)
                if len(videos) != 1:
                    raise self._wrong(f"it holds {len(videos)} videos")
                yield container

    @property
    def _largest(self) -> dict[str, str]:
        """What decoders may allocate for a frame; they round its sides up. A stream may change its
        size on the way."""
        lr = self._lr
        return {"max_pixels": str((lr.width + _ROUNDED) * (lr.height + _ROUNDED))}

    def _video(self, container: InputContainer) -> VideoStream:
        """The LR stream, after all that its header says has been compared with the manifest."""
        (stream,), lr = videos_of(container), self._lr
        if stream.codec_context is None:
            raise self._wrong("it holds no video that FFmpeg knows")
        coded = stream.codec_context.codec.canonical_name
        wanted = CODECS[lr.codec].stream  # FFmpeg knows hundreds more, many of them old
        if coded != wanted:
            raise UserError(f"{lr.member}: its video is {coded}: must be {wanted}")
        if (stream.width, stream.height) != (lr.width, lr.height):  # before anything is allocated
            raise self._wrong(f"its frames have {stream.width}x{stream.height} pixels")
        stream.codec_context.options = self._largest
        stream.thread_type, stream.thread_count = "AUTO", _THREADS
        return stream

    def _decoded(self, first: int) -> Iterator[av.VideoFrame]:
        """Decode from frame ``first`` on, beginning at the last key frame before it."""
        with self.opened(decoding=True) as container:
            stream = self._video(container)
            if not first:
                yield from container.decode(stream)
                return
            stamps = [
                (p.pts, p.is_keyframe)
                for p in container.demux(stream)
                if p.size and p.pts is not None
            ]
            if first >= len(stamps):
                raise self._wrong(f"it holds {len(stamps)} frames")
            wanted = sorted(pts for pts, _ in stamps)[first]
            container.seek(
                max((pts for pts, key in stamps if key and pts <= wanted), default=0), stream=stream
            )
            started = False
            for frame in container.decode(stream):
                # FFmpeg seeks by the time of decoding
                if not started and (frame.pts is None or frame.pts > wanted):
                    break
                started = True
                if frame.pts is not None and frame.pts >= wanted:
                    yield frame
            if started:
                return
        with self.opened(decoding=True) as container:
            for number, frame in enumerate(container.decode(self._video(container))):
                if number >= first:
                    yield frame
