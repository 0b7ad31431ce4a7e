"""The engines of a catalogue: what dies or is stopped is started again, and the packages are the
same whatever made them."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from catalogues import TINY, catalogue, digests, needs_slurm, start, statuses, worker_of
from tiny_job import tiny_clip

from stdo.core.locks import exclusive
from stdo.runs.catalogue import Entry, Folder


@contextmanager
def two_nodes() -> Iterator[str]:
    """A Ray cluster of two nodes on this machine."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with films, and the digests of their packages from one process after the other."""
    folder = tmp_path_factory.mktemp("engines")
    for seed in range(3):
        tiny_clip(folder / "films" / f"film{seed}.mkv", seed, frames=8)
    code, _, err = catalogue(folder, *TINY, "budget.passes=40", "workers=1", "out=single")
    assert code == 0, err
    return folder, digests(folder / "single")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "submitit", "slurm", "ray"])
def test_a_killed_worker_is_started_again_and_packages_are_the_same(
    engine: str, expected: tuple[Path, dict[str, str]]
) -> None:
    if engine == "slurm":
        needs_slurm()
    elif engine != "local" and importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed (the extra cluster)")
    folder, single = expected
    words = [*TINY, "budget.passes=40", "workers=2", f"engine={engine}", f"out={engine}"]
    if engine == "submitit":
        words[-2:] = ["engine=slurm", "out=submitit", "slurm.cluster=local"]
    with two_nodes() if engine == "ray" else nullcontext() as address:
        if address:
            words.append(f"ray.address={address}")
        process = start(folder, *words)
        os.kill(worker_of(folder / engine, "film1"), signal.SIGKILL)
        code, out, _ = catalogue(folder, f"out={engine}", "action=status")
        assert (code, "film1" in out) == (0, True)
        out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert "3 videos: 3 done" in out
    assert digests(folder / engine) == single
    assert statuses(folder / engine)["film1"]["attempts"] == 2
    assert engine == "ray" or "it is started again" in err


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "slurm"])
def test_stopping_loses_nothing(engine: str, expected: tuple[Path, dict[str, str]]) -> None:
    if engine == "slurm":
        needs_slurm()
    folder, single = expected
    out = f"stopped-{engine}"
    words = [*TINY, "budget.passes=40", "workers=2", f"out={out}", f"engine={engine}"]
    process = start(folder, *words, "checkpoint_seconds=0")
    worker = worker_of(folder / out, "film0")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=100)
    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert statuses(folder / out)["film0"]["state"] == "queued"
    code, _, err = catalogue(folder, *words)
    assert (code, digests(folder / out)) == (0, single), err


@pytest.mark.slow
def test_jobs_of_slurm_that_are_cancelled_or_warned_are_started_again(
    expected: tuple[Path, dict[str, str]],
) -> None:
    """In a catalogue whose name has blanks and brackets, by a command that runs in a job itself."""
    needs_slurm()
    folder, single = expected
    out = folder / "é b=[1], (2)'s"
    words = [*TINY, "budget.passes=40", "engine=slurm", "retries=1", f"out={out.name}"]
    inside = ["srun", "--ntasks=1", "--overlap", sys.executable, "-m", "stdo.catalogue", *words]
    process = subprocess.Popen(
        ["salloc", "--ntasks=2", "--cpus-per-task=1", "--quiet", *inside],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for key, how in (("film0", []), ("film1", ["--signal=USR2"])):
        variables = Path(f"/proc/{worker_of(out, key, least=1)}/environ").read_text().split("\0")
        job = dict(each.partition("=")[::2] for each in variables)
        array = f"{job['SLURM_ARRAY_JOB_ID']}_{job['SLURM_ARRAY_TASK_ID']}"
        subprocess.run(["scancel", *how, array], check=True)
    printed, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    assert re.search(r"film0: its job \d+_\d died \(CANCELLED.*it is started again", err)
    assert "film1: the time of its job was over; it is started again" in err
    assert "3 videos: 3 done" in printed
    assert digests(out) == single


@pytest.mark.slow
def test_a_video_that_another_process_is_at_is_left_to_it(
    expected: tuple[Path, dict[str, str]],
) -> None:
    folder, single = expected
    (folder / "busy" / "status").mkdir(parents=True)
    with exclusive(folder / "busy" / "status" / ".film2.lock", "", 0):
        code, out, err = catalogue(folder, *TINY, "budget.passes=40", "out=busy")
    assert code == 1 and "film2: another process is at it" in err
    assert "3 videos: 2 done, 1 queued" in out
    assert digests(folder / "busy").items() <= single.items()


WARNED = """
import signal, sys
from pathlib import Path
import stdo.cli.encode as encode
from stdo.runs.catalogue import Entry, Folder

def warned(task):
    step, number = int(sys.argv[2]), signal.Signals[sys.argv[3]]
    Folder(Path(task.out)).write("a", Entry(video="v", recipe="r", step=step))
    signal.raise_signal(number)

encode.encode = warned
print(encode.encode_in_time(encode.Task(sys.argv[1], "a", "v", "r", {})))
"""


@pytest.mark.parametrize(
    ("step", "number", "code", "said"),
    [
        (7, "SIGUSR2", 0, "later"),
        (5, "SIGUSR2", 0, "the time of its job was over before its fit got further"),
        (7, "SIGTERM", 143, ""),  # whoever ended the job may start it again by itself
    ],
)
def test_a_job_that_is_warned_is_queued_again_where_that_helps(
    step: int, number: str, code: int, said: str, tmp_path: Path
) -> None:
    Folder(tmp_path).write("a", Entry(video="v", recipe="r", step=5))
    words = [sys.executable, "-c", WARNED, str(tmp_path), str(step), number]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout.partition(";")[0].strip()) == (code, said), found.stderr


