"""What Slurm says of jobs, and what they leave; no Slurm is needed here. Tests of one that answers
are in test_catalogue_engines.py, test_launchers.py and test_surroundings.py."""

import os
import signal
import subprocess
from pathlib import Path
from types import FrameType, SimpleNamespace

import pytest

from stdo.cli.slurm import Queue, cancel_waiting, in_time, outside_of_job
from stdo.cli.submitted import OfSlurm, Submitit
from stdo.core.signals import Stopped
from stdo.core.types import UserError


class Slurm:
    """Answers as ``squeue`` does, and a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.states: dict[str, str] = {}
        self.broken = False

    def ask(self) -> str:
        if self.broken:
            raise subprocess.CalledProcessError(1, "squeue", stderr="Unable to contact slurm\n")
        return "".join(f"{job}|{state}\n" for job, state in self.states.items())

    def queue(self) -> Queue:
        return Queue(self.ask, lambda: self.now)

    def later(self, seconds: float = 15.0, **states: str) -> None:
        self.now += seconds
        self.states |= {name.lstrip("j"): state for name, state in states.items()}


def test_a_job_has_ended_when_slurm_says_so_or_forgets_it() -> None:
    slurm = Slurm()
    queue = slurm.queue()
    slurm.later(j3_0="PENDING", j3_1="RUNNING", j14="COMPLETING")
    for job in slurm.states:
        assert not queue.is_done(job)
    slurm.later(j3_0="RUNNING", j3_1="OUT_OF_MEMORY", j14="CANCELLED by 0")
    assert [queue.get_state(job) for job in slurm.states] == list(slurm.states.values())
    assert queue.left() == 1
    slurm.later(j3_0="PENDING")  # Slurm has queued it again after its machine was lost
    assert not queue.is_done("3_0")
    slurm.states.clear()
    slurm.later()
    assert not queue.is_done("3_0"), "one answer without it proves nothing"
    slurm.later()
    assert queue.is_done("3_0") and queue.get_state("3_0") == "no longer in the queue"
    assert queue.left() == 0
    assert queue.died() == "Slurm: 3_1 OUT_OF_MEMORY, 14 CANCELLED by 0"
    assert queue.to_end() == ""


def test_slurm_is_asked_seldom() -> None:
    slurm = Slurm()
    queue = slurm.queue()
    slurm.later(j1="RUNNING", j2="RUNNING")
    assert not queue.is_done("1") and not queue.is_done("2")
    slurm.later(1, j1="FAILED")
    assert not queue.is_done("1") and queue.is_done("1", mode="force")
    assert queue.to_end() == "note: jobs of Slurm go on; scancel 2 ends them\n"


def test_a_controller_that_is_away_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    slurm = Slurm()
    queue = slurm.queue()
    slurm.later(j1="RUNNING")
    queue.is_done("1")
    slurm.broken = True
    for _ in range(20):
        slurm.later()
        assert not queue.is_done("1")
    said = capsys.readouterr().err
    assert said.count("note: Slurm has not answered for ") == 1
    assert "Unable to contact slurm" in said
    slurm.broken = False
    slurm.later(j1="FAILED")
    assert queue.is_done("1")


def job(folder: Path, name: str) -> SimpleNamespace:
    """A job as submitit has it."""
    paths = SimpleNamespace(folder=folder, result_pickle=folder / name, stderr=folder / "log.err")
    return SimpleNamespace(job_id=name, paths=paths, state="?", result=lambda: "done")


def test_a_job_without_a_result_has_died_some_seconds_after_its_end(tmp_path: Path) -> None:
    slurm = Slurm()
    outcome_of = OfSlurm(slurm.queue(), lambda: slurm.now)
    killed, ended = job(tmp_path, "5_0"), job(tmp_path, "5_1")
    slurm.later(j5_0="RUNNING", j5_1="COMPLETED")
    assert outcome_of(killed) is None and outcome_of(ended) is None
    (tmp_path / "5_1").touch()  # which a shared disk shows late
    slurm.later(j5_0="FAILED")
    assert outcome_of(ended) == "done"
    assert outcome_of(killed) is None
    slurm.later()
    assert outcome_of(killed) == f"its job 5_0 died (FAILED); see {tmp_path / 'log.err'}"


def test_the_commands_of_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("squeue", "scancel"):
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\necho "$0 $* [$SQUEUE_STATES]" >> {tmp_path}/said\n')
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SQUEUE_STATES", "PENDING")
    Queue().is_done("1")
    cancel_waiting("stdo-ab")
    asked, ended = (tmp_path / "said").read_text().splitlines()
    assert "--array --states=all --format=%i|%T" in asked and asked.endswith("[]")
    assert f"--user={os.getuid()} --name=stdo-ab --state=PENDING" in ended


def test_jobs_do_not_inherit_the_job_around_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which ``srun`` would take the number of tasks, and the memory, for its own."""
    kept = {"SLURM_CONF": "/etc/slurm.conf", "SBATCH_ACCOUNT": "video"}
    for name, value in ({"SLURM_NTASKS": "2", "SLURM_MEM_PER_CPU": "100"} | kept).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with outside_of_job():
        assert os.environ["SLURM_NTASKS"] == "2", "a user's own, there is no job around"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    before = dict(os.environ)
    with outside_of_job():
        left = {name: value for name, value in os.environ.items() if name in before}
        assert {name for name in before if name not in left} == {
            "SLURM_NTASKS", "SLURM_MEM_PER_CPU", "SLURM_JOB_ID",
        }  # fmt: skip
        assert left.items() >= kept.items()
    assert dict(os.environ) == before


@pytest.mark.parametrize(("minutes", "seconds"), [(1, 15), (4, 60), (1440, 90)])
def test_a_job_of_few_minutes_is_not_warned_when_it_begins(minutes: int, seconds: int) -> None:
    settings = {"minutes": minutes, "memory": None, "partition": None, "account": None}
    found = Submitit(1, 1, 0, 0, settings)._parameters("slurm")
    assert (found["timeout_min"], found["slurm_signal_delay_s"]) == (minutes, seconds)


@pytest.mark.parametrize("again", [True, False])
def test_a_job_of_a_sweep_that_is_warned_saves_first(
    again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def submitits(number: int, frame: FrameType | None) -> None:
        if not again:
            raise RuntimeError("Job not requeued because: timed-out too many times.")
        done.append("queued again")
        raise SystemExit(-1)

    def fit() -> None:
        with in_time():
            try:
                signal.raise_signal(signal.SIGUSR2)
            except Stopped:
                done.append("saved")
                raise

    before = signal.signal(signal.SIGUSR2, submitits)
    try:
        with pytest.raises(SystemExit) if again else pytest.raises(RuntimeError):
            fit()  # no job of submitit's: its handler is as it was
        done.clear()
        monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
        if again:
            with pytest.raises(SystemExit):
                fit()
        else:
            with pytest.raises(UserError, match=r"^the time of its job was over \(Job not requeue"):
                fit()
        assert done == (["saved", "queued again"] if again else ["saved"])
        assert signal.getsignal(signal.SIGUSR2) is submitits
    finally:
        signal.signal(signal.SIGUSR2, before)
