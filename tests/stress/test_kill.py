"""Killed or asked to stop at any moment: the same command goes on, and nothing tells its result
from another one's.

``STDO_KILLS=100`` kills so often (30 unless told).
"""

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from commands import PHASES, TINY, Command, left_over, results, run, write_clip

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("STDO_KILLS", "30"))
CHAIN = 5
"""Kills of one run. With more, most would come late: a phase that is over does not come again."""
TRAIN = [*TINY, "budget.passes=10"]
SWEEP = ["-m", *TINY, "budget.passes=4", "method=awdnn,nas,jstdo", "++study=killed"]


def straight(words: list[str], folder: Path) -> dict:
    command = run(words, folder)
    assert command.process.returncode == 0, command.text
    return results(folder / "outputs")


def after_kills(words: list[str], folder: Path, kills: int, expected: dict) -> Counter[str]:
    """Kill a command at random moments of random phases, up to `CHAIN` times or until it has come
    to its end in spite of that; compare; begin anew, until so many were killed. Returns what they
    were at."""
    rng, at, chains = np.random.default_rng(0), Counter[str](), 0
    while at.total() < kills:
        chains += 1
        where = folder / f"{chains}"
        for _ in range(min(CHAIN, kills - at.total())):
            command = Command(words, where)
            if not command.comes_to(str(rng.choice(["start", *PHASES]))):
                break
            # Half of them at once: some phases are short
            time.sleep(rng.integers(2) * rng.uniform(0, 0.4))
            if command.kill() == 0:
                break
            at[command.phase] += 1
            assert len(left_over(where)) <= 4, "what was left half-written does not pile up"
        last = run(words, where)
        assert last.process.returncode == 0, last.text
        assert results(where / "outputs") == expected
        assert left_over(where) == []
        shutil.rmtree(where)
    return at


def test_a_run_that_is_killed_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    words = [*TRAIN, f"video.path={write_clip(tmp_path / 'clip.mkv')}"]
    expected = straight(words, tmp_path / "straight")
    assert [name for name in next(iter(expected.values())) if name.endswith(".stdo")] == [
        "clip.stdo"
    ]
    phases = after_kills(words, tmp_path / "killed", KILLS - KILLS // 3, expected)
    print(f"killed: {dict(phases)}")  # noqa: T201 - shown by -rP
    assert len(phases) >= min(4, KILLS // 5)


def test_a_sweep_that_is_killed_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    words = [*SWEEP, f"video.path={write_clip(tmp_path / 'clip.mkv')}"]
    expected = straight(words, tmp_path / "straight")
    assert len(expected) == 3
    phases = after_kills(words, tmp_path / "killed", KILLS // 3, expected)
    print(f"killed: {dict(phases)}")  # noqa: T201


@pytest.mark.parametrize(
    ("number", "phase"),
    [(signal.SIGINT, "train 1/2"), (signal.SIGTERM, "train 2/2"), (signal.SIGUSR1, "train 1/2")],
)
def test_who_is_asked_to_stop_saves_says_so_and_goes_on(
    number: signal.Signals, phase: str, tmp_path: Path
) -> None:
    words = [*TRAIN, f"video.path={write_clip(tmp_path / 'clip.mkv')}", "checkpoint_seconds=3600"]
    expected = straight(words, tmp_path / "straight")
    command = Command(words, tmp_path / "stopped")
    assert command.comes_to(phase)
    assert command.kill(number) == 128 + number
    assert command.last_lines()[0] == f"stdo: stopped by {number.name}; the same command resumes"
    assert "Traceback" not in command.text
    kept = [path.name for path in (tmp_path / "stopped").rglob("*.ckpt")]
    assert kept == ["start.ckpt" if phase == "train 1/2" else "last.ckpt"], (
        "nothing but the stop wrote it"
    )
    again = run(words, tmp_path / "stopped")
    assert again.process.returncode == 0, again.text
    assert results(tmp_path / "stopped" / "outputs") == expected
    assert left_over(tmp_path) == []


def test_a_process_of_a_distributed_fit_that_dies_ends_the_fit_and_the_command_goes_on(
    tmp_path: Path,
) -> None:
    words = [*TRAIN, f"video.path={write_clip(tmp_path / 'clip.mkv')}"]
    words += ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    command = Command(words, tmp_path / "work")
    assert command.comes_to("train")
    (child,) = subprocess.check_output(["pgrep", "-P", str(command.process.pid)], text=True).split()
    os.kill(int(child), signal.SIGKILL)
    assert command.end(60) not in (0, None), "no hang"
    again = run(words, tmp_path / "work")
    assert again.process.returncode == 0, again.text
    assert len(results(tmp_path / "work" / "outputs")) == 1