@pytest.mark.slow
def test_a_job_whose_time_is_over_resumes_in_the_next_one(
    expected: tuple[Path, dict[str, str]],
) -> None:
    if importlib.util.find_spec("submitit") is None:
        pytest.skip("submitit is not installed (the extra cluster)")
    folder, single = expected
    words = [*TINY, "budget.passes=40", "workers=1", "out=late", "retries=0"]
    process = start(folder, *words, "engine=slurm", "slurm.cluster=local")
    for key in ("film0", "film1"):
        os.kill(worker_of(folder / "late", key, least=1), signal.SIGUSR2)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert err.count(": the time of its job was over; it is started again") == 2
    assert "3 videos: 3 done" in out
    assert digests(folder / "late") == single
    found = statuses(folder / "late")
    assert [found[f"film{n}"]["attempts"] for n in range(3)] == [2, 2, 1]
    log = (folder / "late" / "logs" / "film0.log").read_text()
    assert "SIGUSR1: stopping after these steps" in log
    assert re.search(r"train [12]/2: .* [1-9]\d*/\d+ \[00:00<\?", log), "begins at its checkpoint"


@pytest.mark.slow
def test_the_steps_of_networks_side_by_side_are_those_of_the_fit(tmp_path: Path) -> None:
    tiny_clip(tmp_path / "films" / "a.mkv", frames=8)
    code, _, err = catalogue(tmp_path, *TINY, "method=nas", "chunks=4", "budget.passes=20")
    assert code == 0, err
    found = statuses(tmp_path / "made")["a"]
    assert found["steps"] == json.loads((Path(found["run"]) / "metrics.json").read_text())["steps"]


@pytest.mark.slow
def test_force_trains_again_once_for_each_command(expected: tuple[Path, dict[str, str]]) -> None:
    folder, single = expected
    words = [*TINY, "videos=films/film1.mkv", "budget.passes=40", "out=forced", "force=true"]
    process = start(folder, *words, "checkpoint_seconds=0")
    os.kill(worker_of(folder / "forced", "film1", least=2), signal.SIGKILL)
    _, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    log = folder / "forced" / "logs" / "film1.log"
    begun = re.findall(r"(train [12]/2: .*?)/\d+ \[00:00<\?", log.read_text())
    assert len(begun) == 3 and "| 0" not in begun[1], "the second process resumes"
    first = statuses(folder / "forced")["film1"]
    assert "force" not in (folder / "forced" / "catalogue.json").read_text()
    assert catalogue(folder, *words)[0] == 0
    again = statuses(folder / "forced")["film1"]
    assert (first["attempts"], again["attempts"]) == (2, 1)
    begun = re.findall(r"(train [12]/2: .*?)/\d+ \[00:00<\?", log.read_text())
    assert len(begun) == 5 and all("| 0" in each for each in begun[3:])
    assert again["seconds"] < 2 * first["seconds"], "of the processes that made this package"
    assert digests(folder / "forced")["film1.stdo"] == single["film1.stdo"]


@pytest.mark.slow
def test_a_run_that_another_process_trains_is_left_to_it(
    expected: tuple[Path, dict[str, str]],
) -> None:
    folder, single = expected
    run = Path(statuses(folder / "single")["film2"]["run"]).relative_to(folder / "single")
    (folder / "trained" / run).mkdir(parents=True)
    (folder / "trained" / "cache" / "film2").mkdir(parents=True)
    words = [*TINY, "budget.passes=40", "out=trained"]
    with exclusive(folder / "trained" / run / ".lock", "", 0):
        code, out, err = catalogue(folder, *words)
    assert code == 1 and "film2: another process is at it" in err
    assert "3 videos: 2 done, 1 queued" in out
    assert (
        "this run is being worked on by process" in statuses(folder / "trained")["film2"]["error"]
    )
    assert (folder / "trained" / "cache" / "film2").is_dir(), "the other one may need it"
    assert catalogue(folder, *words)[0] == 0
    assert digests(folder / "trained") == single


@pytest.mark.slow
@pytest.mark.parametrize("ending", [9, 0])
def test_a_worker_that_dies_again_and_again_fails_alone(ending: int, tmp_path: Path) -> None:
    """Also where own code ends it as if all were well."""
    tiny_clip(tmp_path / "films" / "a.mkv", 0)
    tiny_clip(tmp_path / "films" / "b.mkv", 1)
    site = tmp_path / "site"
    site.mkdir()
    dies = f"import os, sys\nif 'stdo.cli.encode' in sys.orig_argv: os._exit({ending})\n"
    (site / "sitecustomize.py").write_text(dies)
    os.environ["PYTHONPATH"], before = (
        os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
        os.environ.get("PYTHONPATH"),
    )
    try:
        code, out, err = catalogue(tmp_path, *TINY, "retries=1")
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
    assert code == 1
    assert err.count(f"its process ended with code {ending}; it is started again") == 2
    assert f"a.mkv: its process ended with code {ending}, 2 times" in out
    assert "2 videos: 0 done, 2 failed" in out
