import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stdo.reporting.paper import paper_figure, paper_gain
from stdo.reporting.results import command, rows, write_tsv
from stdo.reporting.runs import Run, collect
from stdo.reporting.table import comparison_table


@pytest.fixture(scope="module")
def runs(finished_runs: Path) -> list[Run]:
    return collect([finished_runs])


def but(run: Run, psnr: float | None = None, **facts: Any) -> Run:
    """The run with other facts; psnr: of the frame protocol."""
    changed = run.metrics | facts
    if psnr is not None:
        changed["psnr"] = changed["psnr"] | {"frame": psnr}
    return Run(run.directory, changed, run.provenance, run.config)


def line(table: str, name: str) -> list[str]:
    (found,) = [each.split() for each in table.splitlines() if each.startswith(f"{name} ")]
    return found[len(name.split()) :]


def test_a_row_holds_what_the_run_holds(runs: list[Run]) -> None:
    for run, row in zip(runs, rows(runs), strict=True):
        facts = run.metrics
        assert row["psnr_frame"] == facts["psnr"]["frame"]
        assert row["bicubic_y"] == facts["bicubic"]["psnr"]["y"]
        assert row["gain_frame"] == pytest.approx(
            facts["psnr"]["frame"] - facts["bicubic"]["psnr"]["frame"]
        )
        assert row["seconds_train"] == facts["seconds"]["train"]
        assert row["commit"] == run.provenance["commit"][:12]
        assert row["cores"] == run.provenance["machine"]["cores"]


def test_the_file_reads_back_and_names_no_folder_of_this_machine(
    runs: list[Run], tmp_path: Path
) -> None:
    write_tsv(tmp_path / "results.tsv", runs)
    text = (tmp_path / "results.tsv").read_text()
    assert str(runs[0].directory.parents[2]) not in text
    assert str(Path.home()) not in text
    read = list(csv.DictReader(text.splitlines(), dialect="excel-tab"))
    assert [row["seed"] for row in read] == ["0", "1", "0", "1"]
    for found, row in zip(read, rows(runs), strict=True):
        assert found.keys() == row.keys()
        assert float(found["psnr_frame"]) == pytest.approx(row["psnr_frame"], abs=5e-5)
        assert (
            found["command"]
            == f"python -m stdo.train method={row['method']} seed={row['seed']} video.path=clip.mkv"
        )
        assert "None" not in found.values()
    assert list(tmp_path.iterdir()) == [tmp_path / "results.tsv"]


def test_the_difference_to_awdnn_is_that_of_the_same_seed(runs: list[Run]) -> None:
    found = [row["over_awdnn"] for row in rows(runs)]
    frame = [run.metrics["psnr"]["frame"] for run in runs]
    assert found[:2] == [None, None]
    assert found[2:] == pytest.approx([frame[2] - frame[0], frame[3] - frame[1]])
    third = but(runs[2], seed=9)  # no awDNN has that seed: their mean
    assert rows([*runs, third])[-1]["over_awdnn"] == pytest.approx(
        frame[2] - (frame[0] + frame[1]) / 2
    )


OTHERS: dict[str, Callable[[Run], Run]] = {
    "work": lambda run: but(run, patch_presentations=run.metrics["patch_presentations"] * 1.03),
    "video": lambda run: but(run, fingerprint=run.metrics["fingerprint"][:-1] + "x"),
    "length": lambda run: but(run, frames=7),
    "scale": lambda run: but(run, scale=3),
    "precision": lambda run: but(run, precision="other"),
    "halo": lambda run: Run(
        run.directory, run.metrics, {}, run.config.replace("halo: 0", "halo: 2")
    ),
    "whole frames": lambda run: Run(
        run.directory, run.metrics, {}, run.config.replace("whole: false", "whole: true")
    ),
    "one network alone": lambda run: but(run, network=0),
}


def test_what_a_methods_own_file_sets_is_part_of_the_method(runs: list[Run]) -> None:
    """So that B-STDO, which sets a halo, is compared; a halo that a user sets is a condition."""
    halo = OTHERS["halo"](but(runs[2], own_settings=["patches.halo"]))
    assert rows([runs[0], halo])[1]["over_awdnn"] is not None
    assert rows([runs[0], OTHERS["halo"](runs[2])])[1]["over_awdnn"] is None


