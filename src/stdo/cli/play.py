"""Play a package into a file, ``python -m stdo.play movie.stdo out.mp4``, or into another program,
``python -m stdo.play movie.stdo - | mpv -``. Needs the base install alone."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

from stdo import __version__
from stdo.core.console import prepare
from stdo.core.signals import Stopped, heeded_twice
from stdo.core.types import U8, UserError

_PIPE = Path("-")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help says more")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "stdo-play",
        description="Play a package in high resolution, into a file or another program.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"stdo {__version__}")
    parser.add_argument("package", type=Path, help="the .stdo file, or an unpacked package")
    parser.add_argument(
        "out",
        type=Path,
        nargs="?",
        help="a video, such as out.mp4; with --frames a new folder; - for standard output, which "
        "gets pixels without loss, and sound, as NUT: stdo-play movie.stdo - | mpv -",
    )
    parser.add_argument(
        "--frames", choices=["png"], help="write pictures without loss instead of a video"
    )
    parser.add_argument(
        "--start",
        type=_seconds,
        default=Fraction(0),
        metavar="S",
        help="seconds from the beginning",
    )
    parser.add_argument("--duration", type=_seconds, metavar="S", help="play so many seconds")
    parser.add_argument(
        "--max-network-bytes",
        type=int,
        metavar="N",
        help="use the networks in the first N bytes of them, else bicubic",
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="frames computed at once; default: one per core"
    )
    parser.add_argument(
        "--precision",
        default="float32",
        choices=["float32", "bfloat16", "int8"],
        help="float32 gives the server's pixels; bfloat16 is quicker on CPUs that have it, int8 is "
        "quicker still",
    )
    parser.add_argument(
        "--device", default="CPU", help="OpenVINO's name of the device; default: CPU"
    )
    parser.add_argument(
        "--realtime", action="store_true", help="write no frame to - before its time"
    )
    parser.add_argument(
        "--benchmark", action="store_true", help="print the speed of each stage; writes no file"
    )
    return parser


def _seconds(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text}: must be a number of seconds") from None


def play(options: argparse.Namespace, isolated: bool = True) -> str:
    """Do what the command line asks for.

    Args:
        options: Of the command line.
        isolated: Whether decoding and networks run in a process of their own, see
            `stdo.player.isolated`.

    Returns:
        What to print.

    Raises:
        UserError: The user, or the package, is mistaken.
    """
    if (options.out is None) != options.benchmark:
        raise UserError("out: must be given, unless --benchmark is; --help says more")
    from stdo.player.client import Player
    from stdo.player.confine import limited
    from stdo.player.memory import of_encoder
    from stdo.player.output import write_pictures, write_stream, write_video
    from stdo.player.target import check_target

    piped = options.out == _PIPE
    if piped:
        _check_pipe(options)
    elif options.realtime:
        raise UserError("--realtime: is for standard output, out=-")
    elif options.out is not None:
        check_target(options.out, options.package, options.frames is not None)
    began = time.perf_counter()
    player = Player(
        options.package,
        start=options.start,
        duration=options.duration,
        max_network_bytes=options.max_network_bytes,
        threads=options.threads,
        precision=options.precision,
        device=options.device,
        isolated=isolated,
    )
    told = "".join(f"note: {note}\n" for note in player.notes)
    if options.benchmark:
        from stdo.player.speed import speeds

        return told + speeds(player, began)
    if piped:
        sys.stderr.write(told)
        return "".join(
            f"note: {note}\n" for note in write_stream(player, player.lent(), options.realtime)
        )
    frames, source = _watched(player.lent(), len(player)), player.manifest.source
    # x264 reserves twice what it ever touches
    reserved = 2 * of_encoder(source.width * source.height) + (1 << 28)
    with limited(reserved) if isolated else nullcontext():
        notes = (write_pictures if options.frames else write_video)(options.out, player, frames)
    return (
        told + "".join(f"note: {note}\n" for note in notes) + f"{options.out}: {len(player)} frames"
    )


def _check_pipe(options: argparse.Namespace) -> None:
    """Raise UserError where standard output is no place for a video."""
    if options.frames:
        raise UserError("--frames png: writes a folder, and out is -, standard output")
    if sys.stdout.isatty():
        raise UserError("out=-: standard output is a terminal; use stdo-play movie.stdo - | mpv -")


def _watched(frames: Iterable[tuple[Fraction, U8]], count: int) -> Iterator[tuple[Fraction, U8]]:
    """The frames, with a line on the terminal that says how far they are."""
    began = shown = time.monotonic()
    for done, frame in enumerate(frames, 1):
        yield frame
        now = time.monotonic()
        if sys.stderr.isatty() and (now - shown > 0.5 or done == count):
            shown, rate = now, done / (now - began)
            left = round((count - done) / rate)
            line = f"{done}/{count} frames, {rate:.1f} per second, {left // 60}:{left % 60:02} left"
            sys.stderr.write(f"\r{line:<60}" + ("\n" if done == count else ""))
            sys.stderr.flush()


def main(arguments: Sequence[str] | None = None, isolated: bool = True) -> None:
    """Entry point of ``stdo-play``: exit code 2 and one line for a user's mistake or a bad
    package."""
    prepare()
    try:
        with heeded_twice():
            options = _parser().parse_intermixed_args(arguments)
            told = play(options, isolated)
            if options.out == _PIPE:
                sys.stderr.write(told)
            else:
                sys.stdout.write(f"{told}\n")
    except (UserError, OSError, MemoryError) as error:
        said = str(error) if isinstance(error, UserError) else _reason(error)
        sys.stderr.write(f"stdo: {' '.join(said.split())}\n")
        sys.exit(2)
    except Stopped as stop:
        sys.stderr.write(f"\nstdo: stopped by {stop.name}; nothing was kept\n")
        sys.exit(stop.exit_code)


def _reason(error: OSError | MemoryError) -> str:
    """What the system refused, in words."""
    if isinstance(error, MemoryError):
        return (
            "out of memory: the frames are too large for what is free, or for what a player "
            "may take"
        )
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
