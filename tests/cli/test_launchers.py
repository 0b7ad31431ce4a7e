"""The same end of a sweep whatever launcher runs its jobs; those that are not installed skip."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from catalogues import needs_slurm
from tiny_job import tiny_clip

from stdo.core.types import UserError
from stdo.metrics.registry import OPTIONAL
from stdo.runs.objective import check_objective, figure, figures

TINY = [
    "backbone=espcn", "patches.height=12", "patches.width=16", "budget.passes=1", "trainer=cpu",
    "trainer.precision=32-true", "video.path=clip.mkv", "scale=2", "chunks=2",
]  # fmt: skip
PLUGINS = {
    "basic": "hydra",
    "joblib": "hydra_plugins.hydra_joblib_launcher",
    "submitit_local": "hydra_plugins.hydra_submitit_launcher",
    "submitit_slurm": "hydra_plugins.hydra_submitit_launcher",
    "ray": "hydra_plugins.hydra_ray_launcher",
}

SCORERS = """
import os, signal, time

def fine(lr):
    return lr.repeat(2, 0).repeat(2, 1)

def dies(lr):
    time.sleep(2)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def needs(name: str) -> None:
    if not installed(PLUGINS.get(name, f"hydra_plugins.hydra_{name}_sweeper")):
        pytest.skip(f"hydra's {name} is not installed (the extra cluster)")
    if name == "submitit_slurm":
        needs_slurm()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_clip(tmp_path / "clip.mkv")
    (tmp_path / "scorers.py").write_text(SCORERS)
    return tmp_path


