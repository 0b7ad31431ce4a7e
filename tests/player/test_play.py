"""The play command: a package into a file with its sound, or one line and nothing at all."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tiny_package import Made, changed, make

from stdo.cli.play import main
from stdo.player.client import Player
from stdo.video.images import ImageFolder
from stdo.video.reader import VideoFile

VARIABLE = [Fraction(t, 100) for t in (0, 3, 10, 12, 30, 31)]


def play(*arguments: object) -> None:
    main([str(each) for each in arguments])


def packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        stream = next(each for each in container.streams if each.type == kind)
        return [
            (p.pts * p.time_base, bytes(p))
            for p in container.demux(stream)
            if p.size and p.pts is not None
        ]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path, scale=2, width=96, height=64, frames=25, patch=(16, 16), sound=True)


def test_the_video_has_the_frames_at_their_times_and_the_sound_untouched(
    made: Made, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    play(made.path, out, "--threads", 2)
    frames = list(VideoFile(out))
    assert [frame.pts for frame in frames] == [Fraction(t, 25) for t in range(25)]
    for t, frame in enumerate(frames):  # brightness alone: 4:2:0 halves the resolution of colour
        assert (
            np.abs((frame.rgb_HWC.astype(int) - made.expected(t)) @ [0.2126, 0.7152, 0.0722]).mean()
            < 2.5
        )
    assert packets(out, "audio") == packets(tmp_path / "lr.mp4", "audio")
    with av.open(str(out)) as container:
        assert container.metadata["title"] == "tiny"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["lr.mp4", "out.mp4", "tiny.stdo"]


def test_a_stretch_has_the_sound_of_that_stretch(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    play(made.path, out, "--start", "0.4", "--duration", "0.32")
    assert [frame.pts for frame in VideoFile(out)] == [Fraction(t, 25) for t in range(8)]
    whole = {data: pts for pts, data in packets(tmp_path / "lr.mp4", "audio")}
    cut = packets(out, "audio")
    assert 13 <= len(cut) <= 17, "0.32 s are 15 packets of 1024 samples"
    for pts, data in cut:
        assert abs(whole[data] - Fraction(2, 5) - pts) < Fraction(1, 1000)


def test_pictures_are_the_players_bit_by_bit(made: Made, tmp_path: Path) -> None:
    play(
        made.path,
        tmp_path / "frames",
        "--frames",
        "png",
        "--duration",
        "0.2",
        "--max-network-bytes",
        "0",
    )
    pictures = [frame.rgb_HWC for frame in ImageFolder(tmp_path / "frames")]
    played = [rgb_HWC for _, rgb_HWC in Player(made.path, duration=0.2, max_network_bytes=0)]
    assert len(pictures) == len(played) == 5
    assert all(np.array_equal(one, other) for one, other in zip(pictures, played, strict=True))


def test_a_variable_rate_is_kept(tmp_path: Path) -> None:
    made = make(tmp_path, pts=VARIABLE, width=64, height=48)
    play(made.path, tmp_path / "out.mp4")
    assert [frame.pts for frame in VideoFile(tmp_path / "out.mp4")] == VARIABLE


def test_the_benchmark_prints_every_stage(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    play(made.path, "--benchmark", "--threads", 1)
    printed = capsys.readouterr().out
    assert "25 frames of 96x64, 1 threads" in printed
    for stage in ("decode", "networks", "whole", "whole/networks", "first frame"):
        assert f"\n{stage} " in printed


MISTAKES = {
    "no package": (["missing.stdo", "out.mp4"], "missing.stdo: no such file"),
    "a video instead of a package": (["lr.mp4", "out.mp4"], "lr.mp4: is not a package"),
    "no target": (["tiny.stdo"], "out: must be given"),
    "a target and a benchmark": (
        ["tiny.stdo", "out.mp4", "--benchmark"],
        "out: must be given, unless",
    ),
    "a folder that is not there": (["tiny.stdo", "none/out.mp4"], "there is no folder"),
    "the package as target": (["tiny.stdo", "tiny.stdo"], "is the package itself"),
    "no container": (["tiny.stdo", "out.txt"], "out.txt: is no video that can be written"),
    "a container without H.264": (
        ["tiny.stdo", "out.ivf"],
        "out.ivf: is no video that can be written",
    ),
    "a start that is no number": (
        ["tiny.stdo", "out.mp4", "--start", "x"],
        "--start: x: must be a number",
    ),
    "a start behind the end": (["tiny.stdo", "out.mp4", "--start", "60"], "no frame there"),
    "a bad option": (["tiny.stdo", "out.mp4", "--fast"], "unrecognized arguments: --fast"),
    "a bad kind of frames": (["tiny.stdo", "out", "--frames", "gif"], "invalid choice: 'gif'"),
    "a device that is not there": (
        ["tiny.stdo", "out.mp4", "--device", "TPU"],
        "device=TPU: must be one of",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_line_exit_code_2_and_no_file(
    kind: str,
    made: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    arguments, message = MISTAKES[kind]
    with pytest.raises(SystemExit) as stopped:
        play(*arguments)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message in error and error.startswith("stdo: ") and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("frames", [[], ["--frames", "png"]])
def test_a_package_that_turns_out_bad_while_playing_leaves_nothing(
    frames: list[str], made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make(other, frames=20, width=96, height=64, patch=(16, 16))
    bad = changed(made, tmp_path / "bad.stdo", lr=(other / "lr.mp4").read_bytes())
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as stopped:
        play(bad, tmp_path / "out.mp4", *frames)
    assert stopped.value.code == 2
    assert "it holds 20 frames" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU", "MULTI:CPU", "HETERO:CPU", "CPU.0"])
def test_whatever_openvino_calls_a_device(device: str, made: Made) -> None:
    ((_, expected),) = Player(made.path, duration=0.04)
    ((_, rgb_HWC),) = Player(made.path, duration=0.04, device=device)
    assert np.array_equal(rgb_HWC, expected)


def test_where_the_scheduler_cannot_be_asked(made: Made, tmp_path: Path) -> None:
    code = (
        "import os, sys; del os.sched_getaffinity; "
        "from stdo.cli.play import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, made.path, tmp_path / "out.mp4"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert len(list(VideoFile(tmp_path / "out.mp4"))) == 25


MODULES = (
    "av",
    "numpy",
    "openvino",
    "constriction",
    "argparse",
    "json",
    "pathlib",
    "fractions",
    "signal",
    "subprocess",
)


def test_a_strangers_folder_runs_no_code(made: Made, tmp_path: Path) -> None:
    """Modules of names that the player imports, in the folder where it is called and the package
    lies."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    made.path.rename(folder / "tiny.stdo")
    for name in MODULES:
        (folder / f"{name}.py").write_text("import os; os.mkdir('run'); raise SystemExit(3)")
    for command in (["-m", "stdo.play"], ["-P", "-m", "stdo.play"]):
        done = subprocess.run(
            [sys.executable, *command, "tiny.stdo", "out.mp4"],
            cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    left = {*MODULES, "tiny", "out"}
    assert {path.stem for path in folder.iterdir()} == left


def test_the_lab_is_not_needed(made: Made, tmp_path: Path) -> None:
    """In a process that cannot import what only the lab has."""
    lab = [
        "torch",
        "pytorch_lightning",
        "hydra",
        "omegaconf",
        "matplotlib",
        "PIL",
        "tqdm",
        "filelock",
        "safetensors",
    ]
    code = (
        f"import sys\nfor name in {[*lab, 'onnx', 'onnxruntime']}: sys.modules[name] = None\n"
        f"from stdo.cli.play import main\nmain([{str(made.path)!r}, {str(tmp_path / 'out.mp4')!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "25 frames" in done.stdout and not done.stderr
