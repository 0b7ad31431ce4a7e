"""What becomes of played frames: a video with the package's sound, or pictures. Whole, or not there at all."""

from collections.abc import Iterable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
from av.error import FFmpegError
from av.stream import Stream

from stdo.delivery.client import Player
from stdo.delivery.memory import encoder_options
from stdo.delivery.mux import CARRIED, Cut, join, opened
from stdo.delivery.package import complaints
from stdo.files import atomic, scratch
from stdo.types import U8, UserError
from stdo.video.writer import VideoWriter

CODEC, CRF, PRESET = "x264", 12, "fast"
"""How played frames are encoded: what is lost is far below what super-resolution gains."""

Played = Iterable[tuple[Fraction, U8]]


def write_pictures(out: Path, player: Player, frames: Played) -> tuple[str, ...]:
    """Write frames as ``00001.png`` and so on into a folder that is new or empty."""
    source = player.manifest.source
    with VideoWriter(out, source.width, source.height, source.rate, "png") as writer:
        for frame in frames:
            writer.write(frame)
    return ()


def write_video(out: Path, player: Player, frames: Played) -> tuple[str, ...]:
    """Write frames and, copied, the sound, subtitles and metadata that belong to them; the first frame is at 0.

    Returns what could not be carried, one line each. Raises UserError where ``out`` cannot hold the sound.
    """
    source, cut = player.manifest.source, _cut(player)
    with scratch(out) as folder, ExitStack() as stack:
        with complaints(player.package.path):
            other = stack.enter_context(player.lr.opened())
        kept, notes = _carried(out, folder / out.name, [s for s in other.streams if s.type in CARRIED])
        silent = folder / f"silent{out.suffix}"
        size = source.width, source.height
        options = encoder_options(source.width * source.height, player.threads)
        with VideoWriter(silent, *size, source.rate, CODEC, CRF, PRESET, source.colour, options=options) as writer:
            for pts, rgb_HWC in frames:
                writer.write((pts - cut.begin, rgb_HWC))
        try:
            with atomic(out) as partial, av.open(str(partial), "w") as joined:
                join(joined, opened(stack, silent), other, kept, cut)
        except (FFmpegError, ValueError) as error:
            raise UserError(f"{out}: the frames cannot be joined with the sound ({error})") from error
    return notes


def _cut(player: Player) -> Cut:
    """The stretch of the time line that is played."""
    source, span = player.manifest.source, player.span
    return Cut(source.pts(span.start), None if span.stop == source.frames else source.pts(span.stop))


def _coded(stream: Stream) -> str:
    """Name of a stream's codec."""
    return stream.codec_context.name if stream.codec_context is not None else "of a codec that FFmpeg does not know"


def _carried(out: Path, probe: Path, streams: list[Stream]) -> tuple[list[Stream], tuple[str, ...]]:
    """Those of the streams that the container can hold, and a line for each of the others."""
    try:
        with av.open(str(probe), "w") as container:
            known = container.supported_codecs
    except (FFmpegError, ValueError) as error:
        raise UserError(f"{out}: is no video that can be written; use .mp4 or .mkv") from error
    finally:
        probe.unlink(missing_ok=True)
    kept = [each for each in streams if each.codec_context is not None and each.codec_context.name in known]
    lost = [each for each in streams if each not in kept]
    for each in lost:
        if each.type == "audio":
            raise UserError(f"{out}: cannot hold the sound ({_coded(each)}); use .mp4 or .mkv")
    return kept, tuple(
        f"{each.type} stream {each.index} ({_coded(each)}) is left out: {out} cannot hold it" for each in lost
    )
