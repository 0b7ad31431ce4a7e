"""Every study is one file and one command: it is as it must be, its jobs compose, and it runs."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate

from stdo.config.settings import check, check_chunks
from stdo.config.studies import Study, expanded, folder, names, open_study
from stdo.config.trust import conf_dir
from stdo.core.types import UserError
from stdo.pipeline.equal import batch_of_each, side_by_side

STUDIES = names()
FOLDERS = Path(__file__).parents[2] / "experiments"
TINY = [
    "video=file", "video.height=96", "video.every=1", "video.max_frames=3", "patches.height=12",
    "patches.width=12", "budget.passes=2",
]  # fmt: skip
MINE = """
fixed:
  experiment: small
  video.every: 12
  video.path: it's (1), done.mkv
swept:
  seed: [0, 1]
  sampler.ratios: [[1, 0.5], [0, 1]]
  optim.lr: interval(0.001,0.01)
report:
  title: Mine
"""


def jobs_of(words: list[str]) -> list[list[str]]:
    """The overrides of each job of a command line, as Hydra's own sweeper makes them."""
    settings = [word for word in expanded(words) if word != "--multirun"]
    overrides = OverridesParser.create().parse_overrides(settings)
    jobs: list[list[str]] = BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]
    return jobs


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    return path


def test_the_paper_is_covered() -> None:
    asked = (
        "table1 table2 table3 table4 fig1_3_heatmaps fig4_crops fig5_speed fig6_ratio_heatmaps "
        "fig7a_chunks"
    )
    assert {*asked.split(), "fig7b_schedules", "long_video", "scorers", "passes"} <= set(STUDIES)
    assert folder() == FOLDERS


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_says_what_is_fixed_swept_and_reported(name: str) -> None:
    study = open_study(name)
    assert study.name == name
    assert study.fixed and study.swept
    assert study.report["title"] and study.report["plot"]["kind"]
    assert (
        f"#     python -m stdo.train study={name} " in (FOLDERS / name / "study.yaml").read_text()
    )
    assert expanded([f"study={name}"])[-1] == "--multirun"


