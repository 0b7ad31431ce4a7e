"""Commands in surroundings that are not theirs: in a Slurm job of several runs, on file systems
without locks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from catalogues import needs_slurm
from tiny_job import JOB

from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

TINY = [*JOB, "trainer=cpu", "trainer.precision=32-true", "video.path=clip.mkv", "method=stdo"]
SLURM = {
    "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "pack", "SLURM_NTASKS": "4", "SLURM_NPROCS": "4",
    "SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost",
}  # fmt: skip
"""As ``srun -n 4`` sets them; it sets no SLURM_NTASKS_PER_NODE."""
WITHOUT_LOCKS = """
import errno, fcntl, os
def flock(file, operation):
    raise OSError(errno.{0}, os.strerror(errno.{0}))
fcntl.flock = flock
"""
NOTE = "note: this file system has no locks: run one process at a time"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = GeneratedClip(width=64, height=48, frames=4, seed=1)
    with VideoWriter(tmp_path / "clip.mkv", 64, 48, source.info.rate, "ffv1") as writer:
        for frame in source:
            writer.write(frame)
    return tmp_path


def start(folder: Path, module: str, *words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"stdo.{module}", *words],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def command(folder: Path, module: str, *words: str, **environment: str) -> tuple[int, str]:
    process = start(folder, module, *words, **environment)
    _, err = process.communicate(timeout=300)
    return process.returncode, err


@pytest.mark.slow
def test_four_runs_in_one_slurm_job(folder: Path) -> None:
    tasks = [
        start(
            folder,
            "train",
            *TINY,
            f"seed={task}",
            **SLURM,
            SLURM_PROCID=f"{task}",
            SLURM_LOCALID=f"{task}",
        )
        for task in range(4)
    ]
    for task in tasks:
        _, err = task.communicate(timeout=300)
        assert task.returncode == 0, err
    assert len(list(folder.glob("outputs/clip/*/metrics.json"))) == 4
    for curves in folder.glob("outputs/clip/*/curves.csv"):
        assert len(curves.read_text().splitlines()) > 1, (
            "the curve is written by the one process that there is"
        )


@pytest.mark.slow
def test_two_runs_by_srun(folder: Path) -> None:
    needs_slurm()
    run = f'exec {sys.executable} -m stdo.train "$@" seed=$SLURM_PROCID'
    words = ["srun", "--ntasks=2", "sh", "-c", run, "sh", *TINY]
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list(folder.glob("outputs/clip/*/metrics.json"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "left", [{"LOCAL_RANK": "1"}, {"RANK": "2", "WORLD_SIZE": "4"}, SLURM | {"SLURM_PROCID": "3"}]
)
def test_who_holds_the_lock_holds_it_whatever_a_launcher_left(
    left: dict[str, str], folder: Path
) -> None:
    for module, words in (("train", [*TINY, "deliver=true"]), ("evaluate", []), ("deliver", [])):
        run = next(iter(folder.glob("outputs/clip/*")), None)
        code, err = command(folder, module, *(words or [f"run={run}"]), **left)
        assert code == 0, err
    (run,) = folder.glob("outputs/clip/*")
    hold = "import sys; from pathlib import Path; from stdo.runs.directory import claimed\n"
    hold += "with claimed(Path(sys.argv[1])): print('holding', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, run],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | left,
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"holding\n"
    try:
        code, err = command(folder, "evaluate", f"run={run}", **left)
        assert code == 2
        assert f"this run is being worked on by process {holder.pid} on " in err.splitlines()[-1]
    finally:
        holder.communicate(timeout=60)
    assert holder.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("error", ["ENOSYS", "ENOLCK"])
def test_every_command_works_without_locks_and_says_so_once(error: str, folder: Path) -> None:
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(WITHOUT_LOCKS.format(error))
    path = os.pathsep.join([str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    code, err = command(folder, "train", *TINY, "deliver=true", PYTHONPATH=path)
    assert code == 0, err
    assert err.count(NOTE) == 1
    (package,) = folder.glob("outputs/clip/*/*.stdo")
    for module, words in (
        ("evaluate", [f"run={package.parent}"]),
        ("play", [str(package), "out.mp4"]),
    ):
        code, err = command(folder, module, *words, PYTHONPATH=path)
        assert (code, err.count(NOTE)) == (0, 1), err
    assert (folder / "out.mp4").stat().st_size > 0
    assert not list(folder.rglob("*.partial")), "what was written went away or got its name"