def test_a_run_is_counted_from_one_of_its_own_recipe_where_there_is_one(runs: list[Run]) -> None:
    """So that what a recipe gains and what a structure gains are two figures."""
    awdnn, ours = (
        but(runs[0], 30.0),
        OTHERS["halo"](but(runs[2], 33.0, own_settings=["patches.halo"])),
    )
    same = OTHERS["halo"](but(runs[0], 32.0))
    assert rows([awdnn, ours])[1]["over_awdnn"] == pytest.approx(3.0)
    assert rows([awdnn, same, ours])[2]["over_awdnn"] == pytest.approx(1.0)
    assert rows([awdnn, same, but(runs[2], 33.0)])[2]["over_awdnn"] == pytest.approx(3.0)


def test_a_run_on_crops_is_counted_from_one_on_crops_where_there_is_one(runs: list[Run]) -> None:
    def on_crops(run: Run) -> Run:
        config = run.config.replace("sampler:\n", "sampler:\n  crop: 48\n", 1)
        return Run(run.directory, run.metrics | {"crop": 48}, {}, config)

    awdnn, cropped = but(runs[0], 30.0), on_crops(but(runs[0], 31.0))
    ours, other = on_crops(but(runs[2], 33.0)), but(runs[2], 33.0)
    found = rows([awdnn, cropped, ours, other])
    assert [row["over_awdnn"] for row in found[2:]] == pytest.approx([2.0, 3.0])
    assert [row["run"] for row in found[:2]] == ["awDNN", "awDNN, crops of 48"]
    assert rows([awdnn, ours])[1]["over_awdnn"] == pytest.approx(3.0)  # the same pixels were seen


def test_only_runs_of_one_reading_of_equal_work_are_compared(runs: list[Run]) -> None:
    awdnn, stdo = runs[0], runs[2]
    assert (awdnn.reading, stdo.reading) == (None, "batch")
    nas = {each: but(stdo, 30.0, method="nas", equal=each) for each in ("batch", "steps")}
    steps = but(stdo, 31.0, equal="steps")
    table = rows([awdnn, nas["batch"], but(nas["steps"], 30.5), but(stdo, 31.0), steps])
    assert [row["equal"] for row in table] == [None, "batch", "steps", "batch", "steps"]
    assert [row["over_nas"] for row in table[3:]] == pytest.approx([1.0, 0.5])
    # awDNN is the same under both: it is counted from the better NAS
    assert table[0]["over_nas"] == pytest.approx(awdnn.metrics["psnr"]["frame"] - 30.5)
    assert None not in [row["over_awdnn"] for row in table[1:]]
    assert rows([nas["batch"], steps])[1]["over_nas"] is None
    text = comparison_table([awdnn, but(stdo, 31.0), steps])
    assert text.count("STDO k=2, equal ") == 2 and "share a batch" in text


def test_a_run_of_before_gave_each_network_the_whole_batch(runs: list[Run]) -> None:
    for run, reading in ((runs[0], None), (runs[2], "batch")):
        old = but(run)
        for name in ("equal", "network_steps", "peak_lr", "optimizer"):
            old.metrics.pop(name, None)
        assert old.reading == reading
        row = rows([old])[0]
        assert (row["equal"], row["peak_lr"], row["network_steps"]) == (reading, None, None)


@pytest.mark.parametrize("what", OTHERS)
def test_unlike_runs_are_not_compared(runs: list[Run], what: str) -> None:
    assert rows([OTHERS[what](runs[0]), runs[2]])[1]["over_awdnn"] is None
    nearly = but(runs[0], patch_presentations=runs[0].metrics["patch_presentations"] * 1.01)
    assert rows([nearly, runs[2]])[1]["over_awdnn"] is not None


