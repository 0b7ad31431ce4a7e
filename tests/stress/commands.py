"""Commands that are killed, starved and run beside each other."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors import safe_open

from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

LIMIT = 300
"""Seconds after which a command counts as hanging."""

TINY = [
    "backbone=espcn", "scale=2", "chunks=2", "patches.height=24", "patches.width=32", "trainer=cpu",
    "trainer.precision=32-true", "checkpoint_seconds=0.2", "deliver=true",
]  # fmt: skip
"""A run of a few seconds with all that a run has, to the package. On one thread its result is
always the same."""

PHASES = (
    "decode", "degrade", "score", "train", "train 1/2", "rescore", "train 2/2", "evaluate",
    "package", "measure",
)  # fmt: skip
"""The bars on the terminal, in their order. A fit has one phase or two."""


def write_clip(path: Path, frames: int = 12, seed: int = 0) -> Path:
    """A lossless clip of 192x144."""
    source = GeneratedClip(width=192, height=144, frames=frames, seed=seed)
    with VideoWriter(path, 192, 144, source.info.rate, "ffv1") as writer:
        for frame in source:
            writer.write(frame)
    return path


class Command:
    """``python -m stdo.<module> words`` in its folder, under way."""

    def __init__(
        self, words: Sequence[str], cwd: Path, module: str = "train", **environment: str
    ) -> None:
        cwd.mkdir(parents=True, exist_ok=True)
        self._log = cwd.parent / f"{cwd.name}.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"stdo.{module}", *words],
                cwd=cwd,
                env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        """What it printed so far."""
        return self._log.read_text(errors="replace")

    @property
    def phase(self) -> str:
        """What it is at, or was when it ended."""
        shown = re.findall(rf"\b({'|'.join(PHASES)}): +\d+%", self.text)
        return shown[-1] if shown else "start"

    def comes_to(self, phase: str) -> bool:
        """Wait until it is at a phase or beyond. Returns False when it has ended before."""
        wanted = PHASES[PHASES.index(phase) :] if phase in PHASES else ("start", *PHASES)
        until = time.monotonic() + LIMIT
        while self.phase not in wanted:
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < until, self.text
            time.sleep(0.02)
        return True

    def end(self, seconds: float = LIMIT) -> int:
        """Wait for its end. Returns the exit code; a command that hangs is killed and raises
        TimeoutExpired."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal to it and all that it started, and wait."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        return self.process.wait(LIMIT)

    def last_lines(self, count: int = 1) -> list[str]:
        """What it printed last, without bars."""
        lines = [line for line in re.split(r"[\r\n]+", self.text) if line.strip()]
        return lines[-count:]


def run(words: Sequence[str], cwd: Path, **environment: str) -> Command:
    """A training command, ended."""
    command = Command(words, cwd, **environment)
    command.end()
    return command


def results(outputs: Path) -> dict[str, dict[str, object]]:
    """Everything that runs have to show, by run and file, without seconds: equal for equal runs,
    bit for bit."""
    return {
        str(path.parent.relative_to(outputs)): _result(path.parent)
        for path in outputs.rglob("metrics.json")
    }


def _result(run: Path) -> dict[str, object]:
    metrics = json.loads((run / "metrics.json").read_text())
    metrics.pop("seconds")
    found: dict[str, object] = {"metrics": metrics, "frames": (run / "frames.csv").read_bytes()}
    with safe_open(run / "weights.safetensors", "numpy") as file:
        found |= {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118 - no mapping
    for name in ("chunks.npz", "maps.npz"):
        with np.load(run / name) as arrays:
            found |= {f"{name} {key}": arrays[key].tobytes() for key in arrays}
    with (run / "curves.csv").open(newline="") as file:
        found["curves"] = [{**row, "seconds": ""} for row in csv.DictReader(file)]
    found |= {path.name: path.read_bytes() for path in (*run.glob("*.stdo"), *run.glob("*.png"))}
    return found


def left_over(folder: Path) -> list[Path]:
    """Half-written files."""
    return [path for path in folder.rglob("*") if ".partial" in path.name]
