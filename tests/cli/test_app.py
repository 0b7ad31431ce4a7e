"""Whose fault it was: what a task raises is shown whole, a wrong command line in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stdo.core.locks import BusyError, exclusive
from stdo.runs.sweeps import BUSY, FAILED, FINISHED, Outcome, finished_in, settled

BROKEN = """
import sys
from stdo.cli.app import enter

def task(config):
    import numpy as np
    return np.zeros(3).reshape(2, 2)

enter(task, "train")
"""

DONE = """
from pathlib import Path
from stdo.cli.app import enter

def task(config):
    if config.seed == 2:
        raise ZeroDivisionError("ours")
    return Path("done")

enter(task, "train")
"""


def run(folder: Path, text: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    (folder / "program.py").write_text(text, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "program.py", "video.path=x.mkv", *words], cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | env, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_fault_of_ours_is_no_mistake_of_the_users(tmp_path: Path) -> None:
    done = run(tmp_path, BROKEN)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "cannot reshape array" in done.stderr


@pytest.mark.parametrize("words", [["--info", "nothing"], ["-m", "--run"]])
def test_flags_that_cannot_be_are_one_line(tmp_path: Path, words: list[str]) -> None:
    done = run(tmp_path, BROKEN, *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_sweep_that_shows_tracebacks_ends_as_its_jobs_do(tmp_path: Path) -> None:
    fine = run(tmp_path, DONE, "-m", "seed=0,1", HYDRA_FULL_ERROR="1")
    assert "did not start" not in fine.stderr
    fails = run(tmp_path, DONE, "-m", "seed=1,2", HYDRA_FULL_ERROR="1")
    assert fails.returncode == 1
    assert "ZeroDivisionError: ours" in fails.stderr and "of 2 jobs" not in fails.stderr


def test_a_run_that_two_jobs_come_to_is_finished_for_both() -> None:
    jobs = [
        Outcome("one", "outputs/a", FINISHED),
        Outcome("two", "outputs/a", BUSY, "at work"),
        Outcome("three", "outputs/b", BUSY, "at work"),
        Outcome("four", None, FAILED, "x"),
    ]
    assert [each.status for each in settled(jobs)] == [FINISHED, FINISHED, BUSY, FAILED]
    assert finished_in(settled(jobs)) == [Path("outputs/a")]


def test_who_is_refused_a_lock_learns_which(tmp_path: Path) -> None:
    import pickle

    program = "import sys, time\nfrom pathlib import Path\nfrom stdo.core.locks import exclusive\n"
    program += "with exclusive(Path(sys.argv[1]), 'busy', 0):\n    print(flush=True)\n"
    program += "    time.sleep(60)\n"
    lock = tmp_path / "run" / ".lock"
    lock.parent.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", program, lock], stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(BusyError) as refused, exclusive(lock, "busy", 0):
            pass
        holder.kill()
    again = pickle.loads(pickle.dumps(refused.value))  # as launchers hand it on
    assert (again.lock, str(again)) == (lock, str(refused.value))
