"""Check by trial that a target can be written, before anything is played."""

import errno
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from stdo.core.files import scratch
from stdo.core.types import UserError

_LONGEST = 255
"""Bytes of a name that file systems hold."""
_NO_TIMES = 0x80
"""What FFmpeg says of raw streams (AVFMT_NOTIMESTAMPS)."""


def check_target(out: Path, package: Path, pictures: bool = False) -> None:
    """Raise UserError, in one line, for a target that cannot be written.

    Args:
        out: What the user typed: a video, or a folder of pictures.
        package: What is played, which is never written to.
        pictures: Whether ``out`` is to be a folder.
    """
    _check_name(out)
    try:
        _check_place(out, package)
        (_check_folder if pictures else _check_file)(out)
        with scratch(out) as folder:
            if not pictures:
                _check_container(out, folder)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror or error})") from error


def _check_name(out: Path) -> None:
    try:
        name = str(out).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(out).decode(errors="replace")
        raise UserError(
            f"{shown}: its name is no UTF-8, which FFmpeg needs; choose another"
        ) from None
    if len(out.name.encode()) > _LONGEST:
        raise UserError(
            f"{out.name[:20]}…: a name of {len(out.name.encode())} bytes: must be at most "
            f"{_LONGEST}"
        )
    if not out.name or b"\0" in name:
        raise UserError(f"{out}: is no name of a file")


def _check_place(out: Path, package: Path) -> None:
    if not out.parent.is_dir():
        raise UserError(f"{out}: there is no folder {out.parent}")
    if not package.exists():
        return
    if out.exists() and out.samefile(package):
        raise UserError(f"{out}: is the package itself")
    if package.is_dir() and out.parent.resolve().is_relative_to(package.resolve()):
        raise UserError(f"{out}: lies in the package, which is not written to")


def _check_file(out: Path) -> None:
    if out.is_symlink() and not out.exists():
        raise UserError(f"{out}: is a symbolic link that leads nowhere")
    if out.is_dir():
        raise UserError(f"{out}: is a folder; --frames png writes pictures into an empty one")
    if out.exists() and not out.is_file():
        raise UserError(f"{out}: is not a regular file")
    if out.exists() and not os.access(out, os.W_OK):
        raise UserError(f"{out}: is there already, and may not be written")


def _check_folder(out: Path) -> None:
    if out.is_symlink() and not out.exists():
        raise UserError(f"{out}: is a symbolic link that leads nowhere")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not an empty folder")


def _check_container(out: Path, folder: Path) -> None:
    """Write a video of one frame into the container that the ending names: it must be one file with
    H.264 in it."""
    trial, before = folder / f"trial{out.suffix}", {*folder.iterdir()}
    refused = UserError(f"{out}: is no video that can be written; use .mp4 or .mkv")
    try:
        with av.open(str(trial), "w") as container:
            if container.format.no_file:
                raise UserError(
                    f"{out}: its ending means several files ({container.format.name}); use "
                    ".mp4 or .mkv"
                )
            if container.format.flags & _NO_TIMES:
                raise UserError(f"{out}: its ending means a file without times; use .mp4 or .mkv")
            stream = container.add_stream(
                "libx264", rate=25, options={"preset": "ultrafast", "threads": "1"}
            )
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 32), np.uint8), "yuv420p")
            frame.pts, frame.time_base = 0, Fraction(1, 25)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        with av.open(str(trial)) as read:  # some write anything into anything
            if [each.codec_context.name for each in read.streams.video] != ["h264"]:
                raise refused
    except (FFmpegError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES):
            raise
        raise refused from error
    if {*folder.iterdir()} - before != {trial}:
        raise refused
