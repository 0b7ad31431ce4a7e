"""Slow checks of whole programs: killed and started again; built, installed and run from elsewhere."""

import os
import signal
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

COMMAND = [
    sys.executable, "-m", "stdo.train", "backbone=espcn", "scale=2", "chunks=2", "budget.passes=40",
    "patches.height=24", "patches.width=32", "trainer=cpu", "trainer.precision=32-true", "checkpoint_seconds=0.2",
]  # fmt: skip


def weights(folder: Path) -> dict:
    (path,) = folder.glob("outputs/*/*/weights.safetensors")
    return load_file(path)


def test_killed_runs_end_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    source = GeneratedClip(width=192, height=144, frames=12)
    with VideoWriter(tmp_path / "clip.mkv", 192, 144, source.info.rate, "ffv1") as writer:
        for frame in source:
            writer.write(frame)
    command = [*COMMAND, f"video.path={tmp_path / 'clip.mkv'}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    folders = [tmp_path / "straight", tmp_path / "killed"]
    for folder in folders:
        folder.mkdir()
    began = time.monotonic()
    subprocess.run(command, cwd=folders[0], env=environment, check=True, timeout=300)
    length = time.monotonic() - began
    for share in (0.3, 0.5, 0.7, 0.85):
        running = subprocess.Popen(command, cwd=folders[1], env=environment)
        try:
            running.wait(length * share)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            running.wait(30)
    done = subprocess.run(command, cwd=folders[1], env=environment, check=True, timeout=300, capture_output=True)
    assert b"difference" in done.stdout
    straight, killed = map(weights, folders)
    assert straight.keys() == killed.keys()
    assert all((straight[name] == killed[name]).all() for name in straight)
    assert not list(folders[1].rglob("*.partial*"))


def test_the_wheel_carries_conf_and_runs_from_any_folder(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "-w", tmp_path, ROOT], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert f"stdo/conf/{path.relative_to(ROOT / 'conf')}" in names
    assert "stdo/py.typed" in names
    assert not any(name.startswith(("tests", "benchmarks")) for name in names)
    # The packages of this environment, but not its editable stdo: site-packages is named, its .pth files are not read.
    packages = Path(pytest.__file__).parents[1]
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--quiet", "--no-deps", wheel], check=True, timeout=300)
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [tmp_path / "env" / "bin" / "stdo-train", "--cfg", "job", "chunks=7"],
        cwd=tmp_path / "elsewhere",
        env=os.environ | {"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "chunks: 7" in done.stdout
    where = subprocess.check_output([python, "-c", "import stdo; print(stdo.__file__)"], text=True)
    assert where.startswith(str(tmp_path))
