"""What the tests of stdo.catalogue share: commands, and what they leave."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tiny_job import JOB


def needs_slurm() -> None:
    """Skip where no real Slurm is there to run jobs."""
    if importlib.util.find_spec("submitit") is None:
        pytest.skip("submitit is not installed (the extra cluster)")
    try:
        words = ["sinfo", "--noheader", "--states=idle,mixed", "--format=%D"]
        found = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no Slurm answers sinfo")
    if not found.stdout.strip():
        pytest.skip("no machine of Slurm is idle")


TINY = [*JOB, "trainer=cpu", "trainer.precision=32-true", "videos=films", "out=made"]


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stdo.catalogue", *words],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def catalogue(folder: Path, *words: str) -> tuple[int, str, str]:
    process = start(folder, *words)
    out, err = process.communicate(timeout=500)
    return process.returncode, out, err


def digests(made: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in made.glob("*.stdo")}


def statuses(made: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in made.glob("status/*.json")}


def worker_of(made: Path, key: str, state: str = "training", least: int = 0) -> int:
    """The process that is at a video, once it is that far, with so many steps done."""
    for _ in range(600):
        with suppress(OSError, ValueError, KeyError):
            found = statuses(made)[key]
            if found["state"] == state and found["step"] >= least:
                text = (made / "status" / f".{key}.lock.owner").read_text()
                return int(text.split()[1])
        time.sleep(0.1)
    raise AssertionError(f"{key} was never {state}")
