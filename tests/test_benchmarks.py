"""The benchmarks run, in small, and the GPU's checks itself where there is none."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from tiny_job import JOB

from stdo.player.runtime import PRECISIONS
from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

SCRIPTS = Path(__file__).parents[1] / "benchmarks"


def run(*words: object) -> str:
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.slow
def test_the_ways_of_the_gpu_benchmark_agree() -> None:
    rows = [
        line.split("\t")
        for line in run(SCRIPTS / "gpu.py", "--check").splitlines()
        if not line.startswith("#")
    ]
    assert {row[1] for row in rows[1:] if row[0] in ("one by one", "torch.func")} == {"agrees"}


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="would time the GPU")
def test_a_part_leaves_a_file_that_names_no_path(tmp_path: Path) -> None:
    run(SCRIPTS / "bench.py", "gpu", "--out", tmp_path)
    found = (tmp_path / "gpu.tsv").read_text()
    assert found.startswith("# gpu")
    assert "no GPU here" in found
    assert str(tmp_path.parent) not in found


@pytest.mark.slow
def test_what_precisions_cost_is_measured_on_delivered_runs(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.mp4", 96, 72, Fraction(25), "x264", crf=10) as writer:
        for frame in GeneratedClip(width=96, height=72, frames=3, rate=25, seed=0):
            writer.write(frame)
    command = [
        sys.executable,
        "-m",
        "stdo.train",
        *JOB,
        f"video.path={tmp_path / 'clip.mp4'}",
        "trainer=cpu",
        "deliver=true",
    ]
    subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=True)
    (metrics,) = tmp_path.glob("outputs/*/*/metrics.json")
    delivered = json.loads(metrics.read_text())["delivered"]["psnr"]["frame"]
    rows = [
        line.split("\t")
        for line in run(
            SCRIPTS / "precisions.py", metrics.parent, "--cache", tmp_path / "cache"
        ).splitlines()[2:]
    ]
    assert [row[2] for row in rows] == list(PRECISIONS)
    assert float(rows[0][3]) == pytest.approx(delivered, abs=6e-4)
    assert [float(rows[0][at]) for at in (4, 5, 6)] == [0, 0, 0]
    assert all(float(row[5]) > 0 and int(row[6]) >= 1 for row in rows[1:])


@pytest.mark.slow
def test_a_preparation_is_compared_with_the_published_way() -> None:
    code = """
import sys, tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import prepare
with tempfile.TemporaryDirectory() as folder:
    prepare.compare(None, 288, 3, 2, Path(folder))
    kept = {path.parent.name for path in Path(folder, "published", "HR").rglob("*.png")}
    assert kept == {"HR", "0", "1", "2", "3"}, kept
"""
    rows = run("-c", code, SCRIPTS).splitlines()
    assert [row.split("\t")[1] for row in rows[:2]] == ["published", "ours"]
    assert "ours over published" in rows[2]
