"""Terminals and logs that are not UTF-8: nothing raises; what one locale wrote another reads."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_job import JOB

from stdo.core.console import STAND_INS, prepare
from stdo.evaluation.table import _BARS
from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

TINY = [*JOB, "trainer=cpu", "trainer.precision=32-true"]  # fmt: skip
STRICT_C = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
NAME = "café ж"


def shown(stream: io.TextIOWrapper) -> bytes:
    stream.flush()
    return stream.buffer.getvalue()


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_signs_that_a_terminal_lacks_are_replaced_by_readable_ones(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", errors="strict")
    monkeypatch.setattr(sys, name, stream)
    prepare()
    stream.write("clip · ×2 – 1 ± 2 → 3… − 4 █ café ж 🎬 \udcff")
    assert (
        shown(stream) == rb"clip | x2 - 1 +- 2 -> 3... - 4 # caf\xe9 \u0436 \U0001f3ac " + b"\xff"
    )


def test_signs_that_it_has_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "iso8859-1", errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    prepare()
    stream.write("× · ± é – ж")
    assert shown(stream) == b"\xd7 \xb7 \xb1 \xe9 - \\u0436"


def test_a_bar_of_eight_heights_keeps_them() -> None:
    assert len({STAND_INS[bar] for bar in _BARS}) == len(_BARS)
    assert all(text.isascii() for text in STAND_INS.values())


def test_streams_that_cannot_be_set_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", object())
    prepare()


def test_a_program_that_calls_a_command_is_not_started_again(tmp_path: Path) -> None:
    code = (
        "import sys; print('started'); sys.argv = ['x', '--version']; "
        "from stdo.cli.train import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | STRICT_C,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["started", "stdo 0.1.0"]


@pytest.fixture(scope="module")
def latin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str] | None:
    """What sets the locale en_US in ISO 8859-1, where it can be made."""
    folder = tmp_path_factory.mktemp("locales")
    if shutil.which("localedef") is None:
        return None
    made = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", "./en_US.ISO-8859-1"]
    subprocess.run(made, cwd=folder, capture_output=True, check=False)
    return (
        {"LOCPATH": str(folder), "LC_ALL": "en_US.ISO-8859-1"} if list(folder.iterdir()) else None
    )


@pytest.fixture(scope="module")
def surroundings(latin: dict[str, str] | None) -> dict[str, dict[str, str]]:
    known = {
        "ascii": {"PYTHONIOENCODING": "ascii"},
        "latin-1": {"PYTHONIOENCODING": "latin-1"},
        "C": STRICT_C,
    }
    return known | ({"ISO 8859-1": latin} if latin else {})


def command(module: str, *words: str, cwd: Path, **environment: str) -> tuple[int, bytes]:
    done = subprocess.run(
        [sys.executable, "-m", f"stdo.{module}", *words], cwd=cwd, env=os.environ | environment,
        timeout=240, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def write_clip(folder: Path) -> None:
    source = GeneratedClip(width=64, height=48, frames=4, rate=25, seed=0)
    with VideoWriter(folder / f"{NAME}.mkv", 64, 48, source.info.rate, "ffv1") as writer:
        for frame in source:
            writer.write(frame)


@pytest.mark.slow
def test_a_run_under_a_locale_that_is_ascii_alone(tmp_path: Path) -> None:
    write_clip(tmp_path)
    code, said = command("train", *TINY, f"video.path={NAME}.mkv", cwd=tmp_path, **STRICT_C)
    assert code == 0, said.decode(errors="replace")
    assert b"caf\\xe9 \\u0436 | bstdo | espcn x2 | 2 chunks | 4 frames" in said
    (run,) = tmp_path.glob("outputs/café_ж/*/")
    code, said = command("report", f"runs={run}", cwd=tmp_path)
    assert code == 0 and f"{NAME} · espcn ×2 · 4 frames" in said.decode()


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, surroundings: dict[str, dict[str, str]]
) -> dict[str, Path]:
    """A run with its package, written under each of the surroundings and under none; by name."""
    found = {}
    first = tmp_path_factory.mktemp("clip")
    write_clip(first)
    for name, environment in {"UTF-8": {}, **surroundings}.items():
        folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
        shutil.copy(first / f"{NAME}.mkv", folder)  # Matroska files written twice differ
        words = [*TINY, f"video.path={NAME}.mkv", "deliver=true", "name=Größe"]
        if name == "ascii":
            words = ["-m", *words, "seed=0"]  # a sweep records what became of its jobs
        code, said = command("train", *words, cwd=folder, **environment)
        assert code == 0, said.decode(errors="replace")
        (found[name],) = folder.glob("outputs/café_ж/*/")
    return found


@pytest.mark.slow
def test_runs_are_the_same_wherever_they_were_made(runs: dict[str, Path]) -> None:
    names = {name: str(run.relative_to(run.parents[2])) for name, run in runs.items()}
    assert len(set(names.values())) == 1 and names["UTF-8"].startswith("outputs/café_ж/Größe-")
    for run in runs.values():
        assert f"{NAME}.mkv" in (run / "config.yaml").read_text(encoding="utf-8")
        assert {path.name for path in run.glob("*.stdo")} == {"café_ж.stdo"}
        assert json.loads((run / "metrics.json").read_text(encoding="utf-8"))["video"] == NAME
    (sweep,) = runs["ascii"].parents[1].glob("sweeps/*/job-*.json")
    assert [job["status"] for job in json.loads(sweep.read_text(encoding="utf-8"))["jobs"]] == [
        "finished"
    ]


@pytest.mark.slow
def test_each_is_read_under_the_others(
    runs: dict[str, Path], surroundings: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """Each run by one other, and every command under one that is not UTF-8."""
    names = list(runs)
    for index, (name, run) in enumerate(runs.items()):
        other = surroundings.get(names[(index + 1) % len(names)], {})
        code, said = command("evaluate", f"run={run}", cwd=run.parents[2], **other)
        assert code == 0, f"{name}: {said.decode(errors='replace')}"
    strict = surroundings.get("ISO 8859-1", STRICT_C)
    run = runs["UTF-8"]
    for module, *words in (
        ("deliver", f"run={run}", f"out={tmp_path}/ü.stdo", "weights.bits=16"),
        ("play", f"{tmp_path}/ü.stdo", f"{tmp_path}/ö.mp4"),
        ("report", f"runs={run.parent}", f"out={tmp_path}/Übersicht", "title=Größe"),
        ("export", f"run={run}", f"out={tmp_path}/ж"),
    ):
        code, said = command(module, *words, cwd=run.parents[2], **strict)
        assert code == 0, f"{module}: {said.decode(errors='replace')}"
    assert {path.name for path in tmp_path.iterdir()} == {"ü.stdo", "ö.mp4", "Übersicht", "ж"}


def test_the_terminal_keeps_its_encoding(latin: dict[str, str] | None, tmp_path: Path) -> None:
    if latin is None:
        pytest.skip("the locale cannot be made")
    code, said = command("train", "video.path=é–ж.mkv", cwd=tmp_path, **latin)
    assert code == 2
    assert (
        said.startswith(b"stdo: ")
        and b"\xe9-\\u0436.mkv: no such file" in said
        and said.count(b"\n") == 1
    )
