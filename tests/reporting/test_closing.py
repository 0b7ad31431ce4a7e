"""What a training says of its method: in its first line, and in the table that it ends with."""

import json
import shutil
from pathlib import Path

import pytest

from stdo.cli.train import which_method
from stdo.config.trust import conf_dir
from stdo.evaluation.table import closing_table
from stdo.reporting.beside import beside
from stdo.reporting.runs import Run
from stdo.runs.directory import RESULT, read_result

METHODS = sorted(file.stem for file in (conf_dir() / "method").glob("*.yaml"))


@pytest.fixture
def outputs(runs: list[Run], tmp_path: Path) -> Path:
    """Four finished runs, with the same number of presentations: chunks of so few patches round it
    differently."""
    copied = Path(shutil.copytree(runs[0].directory.parent, tmp_path / "outputs"))
    for directory in copied.iterdir():
        change(directory, patch_presentations=160, equal=None)
    return copied


def change(directory: Path, **facts: object) -> None:
    file = directory / RESULT
    file.write_text(json.dumps(json.loads(file.read_text()) | facts), encoding="utf-8")


def test_a_run_is_shown_beside_the_runs_of_other_methods(outputs: Path) -> None:
    shown = dict(beside(outputs / "stdo-1"))
    assert list(shown) == ["awDNN", "NAS k=3"]  # its own method is no reference
    for name, other in (("awDNN", "awdnn-0"), ("NAS k=3", "nas-0")):
        expected = read_result(outputs / other)
        assert shown[name]["psnr"]["frame"] == pytest.approx(expected["psnr"]["frame"])
        assert shown[name]["ssim"] == pytest.approx(expected["ssim"])
    table = closing_table(read_result(outputs / "stdo-1"), list(shown.items()))
    (line,) = [each for each in table.splitlines() if each.startswith("awDNN ")]
    assert f"{read_result(outputs / 'awdnn-0')['psnr']['frame']:.2f}" in line.split()


def test_of_several_seeds_the_run_with_the_same_one_counts_else_their_mean(outputs: Path) -> None:
    of_seed = dict(beside(outputs / "awdnn-0"))["STDO k=3"]
    both = [read_result(outputs / f"stdo-{seed}") for seed in (0, 1)]
    assert of_seed["psnr"]["frame"] == pytest.approx(both[0]["psnr"]["frame"])
    change(outputs / "awdnn-0", seed=5)
    mean = dict(beside(outputs / "awdnn-0"))["STDO k=3"]
    assert mean["psnr"]["frame"] == pytest.approx(sum(b["psnr"]["frame"] for b in both) / 2)


def test_runs_that_differ_in_more_than_the_seed_have_lines_of_their_own(outputs: Path) -> None:
    other = shutil.copytree(outputs / "awdnn-0", outputs / "awdnn-other")
    with (other / "config.yaml").open("a", encoding="utf-8") as config:
        config.write("optim:\n  lr: 0.5\n")
    change(other, psnr=read_result(other)["psnr"] | {"frame": 1.0})
    shown = [metrics["psnr"]["frame"] for name, metrics in beside(outputs / "stdo-1")
             if name.startswith("awDNN")]  # fmt: skip
    assert sorted(shown) == [1.0, read_result(outputs / "awdnn-0")["psnr"]["frame"]]


@pytest.mark.parametrize(
    "facts",
    [
        {"video": "another", "fingerprint": None}, {"patch_presentations": 170},
        {"shortened": ["max_steps=1"]}, {"network": 0}, {"scale": 3},
    ],
)  # fmt: skip
def test_runs_that_cannot_be_compared_are_not_shown(
    outputs: Path, facts: dict[str, object]
) -> None:
    change(outputs / "awdnn-0", **facts)
    assert [name for name, _ in beside(outputs / "stdo-1")] == ["NAS k=3"]


def test_a_damaged_run_is_not_shown(outputs: Path) -> None:
    (outputs / "awdnn-0" / RESULT).write_text("{", encoding="utf-8")
    assert [name for name, _ in beside(outputs / "stdo-1")] == ["NAS k=3"]


@pytest.mark.parametrize("method", METHODS)
def test_the_first_line_names_the_method_and_how_ours_or_the_papers_is_trained(
    method: str,
) -> None:
    line = which_method(method)
    assert line.startswith("method: ")
    assert "\n" not in line
    named = {each for each in METHODS if f"method={each} " in f"{line} "}
    assert named == {"bstdo", "stdo"} - {method}
