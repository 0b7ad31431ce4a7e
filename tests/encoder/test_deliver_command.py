"""Delivering as a user types it, and all that a package can have wrong, as a viewer meets it."""

import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import av
import pytest
from hydra.core.global_hydra import GlobalHydra
from test_stream import film, packets
from tiny_job import JOB
from tiny_package import Made, changed, make

from stdo.cli.deliver import main as deliver
from stdo.cli.play import main as play
from stdo.package import labels
from stdo.reporting.results import rows
from stdo.reporting.runs import collect

TINY = [*JOB, "trainer=cpu"]
ORDER = ["manifest.json", "graph.onnx", "weights.bin", "chunks.bin", "lr.mp4"]


def run_command(module: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"stdo.{module}", *arguments]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False, env=os.environ
    )


@pytest.mark.slow
def test_from_a_film_with_sound_to_a_film_with_sound(tmp_path: Path) -> None:
    film(tmp_path / "film.mp4", width=96, height=72)
    command = [
        *TINY,
        "experiment=delivery",
        "video.path=film.mp4",
        "video.start=0.5",
        "video.duration=1.5",
    ]
    first = run_command("train", *command, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "bytes     lr " in first.stdout and "audio" in first.stdout
    (run,) = (tmp_path / "outputs" / "film").iterdir()
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["bytes"]["total"] == (run / "film.stdo").stat().st_size
    assert abs(metrics["delivered"]["psnr"]["frame"] - metrics["psnr"]["frame"]) < 0.05
    (row,) = rows(collect([tmp_path / "outputs"]))
    assert (
        row["bytes_total"] == metrics["bytes"]["total"]
        and row["delivered_frame"] == metrics["delivered"]["psnr"]["frame"]
    )

    written = (run / "film.stdo").stat().st_mtime_ns
    again = run_command("train", *command, cwd=tmp_path)
    assert again.stdout == first.stdout
    assert (run / "film.stdo").stat().st_mtime_ns == written, "it was there already"

    played = run_command("play", str(run / "film.stdo"), "out.mp4", cwd=tmp_path)
    assert played.returncode == 0, played.stderr
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.metadata["title"] == "A film"
        assert (container.streams.video[0].width, container.streams.video[0].height) == (96, 72)
    assert packets(tmp_path / "out.mp4") == packets(run_stream(run, tmp_path))

    folder = run_command(
        "deliver", f"run={run}", "unpacked=true", "out=folder", "weights.bits=16", cwd=tmp_path
    )
    assert folder.returncode == 0, folder.stderr
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == sorted(ORDER)
    assert "dB at 16 bits" in folder.stdout


def run_stream(run: Path, folder: Path) -> Path:
    with zipfile.ZipFile(run / "film.stdo") as archive:
        return Path(archive.extract("lr.mp4", folder))


MISTAKES = {
    "no run": ([], "run: must be given"),
    "not a run": (["run={nowhere}"], "not a run directory"),
    "bits": (["run={nowhere}", "weights.bits=5"], "weights.bits=5: must be one of 4, 6, 8, 16, 32"),
    "unpacked": (["run={nowhere}", "unpacked=maybe"], "unpacked=maybe: must be true or false"),
    "out": (["run={nowhere}", "out=''"], "out=: must be a text"),
    "setting": (["run={nowhere}", "bits=8"], "bits: no such setting"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(
    mistake: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments, said = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["stdo-deliver", *[a.format(nowhere=tmp_path / "nowhere") for a in arguments]]
    )
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as stopped:
        deliver()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stdo: ") and said in line
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("made"), frames=3)


def refused(package: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the player says of a bad package: one line, exit code 2, and nothing is left."""
    out = package.parent / "played"
    out.mkdir(exist_ok=True)
    with pytest.raises(SystemExit) as stopped:
        play([str(package), str(out / "out.mp4"), "--threads", "1"])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"stdo: {package}: ") and len(line) < 500 + len(str(package))
    assert not list(out.iterdir())
    return line


def other_package(folder: Path) -> Path:
    folder.mkdir()
    return make(folder, scale=3, frames=4, networks=1, network_of=(0, 0)).path


@pytest.mark.parametrize("member", ORDER)
def test_members_missing_cut_short_damaged_or_swapped(
    member: str, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = other_package(tmp_path / "other")
    for harm in ("missing", "truncated", "flipped", "swapped"):
        bad = tmp_path / "bad"
        shutil.rmtree(bad, ignore_errors=True)
        with zipfile.ZipFile(made.path) as archive:
            archive.extractall(bad)
        content = (bad / member).read_bytes()
        if harm == "swapped":
            with zipfile.ZipFile(other) as archive:
                content = archive.read(member)
        elif harm == "flipped":
            content = content[:-1] + bytes([content[-1] ^ 4])
        (bad / member).write_bytes(content[: len(content) // 2] if harm == "truncated" else content)
        if harm == "missing":
            (bad / member).unlink()
        refused(bad, capsys)


@pytest.mark.slow
def test_one_bit_anywhere(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, drawn = made.path.read_bytes(), random.Random(0)
    bad = tmp_path / "bad.stdo"
    for position in (
        0,
        10,
        len(whole) - 1,
        len(whole) - 60,
        *(drawn.randrange(len(whole)) for _ in range(100)),
    ):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << drawn.randrange(8)
        bad.write_bytes(damaged)
        refused(bad, capsys)


def test_cut_short_or_something_else(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, bad = made.path.read_bytes(), tmp_path / "bad.stdo"
    for length in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        bad.write_bytes(whole[:length])
        assert "cut short" in refused(bad, capsys)
    film(bad.with_suffix(".mp4")).rename(bad)
    assert "is not a package" in refused(bad, capsys)


def test_labels_that_name_a_network_that_is_not_there(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = made.labels.copy()
    wild[1] = 4
    bad = changed(made, tmp_path / "bad.stdo", chunks=labels.encode(wild, 5))
    refused(bad, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2**30])
def test_a_bomb_costs_no_memory(size: int, made: Made, tmp_path: Path) -> None:
    """The client's memory, measured from outside, when weights.bin unpacks to a gigabyte; 1: for
    comparison."""
    bad = tmp_path / "bad.stdo"
    with (
        zipfile.ZipFile(made.path) as archive,
        zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out,
    ):
        for name in ORDER:
            with out.open(name, "w") as file:
                for _ in range(max(1, size >> 20) if name == "weights.bin" else 0):
                    file.write(bytes(min(size, 1 << 20)))
                file.write(archive.read(name) if name != "weights.bin" else b"")
    play = [sys.executable, "-m", "stdo.play", str(bad), "out.mp4"]
    watcher = "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode\n"
    # A small parent: peaks are inherited
    watcher += "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    command = [sys.executable, "-c", watcher, *play]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    code, kilobytes = map(int, done.stdout.split())
    assert code == 2 and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out.mp4").exists()
    assert kilobytes < 1 << 20
