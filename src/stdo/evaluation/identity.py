"""Check that a video is the one that a run was trained on.

A run keeps the fingerprint of its video. Whoever opens a finished run with a video asks here first,
since figures and packages made of another one would be wrong without a sign of it.
"""

from __future__ import annotations

import sys
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np

from stdo.chunks.grid import PatchGrid
from stdo.chunks.score import squared_error
from stdo.core.foreign import open_below
from stdo.core.types import F32, I16, FrameSource, UserError
from stdo.evaluation.metrics import owned_psnr
from stdo.runs.directory import CHUNKS, MAPS
from stdo.video.clip import Clip
from stdo.video.degrade import BicubicUpscaler
from stdo.video.reader import FORMAT
from stdo.video.store import Prepared

FINGERPRINT = "fingerprint"
"""What results and the metadata of weights call the fingerprint of the run's video."""

_MOST = 1 << 31
"""Bytes of a run's maps.npz that are read."""

SAME = 0.01
"""dB by which bicubic's figures of a patch may differ: they are computed the same way from the same
pixels."""


def fingerprint_of(source: FrameSource) -> str:
    """What a run keeps of its video: the version of our conversion, then the hash of content and
    settings."""
    return f"{FORMAT} {source.fingerprint()}"


def check_source(where: Path, facts: Mapping[str, object], source: FrameSource) -> bool:
    """Compare a video with the one that a run was made on; nothing is decoded.

    Args:
        where: The run directory, for the message.
        facts: What the run knows of its video: metrics.json, or the facts in its weights.
        source: The video.

    Returns:
        True where it is known to be the same; False where the run is from before fingerprints were
        kept, or its frames were converted by other rules, so that only size and length could be
        compared.

    Raises:
        UserError: It is another video.
    """
    kept = facts.get(FINGERPRINT)
    if isinstance(kept, str) and kept.split(" ")[0] == FORMAT:
        if kept != fingerprint_of(source):
            raise _other(where, source, "its content, or which of its frames are used, differs")
        return True
    info = source.info
    size = facts.get("width", info.width), facts.get("height", info.height)
    if size != (info.width, info.height):
        raise _other(
            where,
            source,
            f"its frames have {info.width}x{info.height} pixels, not {size[0]}x{size[1]}",
        )
    frames = facts.get("frames")
    if isinstance(frames, int) and info.frames is not None and frames > info.frames:
        raise _other(where, source, f"it has {info.frames} frames, not {frames}")
    return False


def own_video(
    where: Path,
    facts: Mapping[str, object],
    labels_TRC: I16,
    clip: Clip,
) -> Prepared:
    """Open the video of a finished run, once it is known to be that.

    Args:
        where: The run directory.
        facts: What the run knows of its video, see `check_source`.
        labels_TRC: The run's labels.
        clip: The video, which is opened when nothing that is known beforehand speaks against it.

    Raises:
        UserError: It is another video.
    """
    known = check_source(where, facts, clip.source)
    video = clip.video
    check_labels(where, clip.source, labels_TRC, video, clip.grid, known)
    note = None if known else check_frames(where, clip.source, video, clip.grid)
    if note is not None:
        sys.stderr.write(f"note: {note}\n")
    return video


def check_labels(
    where: Path, source: FrameSource, labels_TRC: I16, video: Prepared, grid: PatchGrid, known: bool
) -> None:
    """Raise UserError unless a run's labels belong to a video of this length and to this grid of
    patches.

    Args:
        known: Whether the video is known to be the run's own, so that its labels are at fault.
    """
    wanted = (len(video.lr), grid.rows, grid.cols)
    if labels_TRC.shape != wanted:
        stored, found = ("x".join(map(str, shape)) for shape in (labels_TRC.shape, wanted))
        if known:
            raise UserError(
                f"{where / CHUNKS}: has labels of {stored} patches; the video has {found}"
            )
        raise _other(
            where, source, f"frames, rows and columns of its patches are {found}, not {stored}"
        )


def check_frames(where: Path, source: FrameSource, video: Prepared, grid: PatchGrid) -> str | None:
    """Compare decoded frames with what a run from before fingerprints kept of its own: bicubic's
    figures of each patch.

    Returns:
        A note where the run has no such figures, so that nothing could be compared; None where they
        are the same.

    Raises:
        UserError: It is another video.
    """
    wanted = (len(video.lr), grid.rows, grid.cols)
    kept_TRC = _kept_map(where, source, wanted)
    if kept_TRC is None:
        return (
            f"{where} does not tell which video it was made on; only size and number of frames "
            "were compared"
        )
    enlarge = BicubicUpscaler(video.scale)
    for t, kept_RC in enumerate(kept_TRC):
        hr_HWC = np.asarray(video.hr[t])[: video.height, : video.width]
        bicubic_HWC = enlarge(np.asarray(video.lr[t]))[: video.height, : video.width]
        found_RC = owned_psnr(squared_error(hr_HWC, bicubic_HWC), grid)
        if not np.allclose(found_RC, kept_RC, rtol=0, atol=SAME):
            raise _other(where, source, f"frame {t} has other pixels")
    return None


def _kept_map(where: Path, source: FrameSource, wanted: tuple[int, int, int]) -> F32 | None:
    """The patch map of bicubic that a run directory holds, float32 (T, rows, cols); None where
    there is none.

    The shape is compared before anything is allocated: a small file may claim a vast one.
    """
    try:
        with (
            open_below(where, MAPS, _MOST) as file,
            zipfile.ZipFile(file).open("bicubic.npy") as member,
        ):
            version = np.lib.format.read_magic(member)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(member)
            if dtype != np.float32 or len(shape) != len(wanted):
                return None
            if shape != wanted:
                stored, found = ("x".join(map(str, each)) for each in (shape, wanted))
                raise _other(
                    where,
                    source,
                    f"frames, rows and columns of its patches are {found}, not {stored}",
                )
            return np.frombuffer(member.read(4 * prod(wanted)), np.float32).reshape(wanted)
    except UserError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        RuntimeError,  # as of an encrypted member
    ):
        return None


def _other(where: Path, source: FrameSource, why: str) -> UserError:
    return UserError(
        f"{where}: {source.info.name} is not the video of this run ({why}); "
        "give the video it was trained on with video.path="
    )
