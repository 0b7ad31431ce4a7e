"""Several processes at once: one prepares, all train, no job runs twice, none waits for ever."""

import re
import shutil
import time
from pathlib import Path

import pytest
from commands import TINY, Command, left_over, results, run, write_clip

from stdo.runs.sweeps import Sweep

pytestmark = pytest.mark.slow

WORDS = [*TINY, "budget.passes=6"]


def test_two_runs_on_one_video_prepare_it_once(tmp_path: Path) -> None:
    words = [*WORDS, f"video.path={write_clip(tmp_path / 'clip.mkv', frames=48)}"]
    work = tmp_path / "work"
    first = Command([*words, "method=awdnn"], work)
    second = Command(
        [*words, "method=jstdo", f"paths.outputs={work}/outputs", f"paths.cache={work}/cache"],
        tmp_path / "other",
    )
    assert (first.end(), second.end()) == (0, 0), first.text + second.text
    assert sorted("decode: 100%" in command.text for command in (first, second)) == [False, True]
    assert all("train: 100%" in command.text for command in (first, second))
    assert len(results(work / "outputs")) == 2


def test_the_same_run_twice_at_once_is_done_once(tmp_path: Path) -> None:
    words = [*WORDS, f"video.path={write_clip(tmp_path / 'clip.mkv')}", "budget.passes=60"]
    first = Command(words, tmp_path / "work")
    assert first.comes_to("train")
    again = Command([*words, f"paths.outputs={tmp_path}/work/outputs"], tmp_path / "other")
    assert again.end() == 2
    (line,) = again.last_lines()
    assert f"this run is being worked on by process {first.process.pid} on " in line
    first.kill()
    assert run(words, tmp_path / "work").process.returncode == 0, "a dead owner's lock is nobody's"


def test_two_sweeps_over_the_same_jobs_share_them(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv")
    words = ["-m", *WORDS, f"video.path={clip}", "method=awdnn,nas,jstdo,stdo", "++study=both"]
    alone = run(words, tmp_path / "alone")
    assert alone.process.returncode == 0, alone.text
    work = tmp_path / "work"
    paths = [f"paths.outputs={work}/outputs", f"paths.cache={work}/cache"]
    sweeps = [Command([*words, *paths], tmp_path / name) for name in ("one", "two")]
    codes = [sweep.end() for sweep in sweeps]
    assert set(codes) <= {0, 1}, [sweep.text for sweep in sweeps]
    jobs = [job for sweep in sweeps for job in re.split(r"\n\[\d\] ", sweep.text)[1:]]
    assert len(jobs) == 8
    assert sum("train:" in job for job in jobs) == 4, "each job once"
    for code, sweep in zip(codes, sweeps, strict=True):
        assert ("busy; the same command tries them again" in sweep.text) == (code == 1)
    assert results(work / "outputs") == results(tmp_path / "alone" / "outputs")
    listed = Sweep(work / "outputs", "both").jobs()
    assert [job.status for job in listed] == ["finished"] * 4


def test_a_run_whose_preparing_process_dies_prepares_itself(tmp_path: Path) -> None:
    words = [
        *WORDS,
        f"video.path={write_clip(tmp_path / 'clip.mkv', frames=400)}",
        "video.max_frames=200",
    ]
    work = tmp_path / "work"
    first = Command(words, work)
    while not list(work.rglob("*.partial*")) and first.process.poll() is None:
        time.sleep(0.005)
    second = Command([*words, "method=awdnn", f"paths.cache={work}/cache"], tmp_path / "other")
    time.sleep(0.3)
    first.kill()
    assert second.end() == 0, second.text
    assert "decode: 100%" in second.text
    assert left_over(work / "cache") == []
    shutil.rmtree(work)
