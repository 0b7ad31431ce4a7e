"""The list of a sweep's jobs: complete, without doubles, whoever writes into it."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stdo.core.types import UserError
from stdo.runs import sweeps
from stdo.runs.sweeps import FAILED, FINISHED, Board, Outcome, Sweep, failures, job_command


def test_a_job_that_runs_again_takes_its_old_place(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, "mine")
    sweep.record(Outcome("a", None, FAILED, "no"))
    sweep.record(Outcome("b", "runs/b", FINISHED))
    sweep.record(Outcome("a", "runs/a", FINISHED))
    sweep.record(Outcome("other words for b", "runs/b", FINISHED))
    assert [(job.command, job.status) for job in Sweep(tmp_path, "mine").jobs()] == [
        ("a", FINISHED), ("other words for b", FINISHED),
    ]  # fmt: skip


def test_many_may_write_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda i: Sweep(tmp_path, "mine").record(Outcome(f"{i}", f"runs/{i}", FINISHED)),
                range(40),
            )
        )
    assert {job.command for job in Sweep(tmp_path, "mine").jobs()} == {str(i) for i in range(40)}
    assert len(list((tmp_path / "sweeps" / "mine").iterdir())) == 40, "a file for each, no lock"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"jobs": [{}]}', '{"jobs": 3}'])
def test_a_damaged_list_is_one_line(tmp_path: Path, content: str) -> None:
    sweep = Sweep(tmp_path, "mine")
    sweep.path.mkdir(parents=True)
    (sweep.path / "job-1.json").write_text(content)
    with pytest.raises(UserError, match="not a list of jobs"):
        sweep.jobs()


def test_the_command_repeats_the_job_and_not_the_sweep() -> None:
    overrides = ["study=table2", "method=nas", "hydra.job.chdir=true", "sampler.ratios=[1,0]"]
    words = job_command(overrides, study="table2")
    assert words == [
        "train.py",
        "study=table2",
        "method=nas",
        "sampler.ratios=[1,0]",
        "hydra.mode=RUN",
    ]
    assert job_command(["chunks=2"]) == ["train.py", "chunks=2"]


def test_failures_are_named_and_nothing_else() -> None:
    assert failures([Outcome("a", "runs/a", FINISHED)]) == ""
    text = failures([Outcome("a", "runs/a", FINISHED), Outcome("b", None, FAILED, "chunks=0: no")])
    assert text.splitlines()[1:] == ["  chunks=0: no", "    b"]


def test_the_command_keeps_what_chooses_its_files() -> None:
    overrides = [
        "seed=1",
        "hydra.searchpath=[file://my]",
        "hydra/sweeper=optuna",
        "hydra.mode=MULTIRUN",
    ]
    words = job_command(overrides, ["--config-dir", "my"])
    assert words == ["train.py", "--config-dir", "my", "seed=1", "hydra.searchpath=[file://my]"]
    own = job_command(
        ["study=ours", "experiment=x", *overrides], ["--config-dir", "my"], "my/ours.yaml"
    )
    assert own[3:] == [
        "study=my/ours.yaml",
        "experiment=x",
        "seed=1",
        "hydra.searchpath=[file://my]",
        "hydra.mode=RUN",
    ]


def test_a_job_of_another_machine_runs_while_it_shows_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "BEAT", 0.02)
    monkeypatch.setattr(sweeps, "SILENT", 0.5)
    board = Board(tmp_path)
    board.begin(0, "a command")
    file = tmp_path / "0.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"host": "elsewhere"}))
    began = time.monotonic()

    def work() -> None:
        with board.at_work(0):
            time.sleep(1.5)

    thread = threading.Thread(target=work)
    thread.start()
    board.wait([0], 0.1, poll=0.02)
    assert time.monotonic() - began > 1.5, "it was at work"
    thread.join()
    touched = file.stat().st_mtime_ns
    time.sleep(0.1)
    assert file.stat().st_mtime_ns == touched, "and is no longer"
