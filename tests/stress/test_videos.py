"""Hostile videos by the hundred: cut, mutated and vast, within limits of time and memory; and
through the command."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

VIDEO_TESTS = Path(__file__).parents[1] / "video"
sys.path.append(str(VIDEO_TESTS))

from bad_videos import BAD, VAST, Bad  # noqa: E402
from odd_clips import changed, h264, made, scene, with_noise  # noqa: E402
from odd_videos import ODD, Odd  # noqa: E402
from test_odd_videos import scaled  # noqa: E402
from tiny_job import JOB  # noqa: E402

from stdo.core.types import Frame, UserError  # noqa: E402
from stdo.video.reader import VideoFile  # noqa: E402

pytestmark = pytest.mark.slow

NAMES = ["name that is not UTF-8", "name with quotes, % and a line break"]
TINY = [*JOB, "trainer=cpu", "paths.outputs=outputs", "paths.cache=cache"]
JUDGED = {
    name: odd
    for name, odd in ODD.items()
    if name not in ("pixel format that changes", "name that looks like a pattern")
}
"""What the ffmpeg program can be asked about: one filter graph, and no name that it takes for a
pattern."""
PLACES = 20
MUTATIONS = 100

WHOLE = {
    "mp4": h264("a.mp4", scene(40)),
    "mp4 with its index in front": h264("a.mp4", scene(40), container={"movflags": "faststart"}),
    "fragmented mp4": h264(
        "a.mp4", scene(40), g="10", container={"movflags": "frag_keyframe+empty_moov"}
    ),
    "mkv": made("a.mkv", scene(40)),
    "webm": made("a.webm", scene(40), codec="libvpx-vp9", crf="10", **{"cpu-used": "8"}),
    "ts": h264("a.ts", scene(40), bf="2"),
    "avi": made("a.avi", scene(40), codec="mpeg4", qscale="2"),
    "mpg": made("a.mpg", scene(40), codec="mpeg2video", qscale="2"),
    "h264": h264("a.h264", scene(40)),
    "mov": made("a.mov", scene(40), "yuvj420p", codec="mjpeg", span="full", qscale="2"),
}
COUNTED = ("mp4", "mp4 with its index in front", "mkv", "avi", "mov")
"""These say in their headers how long they are, so that what is missing is noticed."""
UNSIZED = ("ts", "h264")
"""These do not say how long their packets are."""
LIMITED = """
import json, pathlib, re, signal, sys, time
from stdo.core.types import UserError
from stdo.video.reader import VideoFile

def most() -> float:  # not ru_maxrss, which begins at that of the process that started this one
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s*(\\d+)", status)[1]) / 1024

before = most()
for path in sys.argv[1:]:
    signal.alarm(20)  # a hang kills the process
    began, frames = time.monotonic(), 0
    try:
        for frame in VideoFile(path, max_frames=100):
            frames += 1
        outcome = "read"
    except UserError as error:
        outcome = str(error)
    print(json.dumps([path, outcome, frames, time.monotonic() - began, most() - before]),\
 flush=True)
"""
"""Reads each file; prints what came of it, the frames, the seconds, and the most memory so far in
MiB."""


def read_apart(paths: list[Path]) -> list[tuple[str, str, int, float, float]]:
    """Read files in a process of their own, which must reach its end."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stdout[-500:], done.stderr[-2000:])
    assert done.stderr == ""
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def read(path: Path) -> tuple[list[Frame], str]:
    """The frames, or the line that refuses them."""
    try:
        return list(VideoFile(path)), ""
    except UserError as error:
        return [], str(error)


@pytest.mark.parametrize("kind", WHOLE)
def test_cut_anywhere_it_says_so_or_gives_the_frames_before(tmp_path: Path, kind: str) -> None:
    path = WHOLE[kind](tmp_path)
    content = path.read_bytes()
    whole = {frame.rgb_HWC.tobytes(): frame.pts for frame in VideoFile(path)}
    short = tmp_path / f"short{path.suffix}"
    said = 0
    for place in np.linspace(0, len(content), PLACES + 2)[1:-1].astype(int):
        short.write_bytes(content[:place])
        frames, message = read(short)
        if message:
            said += 1
            assert message.startswith(f"video.path={short}: ")
            offered = re.search(r"; video.max_frames=(\d+) uses the frames before that", message)
            frames = list(VideoFile(short, max_frames=int(offered[1]))) if offered else []
            assert not offered or len(frames) == int(offered[1])
        times = [whole.get(frame.rgb_HWC.tobytes()) for frame in frames]
        # The last bytes of the last frame of the file may be gone without its decoder or its
        # container noticing. Where nothing says how long a packet is, it may be a B-frame, with
        # others after it that were stored before it.
        assert None not in times[: -3 if kind in UNSIZED else -1] and times.count(None) <= 1, place
        # H.264 has no times; a B-frame that is gone there moves the frame after it
        if kind != "h264":
            assert all(
                time in (None, frame.pts) for time, frame in zip(times, frames, strict=True)
            ), place
    assert said >= PLACES - 2 or kind not in COUNTED


