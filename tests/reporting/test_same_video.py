"""Two clips of one file name are two videos; one clip under two names is one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from tiny_job import JOB

from stdo.config.jobs import build_job
from stdo.config.trust import conf_dir
from stdo.pipeline.steps import train
from stdo.reporting.beside import beside
from stdo.reporting.page_data import page_data
from stdo.reporting.results import comparable, rows
from stdo.reporting.runs import Run, collect
from stdo.reporting.table import comparison_table
from stdo.reporting.videos import same_video
from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter


@pytest.fixture(scope="module")
def outputs(finished_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """awDNN and STDO on clip.mkv, and awDNN on another clip.mkv of the same size and length."""
    folder = tmp_path_factory.mktemp("namesake")
    shutil.copytree(finished_runs, folder / "outputs")
    other = GeneratedClip(width=96, height=72, frames=6, rate=25, seed=5)
    with VideoWriter(folder / "clip.mkv", 96, 72, other.info.rate, "ffv1") as writer:
        for frame in other:
            writer.write(frame)
    paths = [f"video.path={folder}/clip.mkv", f"paths.outputs={folder}/outputs"]
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        words = [*JOB, *paths, f"paths.cache={folder}/cache", "trainer=cpu", "method=awdnn"]
        train(build_job(compose("train", words)))
    return folder / "outputs"


def change(run: Run, drop: str = "", **facts: object) -> None:
    """Write other facts into a run's metrics.json, and leave one out."""
    file = run.directory / "metrics.json"
    metrics = json.loads(file.read_text()) | facts
    metrics.pop(drop, None)
    file.write_text(json.dumps(metrics))


def test_a_namesake_is_no_reference(outputs: Path, finished_runs: Path) -> None:
    alone, both = rows(collect([finished_runs])), collect([outputs])
    assert len(both) == len(alone) + 1
    names = sorted({run.metrics["video"] for run in both})
    assert all(name.startswith("clip (") for name in names)
    assert len(names) == 2

    stdo = [row["over_awdnn"] for row in rows(both) if row["method"] == "stdo"]
    assert stdo == [row["over_awdnn"] for row in alone if row["method"] == "stdo"]
    (namesake,) = (run for run in both if run.metrics["video"] == _rare(both))
    assert not any(comparable(namesake, run) for run in both if run is not namesake)
    assert namesake.directory not in {run.directory for run in collect([finished_runs])}


def _rare(runs: list[Run]) -> str:
    videos = [run.metrics["video"] for run in runs]
    return min(videos, key=videos.count)


def test_each_stands_under_its_own_name_in_table_and_page(outputs: Path) -> None:
    runs = collect([outputs])
    table = comparison_table(runs)
    for name in {run.metrics["video"] for run in runs}:
        assert f"{name} · espcn ×2 · 6 frames" in table
    data = page_data(runs, "title")
    where = {run["video"]: run for run in data["runs"]}
    assert len(where) == 2
    lonely = where[_rare(runs)]
    assert not any(lonely["against"].values())


def test_a_run_is_shown_beside_its_own_video_alone(outputs: Path) -> None:
    runs = collect([outputs])
    stdo = next(run for run in runs if run.metrics["method"] == "stdo")
    (_, found), *more = beside(stdo.directory)
    assert not more
    ours = next(run for run in runs if run.metrics["method"] == "awdnn" and _alike(run, stdo))
    assert found["psnr"]["frame"] == ours.metrics["psnr"]["frame"]


def _alike(run: Run, other: Run) -> bool:
    return all(run.metrics[key] == other.metrics[key] for key in ("fingerprint", "seed"))


def test_runs_from_before_fingerprints_are_known_by_their_name(
    finished_runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished_runs, tmp_path / "runs")
    for run in collect([tmp_path / "runs"]):
        if run.metrics["method"] == "awdnn":
            change(run, drop="fingerprint")
    before, now = rows(collect([finished_runs])), rows(collect([tmp_path / "runs"]))
    assert [row["over_awdnn"] for row in now] == [row["over_awdnn"] for row in before]
    assert {row["video"] for row in now} == {"clip"}


def test_a_name_of_the_report_decides_nothing(finished_runs: Path, tmp_path: Path) -> None:
    """awDNN is of an earlier version and known by its name; NAS comes in, of the same content
    under an earlier name, so that all are shown under that."""
    shutil.copytree(finished_runs, tmp_path / "runs")
    first, *_ = collect([tmp_path / "runs"])
    before = rows(collect([finished_runs]))
    for run in collect([tmp_path / "runs"]):
        if run.metrics["method"] == "awdnn":
            change(run, drop="fingerprint")
    shutil.copytree(first.directory, tmp_path / "runs" / "nas")
    nas = replace(first, directory=tmp_path / "runs" / "nas")
    change(nas, method="nas", video="a", fingerprint=first.metrics["fingerprint"])
    stdo = [row for row in rows(collect([tmp_path / "runs"])) if row["method"] == "stdo"]
    assert {row["video"] for row in stdo} == {"a"}
    assert [row["over_awdnn"] for row in stdo] == [
        row["over_awdnn"] for row in before if row["method"] == "stdo"
    ]


def test_one_content_under_two_names_is_one_video(finished_runs: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_runs, tmp_path / "runs")
    for run in collect([tmp_path / "runs"]):
        if run.metrics["method"] == "awdnn":
            change(run, video="copy of it")
    before, now = rows(collect([finished_runs])), rows(collect([tmp_path / "runs"]))
    assert [row["over_awdnn"] for row in now] == [row["over_awdnn"] for row in before]
    assert {row["video"] for row in now} == {"clip"}


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ({"fingerprint": "9 aa"}, {"fingerprint": "9 aa", "video": "copy"}, True),
        ({"fingerprint": "9 aa"}, {"fingerprint": "9 bb"}, False),
        ({"fingerprint": "9 aa"}, {"fingerprint": "8 bb"}, True),
        ({"fingerprint": "9 aa"}, {}, True),
        ({"fingerprint": "9 aa"}, {"video": "other"}, False),
    ],
)
def test_fingerprints_decide_where_they_can(ours: dict, theirs: dict, same: bool) -> None:
    assert same_video({"video": "clip"} | ours, {"video": "clip"} | theirs) is same
