"""The dashboard: differences at equal work by hand, and panels that show nothing but what runs
really log."""

import json
from pathlib import Path

import pytest

from stdo.reporting import dashboard
from stdo.reporting.runs import Run
from stdo.runs.tracking.memory import Memory

pytest.importorskip("wandb_workspaces")
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")


def made(name: str, frame: float, **changes) -> Run:
    """A run of NAS's kind; the settings of its video's patches can be changed as well."""
    halo = changes.pop("halo", 0)
    facts = {
        "video": "clip", "frames": 30, "backbone": "espcn", "scale": 2, "chunks": 4, "seed": 0,
        "precision": "32-true", "method": "nas", "chunking": "time", "network": None, "steps": 100,
        "patch_presentations": 1600, "batch": 16, "passes": 1, "width": 96, "height": 64,
        "psnr": {"frame": frame, "y": frame + 1},
        "bicubic": {"psnr": {"frame": 30.0, "y": 31.0}},
    }  # fmt: skip
    return Run(
        Path(name), facts | changes, {}, f"patches:\n  halo: {halo}\nlogger:\n  mode: {name}\n"
    )


NAS, STDO = made("nas", 31.0), made("stdo", 31.5, method="stdo", chunking="score")


class TestDifferences:
    def test_are_plain_subtractions_in_every_protocol(self) -> None:
        cafm = made("cafm", 30.75, method="cafm")
        assert dashboard.differences([NAS, STDO, cafm]) == {
            Path("nas"): {"over_cafm/nas/frame": 0.25, "over_cafm/nas/y": 0.25},
            Path("stdo"): {
                "over_nas/stdo/frame": 0.5, "over_nas/stdo/y": 0.5,
                "over_cafm/stdo/frame": 0.75, "over_cafm/stdo/y": 0.75,
            },
            Path("cafm"): {"over_nas/cafm/frame": -0.25, "over_nas/cafm/y": -0.25},
        }  # fmt: skip

    @pytest.mark.parametrize(
        "change",
        [
            {"video": "other"}, {"frames": 31}, {"backbone": "wdsr"}, {"scale": 4},
            {"precision": "bf16-mixed"}, {"halo": 4}, {"network": 0},
            {"patch_presentations": 1640},
        ],
        ids=str,
    )  # fmt: skip
    def test_need_the_same_of_everything_but_the_method(self, change: dict) -> None:
        assert dashboard.differences([made("other", 31.0, **change), STDO]) == {}

    def test_are_to_runs_with_as_many_chunks_and_of_the_seed_where_there_are_such(self) -> None:
        fewer, seed = made("fewer", 30.0, chunks=2), made("seed", 30.5, seed=1)
        for others, difference in (
            ([NAS, fewer, seed], 0.5), ([fewer, seed], 1.0), ([fewer], 1.5),
        ):  # fmt: skip
            found = dashboard.differences([*others, STDO])[Path("stdo")]
            assert found["over_nas/stdo/frame"] == difference

    def test_allow_for_rounding_to_whole_steps(self) -> None:
        assert dashboard.differences([made("other", 31.0, patch_presentations=1616), STDO])

    def test_compare_a_method_without_chunks_with_the_mean(self) -> None:
        awdnn = made("awdnn", 30.0, method="awdnn", chunking="whole", chunks=1)
        found = dashboard.differences([NAS, made("nas2", 32.0, chunks=2), awdnn])
        assert found[Path("awdnn")]["over_nas/awdnn/frame"] == -1.5

    def test_leave_out_a_figure_that_does_not_exist(self) -> None:
        other = made("other", 31.0, psnr={"frame": 31.0, "y": None})
        assert dashboard.differences([other, STDO])[Path("stdo")] == {"over_nas/stdo/frame": 0.5}


def test_differences_go_into_the_runs_of_this_project(tmp_path: Path) -> None:
    found = {}
    for name, kept in {
        "mine": {"id": "a", "project": "stdo", "entity": None},
        "named": {"id": "b", "project": "stdo", "entity": "me"},
        "other project": {"id": "c", "project": "x", "entity": None},
        "other entity": {"id": "d", "project": "stdo", "entity": "you"},
    }.items():
        Memory(tmp_path / name / "wandb").keep(**kept)
        found[tmp_path / name] = {"over_nas/stdo/frame": 0.5}
    found[tmp_path / "never told"] = {"over_nas/stdo/frame": 0.5}
    assert set(dashboard.tracked_runs(found, "me", "stdo")) == {"me/stdo/a", "me/stdo/b"}


def test_runs_that_are_not_at_wandb_are_named() -> None:
    class Summary(dict):
        pass

    class Api:
        summary = Summary()

        def run(self, path: str) -> "Api":
            if path.endswith("gone"):
                raise ValueError(f"Could not find run {path}")
            return self

    api = Api()
    values = {"over_nas/stdo/frame": 0.5}
    assert dashboard.write(api, {"me/stdo/gone": values, "me/stdo/here": values}) == [
        "me/stdo/gone"
    ]
    assert api.summary == values


def shown(**asked: str) -> dict:
    """What W&B is sent."""
    board = dashboard.workspace("me", "stdo", **asked)
    return json.loads(board._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))


@pytest.fixture
def panels() -> list[dict]:
    return [
        panel["config"] | {"kind": panel["viewType"]}
        for section in shown(protocol="y")["section"]["panelBankConfig"]["sections"]
        for panel in section["panels"]
    ]


LOGGED = {
    *(
        f"over_{base}/{method}/y"
        for base in ("nas", "cafm") for method in dashboard.NAMES if method != base
    ),
    "gain/y", "psnr/y", "params", "macs_per_frame", "seconds/train", "train/psnr", "train/loss",
    "train/presentations", "train/seconds", "pictures/comparison", "pictures/heatmap",
    "crops/truth", "crops/bicubic", "crops/ours",
}  # fmt: skip


def test_panels_show_what_runs_log(panels: list[dict]) -> None:
    shown = set()
    for panel in panels:
        shown |= {*panel.get("metrics", []), *panel.get("mediaKeys", [])}
        shown |= {
            panel[key].removeprefix("summary:")
            for key in ("xAxis", "yAxis", "zAxis")
            if panel.get(key)
        }
    assert shown == LOGGED


def test_every_method_is_shown_by_backbone_scale_chunks_and_video(panels: list[dict]) -> None:
    bars = [panel for panel in panels if panel["kind"] == "Bar Chart"]
    for base in ("nas", "cafm"):
        groups = {panel["groupBy"] for panel in bars if f"over_{base}/stdo/y" in panel["metrics"]}
        assert groups == {
            f"facts.value.{name}" for name in ("backbone", "scale", "chunks", "video")
        }


@pytest.mark.parametrize("group", ["mine", 'it\'s "x"', "a=b<c", "ü \\"])
def test_one_group_can_be_shown_alone(group: str) -> None:
    (runs,) = shown(group=group)["section"]["runSets"]
    assert json.dumps(group) in json.dumps(runs["filters"])
