"""Playing to standard output: frames bit by bit, sound untouched, and a quiet end."""

import os
import subprocess
import sys
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from tiny_package import Made, make

from stdo.cli.play import main
from stdo.player.client import Player

VARIABLE = [Fraction(t, 100) for t in (0, 3, 10, 12, 30, 31)]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path, scale=2, width=96, height=64, frames=25, patch=(16, 16), sound=True)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "stdo.play", *map(str, arguments)]


def piped(target: Path, *arguments: object) -> bytes:
    """Play through a pipe, which cannot be rewound, into a file. Returns what is on stderr."""
    with subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        target.write_bytes(process.stdout.read())
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return err


def frames_of(path: Path) -> list[tuple[Fraction, np.ndarray]]:
    with av.open(str(path)) as container:
        assert container.format.name == "nut"
        return [
            (Fraction(frame.pts) * frame.time_base, frame.to_ndarray())
            for frame in container.decode(container.streams.video[0])
        ]


def sound_of(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(container.streams.audio[0])
            if packet.size and packet.pts is not None
        ]


def test_the_stream_has_the_players_pixels_their_times_and_the_sound(
    made: Made, tmp_path: Path
) -> None:
    assert piped(tmp_path / "out", made.path, "-") == b""
    read = frames_of(tmp_path / "out")
    played = list(Player(made.path))
    lead = read[0][0]  # AAC begins 1024 samples of 48 kHz before the picture
    assert lead == Fraction(22, 1000)
    assert [pts - lead for pts, _ in read] == [pts for pts, _ in played]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(read, played, strict=True))
    sound = sound_of(tmp_path / "lr.mp4")
    heard = sound_of(tmp_path / "out")
    assert [data for _, data in heard] == [data for _, data in sound]
    for (at, _), (was, _) in zip(heard, sound, strict=True):
        assert abs(at - lead - was) <= Fraction(1, 10_000)


def test_frames_and_sound_come_by_their_times(made: Made, tmp_path: Path) -> None:
    piped(tmp_path / "out", made.path, "-", "--start", "0.2", "--duration", "0.4")
    with av.open(str(tmp_path / "out")) as container:
        times = [p.dts * p.time_base for p in container.demux() if p.size and p.dts is not None]
    behind = [before - after for before, after in pairwise(times)]
    assert max(behind) < Fraction(1, 1000)  # sound counts in other ticks
    shown = [pts for pts, _ in frames_of(tmp_path / "out")]
    assert [pts - shown[0] for pts in shown] == [Fraction(t, 25) for t in range(10)]


def test_a_variable_rate_is_kept(tmp_path: Path) -> None:
    made = make(tmp_path, pts=VARIABLE, width=64, height=48)
    piped(tmp_path / "out", made.path, "-")
    assert [pts for pts, _ in frames_of(tmp_path / "out")] == VARIABLE


def test_nobody_reading_on_is_a_quiet_end(made: Made) -> None:
    with subprocess.Popen(
        command(made.path, "-"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.read(20_000)  # of 460,000
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        assert (process.wait(120), err) == (0, b"")


def test_in_real_time_no_frame_is_early(made: Made) -> None:
    with subprocess.Popen(
        command(made.path, "-", "--realtime"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.read(96 * 64 * 3)
        began = time.monotonic()
        process.stdout.read()
        taken = time.monotonic() - began
    # The last of 25 frames is 0.96 s after the first, whose header and pixels came before
    assert taken > 0.8


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_one_line(made: Made) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command(made.path, "-"), stdout=full, stderr=subprocess.PIPE, check=False, timeout=120
        )
    assert done.returncode == 2
    assert done.stderr.decode().startswith("stdo: standard output: No space left on device")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["-", "--frames", "png"], "--frames png: writes a folder, and out is -"),
        (["out.mp4", "--realtime"], "--realtime: is for standard output"),
        (["--benchmark", "--realtime"], "--realtime: is for standard output"),
    ],
)
def test_a_mistake_is_one_line(
    options: list[str], line: str, made: Made, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(made.path), *options])
    out, err = capfd.readouterr()
    assert (stop.value.code, out, err.count("\n")) == (2, "", 1)
    assert line in err


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals")
def test_a_terminal_is_no_place_for_a_video(made: Made) -> None:
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            command(made.path, "-"), stdout=theirs, stderr=subprocess.PIPE, check=False, timeout=60
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    assert b"standard output is a terminal" in done.stderr


def test_options_may_stand_before_the_target(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    main([str(made.path), "--duration", "0.2", str(out)])
    assert out.stat().st_size
