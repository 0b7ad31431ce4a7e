"""The report command as a user types it, on finished runs and on mistakes."""

import csv
import json
import shutil
from pathlib import Path

import pytest


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_any_runs_become_a_table_a_page_and_a_plot(
    finished_runs: Path, tmp_path: Path, report
) -> None:
    code, out, err = report(f"runs={finished_runs}", "out=all", "title=Tiny runs", "plot.kind=bars")
    assert (code, err) == (0, "")
    assert files(tmp_path / "all") == {"results.tsv", "plot.png", "report.html"}
    assert out.count("STDO k=2") == 1, "two seeds, one line"
    assert "Tiny runs" in (tmp_path / "all" / "report.html").read_text()
    (one,) = [line for line in out.splitlines() if line.startswith("all")]
    assert one == "all"


def test_a_list_of_runs_and_no_page(finished_runs: Path, tmp_path: Path, report) -> None:
    first, second, *_ = sorted((finished_runs / "clip").iterdir())
    code, *_ = report(f"runs=[{first},{second}]", "html=false")
    assert code == 0
    assert files(tmp_path / "report") == {"results.tsv"}
    assert len((tmp_path / "report" / "results.tsv").read_text().splitlines()) == 3


def test_a_study_takes_its_sweep_and_goes_to_experiments(
    finished_runs: Path, tmp_path: Path, report
) -> None:
    outputs = Path(shutil.copytree(finished_runs, tmp_path / "outputs"))
    jobs = [{"directory": str(path.parent)} for path in outputs.rglob("metrics.json")][:3]
    (outputs / "sweeps").mkdir()
    (outputs / "sweeps" / "fig7a_chunks.json").write_text(
        json.dumps({"study": "fig7a_chunks", "jobs": jobs})
    )
    code, out, _ = report("study=fig7a_chunks", f"paths.outputs={outputs}")
    assert code == 0
    assert files(tmp_path / "experiments" / "fig7a_chunks") == {"results.tsv", "plot.png"}
    with (tmp_path / "experiments" / "fig7a_chunks" / "results.tsv").open(newline="") as file:
        assert len(list(csv.DictReader(file, dialect="excel-tab"))) == 3
    assert "experiments/fig7a_chunks" in out
    assert report("study=scorers", f"runs={outputs}", "out=here", "html=true")[0] == 0
    assert files(tmp_path / "here") == {"results.tsv", "plot.png", "report.html"}


def test_one_network_alone_belongs_to_the_study_that_asks_for_it(
    finished_runs: Path, tmp_path: Path, report
) -> None:
    outputs = Path(shutil.copytree(finished_runs, tmp_path / "outputs"))
    run = next(outputs.glob("clip/stdo-*"))
    (run / "network-1").mkdir()
    facts = json.loads((run / "metrics.json").read_text())
    (run / "network-1" / "metrics.json").write_text(json.dumps(facts | {"network": 1}))
    for arguments, shown in (
        (["html=false"], True),
        (["study=table1"], True),
        (["study=scorers"], False),
    ):
        code, out, _ = report(f"runs={outputs}", *arguments)
        assert code == 0
        assert ("network 1 alone" in out) is shown


MISTAKES = {
    "no runs": ([], "runs: name run directories, folders of them, or sweep files"),
    "empty list": (["runs=[]"], "runs=[]: must be a text, or a list of 1 value or more"),
    "nowhere": (["runs=nowhere"], "runs=nowhere: no such file or folder"),
    "no run in it": (["runs={empty}"], "no finished run there"),
    "another version": (["runs={old}"], "is of another version (no "),
    "study": (["study=magic"], "study=magic: must be one of beyond, fig1_3_heatmaps"),
    "study without runs": (
        ["study=passes"],
        "study=passes: no outputs/sweeps/passes yet; train it with study=passes",
    ),
    "setting": (["runz=x"], "runz: no such setting"),
    "html": (["runs={good}", "html=maybe"], "html=maybe: must be true or false, or null"),
    "plot": (["runs={good}", "plot.kind=pie"], "plot.kind=pie: must be one of lines"),
    "out": (["runs={good}", "out={file}/x", "html=false"], "cannot be written"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(
    mistake: str, finished_runs: Path, tmp_path: Path, report
) -> None:
    arguments, said = MISTAKES[mistake]
    old = tmp_path / "old" / "clip" / "run"
    old.mkdir(parents=True)
    (old / "metrics.json").write_text('{"video": "clip", "psnr": {"frame": 30.0}}')
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    paths = {
        "old": tmp_path / "old",
        "empty": tmp_path / "empty",
        "good": finished_runs,
        "file": tmp_path / "file",
    }
    code, out, err = report(*[argument.format(**paths) for argument in arguments])
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("stdo: ")
    assert said in line
    assert files(tmp_path) == {"old", "empty", "file"}
