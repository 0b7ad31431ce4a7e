"""Slow check of the whole: built, installed and run from elsewhere."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def test_the_wheel_carries_conf_and_studies_and_runs_from_any_folder(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip"]
    subprocess.run(
        [*pip, "wheel", "--quiet", "--no-deps", "-w", tmp_path, ROOT], check=True, timeout=300
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert f"stdo/conf/{path.relative_to(ROOT / 'conf')}" in names
    studies = {f"stdo/{path.relative_to(ROOT)}" for path in ROOT.glob("experiments/*/study.yaml")}
    assert {name for name in names if name.startswith("stdo/experiments")} == studies
    assert "stdo/py.typed" in names
    assert not any(name.startswith(("tests", "benchmarks")) for name in names)
    # The packages of this environment, but not its editable stdo: site-packages is named, its .pth
    # files are not read.
    packages = Path(pytest.__file__).parents[1]
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run(
        [*pip, "--python", python, "install", "--quiet", "--no-deps", wheel],
        check=True,
        timeout=300,
    )
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [tmp_path / "env" / "bin" / "stdo-train", "--cfg", "job", "study=table1", "chunks=7"],
        cwd=tmp_path / "elsewhere",
        env=os.environ | {"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "chunks: 7" in done.stdout
    assert "networks_alone: true" in done.stdout, "which table1 fixes"
    where = subprocess.check_output([python, "-c", "import stdo; print(stdo.__file__)"], text=True)
    assert where.startswith(str(tmp_path))