def test_vast_frames_are_refused_without_memory_for_them(tmp_path: Path) -> None:
    paths = []
    for index, bad in enumerate(VAST.values()):
        (tmp_path / str(index)).mkdir()
        paths.append(bad.make(tmp_path / str(index)))
    for path, outcome, frames, seconds, peak in read_apart(paths):
        assert outcome.startswith("video.path=") and not frames, path
        assert seconds < 5 and peak < 100, (path, seconds, peak)


@pytest.mark.parametrize("kind", WHOLE)
def test_mutations_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    """Bytes changed, most of them in the headers: frames or one line, within a second or so and 500
    MiB."""
    content = WHOLE[kind](tmp_path).read_bytes()
    rng = np.random.default_rng(0)
    paths = []
    for index in range(MUTATIONS):
        mutated = np.frombuffer(content, np.uint8).copy()
        reach = len(content) if index % 2 else min(len(content), 1000)
        begin = 0 if index % 4 else len(content) - reach  # MP4 keeps its index at the end
        places = begin + rng.integers(0, reach, rng.integers(1, 12))
        mutated[places] = rng.choice([0, 255, 127, rng.integers(256)], len(places))
        paths.append(tmp_path / f"{index}.{kind.split(maxsplit=1)[0].strip(',')}")
        paths[-1].write_bytes(mutated.tobytes())
    outcomes = read_apart(paths)
    assert len(outcomes) == MUTATIONS
    for path, outcome, frames, seconds, peak in outcomes:
        assert (outcome == "read" and frames) or outcome.startswith("video."), (path, outcome)
        assert "\n" not in outcome
        assert seconds < 10 and peak < 500, (path, outcome, seconds, peak)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the ffmpeg program is not there")
@pytest.mark.parametrize("odd", JUDGED.values(), ids=JUDGED)
def test_the_ffmpeg_program_gives_the_same_frames(tmp_path: Path, odd: Odd) -> None:
    """Another build of FFmpeg, which finds the stream, skips and orders the frames by itself."""
    import av

    path = odd.make(tmp_path)
    ours = [frame.rgb_HWC for frame in VideoFile(path)]
    with path.open("rb") as file, av.open(file) as container:
        stream = container.streams.video[0]
        frame = next(frame for packet in container.demux(stream) for frame in decoded(packet))
        steps = [("scale", scaled(odd, stream.codec.name, frame)), *odd.filters]
    chain = ",".join(f"{name}={arguments}".rstrip("=") for name, arguments in steps)
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-noautorotate",
        "-i",
        f"file:{path}",
        "-map",
        "0:v:0",
        "-vf",
        chain,
    ]
    command += ["-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    theirs = np.frombuffer(done.stdout, np.uint8).reshape(-1, *ours[0].shape).astype(int)
    assert len(ours) == len(theirs), done.stderr
    assert np.abs(np.array(ours) - theirs).max() <= 2


def decoded(packet) -> list:
    from av.error import InvalidDataError

    try:
        return packet.decode()
    except InvalidDataError:
        return []


def run_command(path: Path | str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stdo.train", *TINY, f"video.path={path}"],
        cwd=cwd,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=120,
        check=False,
    )


AT_THE_DOOR = [
    "URL, http", "text named .txt (ANSI art to FFmpeg)", "HLS playlist that names a FIFO",
    "GIF of 16000×16000 in 48 bytes", "noise in the middle (FFV1)", "size that changes",
]  # fmt: skip


@pytest.mark.parametrize("bad", [BAD[name] for name in AT_THE_DOOR], ids=AT_THE_DOOR)
def test_the_door_prints_one_line_and_leaves_nothing(tmp_path: Path, bad: Bad) -> None:
    path = bad.make(tmp_path)
    done = run_command(path, tmp_path)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("stdo: ")]
    assert bad.says in line and str(path) in line
    assert "Traceback" not in done.stderr
    left = {
        file.name
        for folder in ("cache", "outputs")
        for file in (tmp_path / folder).rglob("*")
        if file.is_file()
    }
    assert left <= {".lock", "config.yaml", "provenance.json"}


@pytest.mark.parametrize("name", NAMES)
def test_any_name_goes_through_the_door(tmp_path: Path, name: str) -> None:
    done = run_command(ODD[name].make(tmp_path), tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    (result,) = (tmp_path / "outputs").rglob("metrics.json")
    assert json.loads(result.read_text())["frames"] == len(ODD[name].times)


def test_frames_before_the_damage_can_be_used(tmp_path: Path) -> None:
    path = changed(made("a.mkv", scene(40)), with_noise)(tmp_path)
    refused = run_command(path, tmp_path)
    offered = re.search(r"video\.max_frames=\d+", refused.stderr)
    assert offered, refused.stderr
    done = subprocess.run(
        [sys.executable, "-m", "stdo.train", *TINY, f"video.path={path}", offered[0]],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