def test_the_paper_beside_ours(runs: list[Run]) -> None:
    whole = but(runs[2], video="game_15s", frames=450)
    cut, other = but(whole, frames=45), but(whole, video="holiday")
    first, cut_row, other_row = rows([whole, cut, other])
    assert first["paper_psnr"] == 38.61  # table 2: ESPCN, STDO, game-15s, ×2
    assert first["paper_over_awdnn"] == pytest.approx(38.61 - 37.94)
    assert first["paper_over_nas"] == pytest.approx(38.61 - 37.58)
    for row in (cut_row, other_row):
        assert row["paper_psnr"] is None
        assert row["paper_over_awdnn"] == paper_gain("espcn", "stdo", "awdnn", 2)
    assert rows([but(whole, backbone="resnet")])[0]["paper_over_awdnn"] is None
    table = comparison_table([whole, other])
    assert "38.61" in table
    assert "paper: STDO (CVPR 2023)" in table
    assert "paper" not in comparison_table([but(runs[2], backbone="resnet")])


def test_one_network_alone_has_the_papers_table_1_beside_it(runs: list[Run]) -> None:
    vlog = but(runs[2], video="vlog_15s", frames=450, backbone="wdsr", chunks=4)
    first, middle, last = rows([but(vlog, network=number) for number in (0, 1, 3)])
    assert (first["paper_psnr"], middle["paper_psnr"], last["paper_psnr"]) == (50.42, None, 46.89)
    assert first["paper_over_awdnn"] == pytest.approx(
        50.42 - (paper_figure("wdsr", "awdnn", "vlog-15s", 2) or 0)
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stdo-train", "-m", "chunks=1,2"], "python -m stdo.train -m chunks=1,2"),
        (["train.py", "video.path=/a/b c/d e.mp4"], "python -m stdo.train 'video.path=d e.mp4'"),
        (["train.py", "video.root=/data/VSD4K/"], "python -m stdo.train video.root="),
        (
            ["train.py", "scorer.weights=https://host/w.pth"],
            "python -m stdo.train scorer.weights=https://host/w.pth",
        ),
        (
            ["train.py", "scorer.weights=file:///home/me/w.pth"],
            "python -m stdo.train scorer.weights=w.pth",
        ),
        (
            ["train.py", "video.path=../clips/a.mp4"],
            "python -m stdo.train video.path=../clips/a.mp4",
        ),
        (["evaluate.py", "run=/o/clip/stdo-1"], "python -m stdo.evaluate run=stdo-1"),
        (["/usr/bin/notebook"], "notebook"),
        ([], ""),
    ],
)
def test_commands_are_fit_for_publication(words: list[str], said: str) -> None:
    assert command(words) == said


def test_seeds_are_one_line_with_their_mean_and_half_their_range(runs: list[Run]) -> None:
    seeds = [
        but(runs[0], 30.0),
        but(runs[1], 30.5),
        but(runs[2], 31.25),
        but(runs[2], 31.75, seed=5),
    ]
    table = comparison_table(seeds)
    assert line(table, "awDNN")[:3] == ["30.25", "0.25", "2"]
    assert line(table, "STDO k=2")[:3] == ["31.50", "0.25", "2"]
    assert table.count("clip · espcn ×2 · 6 frames") == 1
    single = comparison_table(seeds[:1])
    assert "±" not in single
    assert "Δ" not in single, "nothing to compare with"
    assert single.index("bicubic") < single.index("awDNN")


def test_unequal_work_is_marked(runs: list[Run]) -> None:
    shown = runs[0].metrics["patch_presentations"]
    longer = but(runs[2], passes=9, patch_presentations=9 * shown)
    table = comparison_table([*runs, longer])
    marked, note = [row for row in table.splitlines() if "* " in row]
    assert "passes 9" in marked
    assert (
        note == "* not equal work: shown more or fewer patches than most of its group, or shortened"
    )
    assert "*" not in comparison_table(runs)


def test_missing_figures_are_dashes(runs: list[Run]) -> None:
    facts = runs[0].metrics
    lacking = but(runs[0], ssim=None, macs_per_frame=None, psnr=None)
    lacking.metrics["psnr"] = facts["psnr"] | {"stdo_patch": None}
    lacking.metrics["bicubic"] = {
        "psnr": facts["bicubic"]["psnr"] | {"stdo_patch": None},
        "ssim": None,
    }
    table = comparison_table([lacking, *runs[1:]])
    assert "None" not in table
    assert "–" in line(table, "bicubic")
