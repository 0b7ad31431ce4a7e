"""Every study is one command: its sweep, its experiment and its report belong together, and it runs."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.types import RunMode
from omegaconf import OmegaConf

from stdo.settings import check, check_chunks
from stdo.trust import conf_dir

CONF = conf_dir().resolve()
STUDIES = sorted(path.stem for path in (CONF / "sweep").glob("*.yaml"))
FOLDERS = Path(__file__).parents[2] / "experiments"
TINY = [
    "video=file", "video.height=96", "video.every=1", "video.max_frames=3", "patches.height=12", "patches.width=12",
    "budget.passes=2",
]  # fmt: skip


def test_the_paper_is_covered() -> None:
    asked = "table1 table2 table3 table4 fig1_3_heatmaps fig4_crops fig5_speed fig6_ratio_heatmaps fig7a_chunks"
    assert {*asked.split(), "fig7b_schedules", "long_video", "scorers", "passes"} <= set(STUDIES)


@pytest.mark.parametrize("study", STUDIES)
def test_sweep_experiment_and_report_belong_together(study: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [f"sweep={study}"], return_hydra_config=True)
    assert config.study == study
    assert config.hydra.mode == RunMode.MULTIRUN
    assert config.hydra.runtime.choices.experiment == study
    assert config.hydra.sweeper.params, "nothing to sweep"
    assert OmegaConf.load(CONF / "reports" / f"{study}.yaml").plot.kind
    command = (CONF / "experiment" / f"{study}.yaml").read_text().splitlines()[1]
    assert command.startswith(f"# python -m stdo.train sweep={study} ")


@pytest.mark.parametrize("study", STUDIES)
def test_every_job_of_a_sweep_passes_the_checks(study: str) -> None:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    with initialize_config_dir(str(CONF), version_base="1.3"):
        params = compose("train", [f"sweep={study}"], return_hydra_config=True).hydra.sweeper.params
        overrides = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()])
        jobs = BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]
        assert len(jobs) > 1
        for job in jobs:
            config = compose("train", [f"experiment={study}", *job])
            check(config)
            if config.chunking.name != "whole":
                check_chunks(config)


@pytest.mark.parametrize("study", STUDIES)
def test_what_was_found_is_written_down_with_where_it_came_from(study: str) -> None:
    folder = FOLDERS / study
    text = (folder / "README.md").read_text()
    places = [text.index(f"## {part}") for part in ("Question", "Command", "Finding")]
    assert places == sorted(places)
    assert f"sweep={study}" in text
    assert (folder / "plot.png").stat().st_size > 5000
    with (folder / "results.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) > 1
    for row in rows:
        assert row["commit"] and row["processor"] and row["seed"] and row["command"].startswith("python -m stdo.")
        assert float(row["psnr_frame"]) > 10


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_a_study_runs_and_reports(study: str, tmp_path: Path) -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )

    methods = {
        "table2": "awdnn,stdo",
        "table3": "stdo",
        "fig5_speed": "awdnn",
        "fig6_ratio_heatmaps": "jstdo",
        "fig7b_schedules": "jstdo",
        "beyond": "bstdo",
    }
    few = [f"method={methods.get(study, 'stdo')}", "chunks=4", "seed=0,1"]
    if study in ("table3", "fig5_speed"):
        few.append("backbone=espcn")
    done = call("stdo.train", f"sweep={study}", *TINY, *few)
    assert done.returncode == 0, done.stderr[-2000:]
    again = call("stdo.train", f"sweep={study}", *TINY, *few)
    assert again.returncode == 0
    assert "train:" not in again.stderr, "finished jobs are skipped"
    report = call("stdo.report", f"study={study}", "out=found")
    assert report.returncode == 0, report.stderr[-2000:]
    assert (tmp_path / "found" / "plot.png").exists()
