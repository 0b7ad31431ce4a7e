import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from stdo.core.types import UserError
from stdo.reporting.names import names
from stdo.reporting.runs import Run, collect


@pytest.fixture
def outputs(finished_runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_runs, tmp_path / "outputs"))


def change(run: Path, **facts: object) -> None:
    path = run / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_every_finished_run_once_and_in_order(finished_runs: Path) -> None:
    directories = [path.parent for path in finished_runs.rglob("metrics.json")]
    runs = collect([finished_runs, *directories, finished_runs / "clip"])
    assert [run.label for run in runs] == ["awDNN", "awDNN, seed 1", "STDO k=2", "STDO k=2, seed 1"]
    assert {run.directory for run in runs} == set(directories)
    assert all(run.provenance["command"][0] == "train.py" for run in runs)
    assert {run.settings["method"] for run in runs} == {"awdnn", "stdo"}
    assert names(runs) == ["awDNN", "awDNN", "STDO k=2", "STDO k=2"]


def test_a_run_gives_back_what_it_measured(finished_runs: Path) -> None:
    for run in collect([finished_runs]):
        frames, curve, maps = run.frames(), run.curve(), run.maps()
        assert np.mean([row["psnr"] for row in frames]) == pytest.approx(
            run.metrics["psnr"]["frame"]
        )
        assert np.mean([row["bicubic_psnr"] for row in frames]) == pytest.approx(
            run.metrics["bicubic"]["psnr"]["frame"]
        )
        assert curve[-1]["step"] == run.metrics["steps"]
        assert maps is not None
        assert maps[0].size == maps[1].size == run.metrics["patches"]
        for crop in run.crops():
            assert set(crop["files"]) == {"truth", "bicubic", "ours"}
            for name in crop["files"]:
                with Image.open(io.BytesIO(run.picture(crop, name))) as picture:
                    assert picture.size == (crop["width"], crop["height"])


def test_what_a_run_lacks_is_empty_or_nan(outputs: Path) -> None:
    run = collect([outputs])[0]
    (run.directory / "frames.csv").write_text("frame,psnr,ssim\n0,31.5,\n")
    for name in ("maps.npz", "curves.csv", "crops/crops.json"):
        (run.directory / name).unlink()
    assert run.frames() == [
        {"frame": 0, "psnr": 31.5, "ssim": pytest.approx(float("nan"), nan_ok=True)}
    ]
    assert run.curve() == run.crops() == []
    assert run.maps() is None


def test_damaged_files_are_named(outputs: Path) -> None:
    run = collect([outputs])[0]
    for name, read in (
        ("frames.csv", run.frames),
        ("maps.npz", run.maps),
        ("crops/crops.json", run.crops),
    ):
        path = run.directory / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] + b"\0,x")
        with pytest.raises(UserError, match=path.name):
            read()


def test_unfinished_runs_are_counted_or_refused(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = collect([outputs])[0].directory
    (stopped / "metrics.json").unlink()
    assert len(collect([outputs])) == 3
    assert capsys.readouterr().err == "note: 1 unfinished run is left out\n"
    with pytest.raises(UserError, match="is not finished"):
        collect([stopped])


def test_a_sweep_file_names_runs_even_after_a_move(outputs: Path, tmp_path: Path, capsys) -> None:
    jobs = [{"directory": str(run.directory), "status": "finished"} for run in collect([outputs])]
    jobs.append({"directory": None, "status": "failed", "error": "scale=5: must be one of 2, 3, 4"})
    jobs.append({"directory": "x" * 300, "status": "finished"})
    (outputs / "sweeps").mkdir()
    (outputs / "sweeps" / "tiny.json").write_text(json.dumps({"study": "tiny", "jobs": jobs}))
    moved = outputs.rename(tmp_path / "elsewhere")
    runs = collect([moved / "sweeps" / "tiny.json"])
    assert [run.directory.parts[-3] for run in runs] == ["elsewhere"] * 4
    assert "2 unfinished runs are left out" in capsys.readouterr().err


def test_one_network_alone_is_a_run_of_its_own(outputs: Path) -> None:
    stdo = collect([outputs])[2].directory
    (stdo / "network-0").mkdir()
    shutil.copy(stdo / "metrics.json", stdo / "network-0")
    change(stdo / "network-0", network=0)
    for where in (outputs, stdo):
        alone = [run for run in collect([where]) if run.metrics["network"] == 0]
        assert [run.label for run in alone] == ["STDO k=2, network 0 alone"]
        assert alone[0].config
        assert alone[0].provenance


def test_runs_of_one_name_are_told_apart_by_their_settings(outputs: Path) -> None:
    run = collect([outputs])[2]
    other = Run(run.directory, run.metrics, {}, run.config.replace("halo: 0", "halo: 4"))
    more = Run(run.directory, run.metrics | {"passes": 9}, {}, run.config)
    again = Run(run.directory, run.metrics | {"seed": 7}, {}, run.config)
    assert names([run, other]) == ["STDO k=2, halo 0", "STDO k=2, halo 4"]
    assert names([run, more, again]) == [
        "STDO k=2, passes 1",
        "STDO k=2, passes 9",
        "STDO k=2, passes 1",
    ]
    cut = Run(run.directory, run.metrics, {}, run.config + "passes_at: 3\n")
    assert names([run, cut]) == ["STDO k=2", "STDO k=2"], "a setting that shapes nothing"

    def of_width(**width: float) -> Run:
        return Run(
            run.directory, run.metrics, {}, yaml.safe_dump({**run.settings, "backbone": width})
        )

    assert names([of_width(), of_width(width=1)]) == ["STDO k=2", "STDO k=2"], (
        "a setting that earlier runs lack"
    )
    assert names([of_width(), of_width(width=0.5)]) == ["STDO k=2, width 1", "STDO k=2, width 0.5"]
    sparse = Run(run.directory, run.metrics, {}, run.config.replace("every: 1", "every: 2"))
    assert names([run, sparse]) == ["STDO k=2, every 1", "STDO k=2, every 2"]
    weighted = Run(
        run.directory,
        run.metrics | {"scorer": "dct"},
        {},
        yaml.safe_dump(run.settings | {"sampler": {"ratios": [1, 0.49]}}),
    )
    assert weighted.label == "STDO k=2 ratios 1 .49, scorer dct"


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "not JSON"), ("[]", "another version"), ('{"video": "x"}', "another version"),
     ("\xff", "not JSON"), ('{"a": 1, "a": 2}', "'a' is there twice")],
)  # fmt: skip
def test_a_bad_result_is_left_out_and_names_its_folder(
    outputs: Path, content: str, said: str, capsys
) -> None:
    run = collect([outputs])[0].directory
    (run / "metrics.json").write_bytes(content.encode("latin-1"))
    assert len(collect([outputs])) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: a run is left out: ") and said in line and str(run) in line
    with pytest.raises(UserError, match=said) as error:
        collect([run])
    assert str(run) in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_places(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text('{"jobs": [1]}')
    for where, said in (
        ([], "name run directories"),
        ([tmp_path / "nowhere"], "no such file or folder"),
        ([tmp_path], "no finished run there"),
        ([tmp_path / "sweep.json"], "is not a sweep file"),
    ):
        with pytest.raises(UserError, match=said):
            collect(where)