def train(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = f"{folder}:{os.environ.get('PYTHONPATH', '')}"
    return subprocess.run(
        [sys.executable, "-m", "stdo.train", *words], cwd=folder,
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=500,
        check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("launcher", PLUGINS)
def test_every_launcher_ends_a_sweep_in_the_same_way(launcher: str, folder: Path) -> None:
    needs(launcher)
    done = train(
        folder, "-m", f"hydra/launcher={launcher}", *TINY, "method=nas", "seed=0,1",
        "optim.lr=0.001,-1",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert re.search(r"^NAS k=2 .* 2 ", done.stdout, re.MULTILINE)
    words = " ".join(TINY).replace(" trainer.", " ++trainer.")  # as Hydra needs it
    lines = ["of 4 jobs 2 failed; the same command tries them again:"]
    for seed in (0, 1):
        lines += [
            "  optim.lr=-1: must be a number above 0",
            f"    python -m stdo.train {words} method=nas seed={seed} optim.lr=-1",
        ]
    assert "\n".join(lines) in done.stderr  # Ray's own processes may speak later
    files = list((folder / "outputs" / "sweeps").glob("*/job-*.json"))
    assert len(files) == 4
    jobs = [json.loads(file.read_text())["jobs"][0] for file in files]
    assert sorted(job["status"] for job in jobs) == ["failed"] * 2 + ["finished"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [name for name in PLUGINS if name != "basic"])
def test_a_job_whose_process_dies_is_listed_and_the_others_end(launcher: str, folder: Path) -> None:
    needs(launcher)
    done = train(
        folder, "-m", f"hydra/launcher={launcher}", *TINY, "method=stdo", "scorer=network",
        "scorer.function=scorers:dies,scorers:fine",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "of 2 jobs 1 failed; the same command tries them again:" in done.stderr
    assert re.search(r"^  did not end \(", done.stderr, re.MULTILINE)
    (listed,) = [line for line in done.stderr.splitlines() if line.startswith("    python -m")]
    assert listed.endswith("scorer.function=scorers:dies"), "as it is typed"
    assert "STDO k=2" in done.stdout.rpartition("bicubic")[2], "the other is in the table"


@pytest.mark.slow
def test_jobs_of_slurm_that_wait_are_waited_for_after_one_died(folder: Path) -> None:
    needs("submitit_slurm")
    done = train(
        folder, "-m", "hydra/launcher=submitit_slurm", "hydra.launcher.array_parallelism=1", *TINY,
        "method=stdo", "scorer=network", "scorer.function=scorers:dies,scorers:fine", "seed=0,1",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "of 4 jobs 2 failed; the same command tries them again:" in done.stderr
    died = r"^  did not end \(Slurm: \d+_0 FAILED, \d+_1 FAILED\)$"
    assert len(re.findall(died, done.stderr, re.MULTILINE)) == 2
    assert len(list(folder.glob("outputs/*/*/metrics.json"))) == 2


@pytest.mark.slow
def test_what_slurm_refuses_is_one_line(folder: Path) -> None:
    needs("submitit_slurm")
    done = train(
        folder, "-m", "hydra/launcher=submitit_slurm", *TINY, "seed=0,1",
        "hydra.launcher.partition=nowhere",
    )  # fmt: skip
    assert done.returncode == 2
    said = "stdo: hydra/launcher=submitit_slurm: sbatch: error: invalid partition specified: nowhe"
    assert done.stderr.splitlines()[-1].startswith(said)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [name for name in PLUGINS if name != "basic"])
def test_jobs_at_once_that_are_one_run_all_end_with_it(launcher: str, folder: Path) -> None:
    needs(launcher)
    done = train(
        folder, "-m", f"hydra/launcher={launcher}", *TINY, "method=awdnn",
        "budget.equal=batch,steps", "budget.passes=20",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list(folder.glob("outputs/*/*/metrics.json"))) == 1


@pytest.mark.slow
def test_optuna_looks_for_the_highest_of_a_chosen_figure(folder: Path) -> None:
    needs("optuna")
    done = train(
        folder, "-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1",
        "objective=ssim", *TINY, "method=nas", "optim.lr=interval(0.001,0.01)",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "note: the sweeper looks for the highest ssim; " in done.stderr
    results = [json.loads(path.read_text()) for path in folder.glob("outputs/*/*/metrics.json")]
    best = max(result["ssim"] for result in results)
    assert f"highest ssim: {best:.4g}, " in done.stdout
    (file,) = folder.glob("outputs/.sweeps/*/optimization_results.yaml")
    found = re.search(r"best_value: (\S+)", file.read_text())
    assert found is not None and float(found[1]) == pytest.approx(best)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "seed=range(5,5)"], "no job: a setting that is swept has no values"),
        (["-m", "seed=0,1", "objective=psnr.fram"], "did you mean psnr.frame?"),
        (["objective=psnr.fram"], "did you mean psnr.frame?"),
        (["-m", "seed=0,1", "objective=bytes.total"], "add deliver=true"),
    ],
)
def test_what_cannot_be_searched_is_one_line_before_training(
    words: list[str], said: str, folder: Path
) -> None:
    done = train(folder, *TINY, *words)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("stdo: ") and said in done.stderr
    assert not (folder / "outputs" / "clip").exists()


@pytest.mark.parametrize("word", ["hydra/launcher=ray", "hydra/sweeper=optuna"])
def test_what_is_not_installed_is_one_line(word: str, folder: Path) -> None:
    name = word.partition("=")[2]
    if installed(PLUGINS.get(name, f"hydra_plugins.hydra_{name}_sweeper")):
        pytest.skip("it is installed")
    done = train(folder, "-m", word, "seed=0,1")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"stdo: {word}: is not installed; pip install hydra-{name}-")


def test_a_figure_is_found_by_its_name() -> None:
    metrics = {"psnr": {"frame": 30.5}, "ssim": None, "bytes": {"total": 7}, "video": "clip"}
    assert figure(metrics, "psnr.frame") == 30.5
    assert figure(metrics, "bytes.total") == 7.0
    for name in ("ssim", "psnr", "psnr.y", "video", "psnr.frame.x"):
        assert figure(metrics, name) is None
    assert {"psnr.frame", "ssim", "delivered.psnr.frame", "bytes.total"} <= set(figures())
    assert not {"video", "seed", "scale", "delivered.codec"} & set(figures())
    for name in figures():
        check_objective(name, delivers=True, metrics=OPTIONAL)
    with pytest.raises(UserError, match=r"^objective=video: must be a figure of metrics.json"):
        check_objective("video", delivers=True)
