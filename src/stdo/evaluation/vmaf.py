"""VMAF, by an FFmpeg program that was built with libvmaf."""

import json
import subprocess
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from stdo.core.types import U8, Json, UserError, VideoInfo
from stdo.video.writer import VideoWriter

_FILTER = (
    "[0:v]format=yuv444p[sr];[1:v]format=yuv444p[hr];"
    "[sr][hr]libvmaf=log_fmt=json:log_path=vmaf.json"
)


def has_vmaf(program: str = "ffmpeg") -> bool:
    """Whether this FFmpeg is there and has libvmaf."""
    try:
        listed = subprocess.run(  # noqa: S603
            [program, "-hide_banner", "-filters"], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return " libvmaf " in listed.stdout


def keep(path: Path, frames: Iterable[tuple[Fraction, U8]], info: VideoInfo) -> Path:
    """Write frames without loss, so that FFmpeg can read them: (time in seconds, uint8 (height,
    width, 3))."""
    with VideoWriter(path, info.width, info.height, info.rate, "ffv1") as writer:
        for frame in frames:
            writer.write(frame)
    return path


def vmaf(hr: Path, sr: Path, program: str = "ffmpeg") -> float:
    """Mean VMAF, 0 to 100, of a video against its ground truth, by libvmaf's default model (made
    for 1080 rows).

    Args:
        hr: Files without loss, see `keep`.
        sr: Files without loss, see `keep`.

    Raises:
        UserError: With FFmpeg's last line when it fails.
    """
    with TemporaryDirectory() as folder:
        inputs = ["-i", str(sr.absolute()), "-i", str(hr.absolute())]
        words = [program, "-nostdin", "-v", "error", *inputs, "-lavfi", _FILTER, "-f", "null", "-"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise UserError(
                f"{program}: VMAF of {sr.name} failed "
                f"({(done.stderr.strip().splitlines() or ['?'])[-1]})"
            )
        log: Json = json.loads((Path(folder) / "vmaf.json").read_text(encoding="utf-8"))
    return float(log["pooled_metrics"]["vmaf"]["mean"])