LARGE = ("passes", "long_video", "table2", "beyond", "table4")
"""Studies of so many jobs that composing them takes seconds."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=pytest.mark.slow) if each in LARGE else each for each in STUDIES],
)
def test_every_job_of_a_study_composes_and_passes_the_checks(name: str) -> None:
    jobs = jobs_of([f"study={name}"])
    assert len(jobs) > 1
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        for job in jobs:
            config = compose("train", job)
            assert config.study == name
            check(config)
            if config.chunking.name != "whole":
                check_chunks(config)
                served = config.chunks - config.sharing.bicubic_chunks
                networks = side_by_side(
                    instantiate(config.sampler), instantiate(config.sharing), served
                )
                if config.budget.equal == "steps":
                    batch_of_each(config.budget.batch, networks or 1)


def test_what_the_user_gives_wins_in_the_place_of_the_studys() -> None:
    plain = jobs_of(["study=table4"])
    assert len(plain) == 3 * 2 * 2 * 2
    assert plain[0] == [
        "study=table4",
        "experiment=few",
        "chunks=4",
        "scale=2",
        "method=stdo",
        "seed=0",
        "budget.equal=batch",
    ]
    fewer = jobs_of(["method=nas", "video.path=x.mp4", "study=table4", "chunks=2,6", "++scale=3"])
    assert [job[1:-1] for job in fewer] == [
        [
            "experiment=few",
            f"chunks={chunks}",
            "++scale=3",
            "method=nas",
            f"seed={seed}",
            f"budget.equal={equal}",
        ]
        for chunks in (2, 6)
        for seed in (0, 1)
        for equal in ("batch", "steps")
    ]
    assert [word for word in expanded(["study=table4", "~method"]) if "method" in word] == [
        "~method"
    ]
    assert "seed=0,1" in expanded(["--config-dir", "seed", "study=table4"]), (
        "the value of a flag is no setting"
    )


@pytest.mark.parametrize("words", [["hydra.mode=RUN"], ["--cfg", "job"], ["--help"]])
def test_one_run_of_a_study_has_what_is_fixed_alone(words: list[str]) -> None:
    assert expanded(["study=table1", *words]) == [
        "study=table1", "experiment=few", "networks_alone=true", "chunks=4", *words,
    ]  # fmt: skip
    assert "--multirun" not in expanded(["study=table1", "-m"])


def test_without_a_study_nothing_is_added(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["seed=1", "-m"], ["study=null"], ["++study=mine", "chunks=2"]):
        assert expanded(words) == words
    assert capsys.readouterr().err == ""
    assert expanded(["sweep=table3"]) == expanded(["study=table3"])
    assert capsys.readouterr().err == "note: sweep=table3 is called study=table3 now\n"


def test_a_study_may_be_a_file_of_ones_own(mine: Path) -> None:
    words = [
        "study=mine", "experiment=small", "video.every=12", 'video.path="it\'s (1), done.mkv"',
        "seed=0,1", "sampler.ratios=[1,0.5],[0,1]", "optim.lr=interval(0.001,0.01)", "--multirun",
    ]  # fmt: skip
    assert expanded(["study=mine.yaml"]) == words
    assert expanded([f"study='{mine}'"]) == words
    study = Path("my study (1)", "study.yaml")
    study.parent.mkdir()
    study.write_text("swept: {seed: 3}")
    assert open_study(str(study)) == Study("my study (1)", {}, {"seed": 3}, {})
    assert expanded([f"study={study}"]) == ['study="my study (1)"', "seed=3", "--multirun"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("fixd: {}", "fixd: must be one of fixed, swept, report"),
        ("[1]", "must have the parts fixed, swept and report"),
        ("fixed: 3", "fixed=3: must be settings with their values"),
        ("fixed: [", "cannot be read as YAML ("),
        (
            "fixed: {video: {every: 2}}",
            "fixed: video={'every': 2}: must be a value or a list; write video.…",
        ),
        ("fixed: {1: 2}", "fixed: 1: must be a setting as on the command line"),
        ("fixed: {study: x}", "fixed: study: must be left out"),
        ("fixed: {plugins: [x]}", "fixed: plugins: must be given on the command line or in"),
        ("swept: {++plugins: [x]}", "swept: ++plugins: must be given on the command line or in"),
        ("swept: {seed: []}", "swept: seed=[]: must have a value at least"),
        ("fixed: {seed: 1}\nswept: {seed: [1]}", "swept: seed: must be swept or fixed, not both"),
        ("report: {runs: x}", "report: runs: must be one of title, html, networks_alone, plot"),
        ("report: {plot: {kid: x}}", "report: plot: kid: must be one of kind, x, y"),
        ("report: {plot: bars}", "report: plot=bars: must be settings with their values"),
    ],
)
def test_a_file_that_is_no_study_is_one_line(content: str, said: str, mine: Path) -> None:
    mine.write_text(content)
    with pytest.raises(UserError) as refused:
        expanded(["study=mine.yaml"])
    assert str(refused.value).startswith(f"study=mine.yaml: {said}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["magic", "table1,table2", "..", "rate_distortion", "../experiments/table1"]
)
def test_an_unknown_study_is_one_line_with_those_there_are(name: str) -> None:
    with pytest.raises(
        UserError,
        match=f"^study={name}: must be one of {', '.join(STUDIES)}, or a file of your own",
    ):
        expanded([f"study={name}"])
    with pytest.raises(UserError, match=r"^study=no/where.yaml: no such file$"):
        expanded(["study=no/where.yaml"])


def test_hydra_refuses_settings_that_there_are_not(mine: Path) -> None:
    mine.write_text("fixed: {vido: 1}\nswept: {seed: [0, 1]}")
    done = subprocess.run(
        [sys.executable, "-m", "stdo.train", "study=mine.yaml"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "stdo: vido: no such setting; did you mean video?; --help lists them\n",
    )


@pytest.mark.parametrize("study", STUDIES)
def test_what_was_found_is_written_down_with_where_it_came_from(study: str) -> None:
    folder = FOLDERS / study
    text = (folder / "README.md").read_text()
    places = [text.index(f"## {part}") for part in ("Question", "Command", "Finding")]
    assert places == sorted(places)
    assert f"study={study}" in text
    if "None yet" in text.partition("## Finding")[2]:  # its runs take hours
        assert not (folder / "results.tsv").exists()
        return
    assert (folder / "plot.png").stat().st_size > 5000
    with (folder / "results.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) > 1
    for row in rows:
        assert (
            row["commit"]
            and row["processor"]
            and row["seed"]
            and row["command"].startswith("python -m stdo.")
        )
        assert float(row["psnr_frame"]) > 10


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_a_study_runs_and_reports(study: str, tmp_path: Path) -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
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
    done = call("stdo.train", f"study={study}", *TINY, *few)
    assert done.returncode == 0, done.stderr[-2000:]
    again = call("stdo.train", f"study={study}", *TINY, *few)
    assert again.returncode == 0
    assert "train:" not in again.stderr, "finished jobs are skipped"
    report = call("stdo.report", f"study={study}", "out=found")
    assert report.returncode == 0, report.stderr[-2000:]
    assert (tmp_path / "found" / "plot.png").exists()
