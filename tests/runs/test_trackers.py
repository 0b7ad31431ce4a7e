"""What trackers are told, and when; what TensorBoard's files hold, read back by TensorBoard."""

import importlib.util
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pytorch_lightning.utilities import rank_zero_only

from stdo.core.types import UserError
from stdo.pipeline.steps import train
from stdo.runs.tracking.board import TensorBoardTracker
from stdo.runs.tracking.curves import read_curve
from stdo.runs.tracking.memory import Memory
from stdo.runs.tracking.summary import chunk_table, crop_table, figures, frame_table
from stdo.runs.tracking.tracker import FilesOnly, tracked
from stdo.runs.tracking.wandb_run import WandbTracker


class Listener(FilesOnly):
    """Notes what it is told."""

    heard: list[str]

    def __init__(self, directory, facts) -> None:
        type(self).heard = [f"made in {directory.name}"]

    def result(self, metrics) -> None:
        self.heard.append(f"result of {metrics['method']}")

    def close(self, failed) -> None:
        self.heard.append("failed" if failed else "done")


class TestTracked:
    def test_a_run_ends_with_its_result(self, make_job) -> None:
        job = make_job(passes=0.3, tracker=Listener)
        train(job)
        assert Listener.heard == ["made in run", "result of stdo", "done"]
        train(job)
        assert Listener.heard == ["made in run", "result of stdo", "done"], (
            "a finished run: told by whoever is new"
        )

    @pytest.mark.parametrize("error", [KeyboardInterrupt, UserError("x"), RuntimeError])
    def test_is_closed_as_failed_after_any_error(self, tmp_path: Path, error) -> None:
        with (
            pytest.raises((KeyboardInterrupt, UserError, RuntimeError)),
            tracked(Listener, tmp_path, {}),
        ):
            raise error
        assert Listener.heard[-1] == "failed"

    def test_the_main_process_alone_tells(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rank_zero_only, "rank", 1)
        with tracked(Listener, tmp_path, {}) as tracker:
            assert type(tracker) is FilesOnly

    @pytest.mark.parametrize(
        ("maker", "package"),
        [(TensorBoardTracker, "tensorboard"), (WandbTracker, "wandb")],
        ids=["tensorboard", "wandb"],
    )
    def test_a_missing_package_names_its_extra(self, make_job, monkeypatch, maker, package) -> None:
        found = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == package else found(name)
        )
        job = make_job(tracker=partial(maker, config={}))
        with pytest.raises(
            UserError, match=rf"logger={package}: .*pip install 'stdo\[train,{package}\]'"
        ):
            train(job)


METRICS = {
    "method": "stdo", "psnr": {"frame": 31.5, "y": None}, "ssim": None,
    "bicubic": {"psnr": {"frame": 30.0, "y": 1}}, "chunk_psnr": [28.0, 33.0],
    "chunk_patches": [5, 4], "chunk_presentations": [8, 7], "network": None,
}  # fmt: skip


class TestSummary:
    def test_figures_are_numbers_and_gains(self) -> None:
        assert figures(METRICS) == {
            "psnr/frame": 31.5, "bicubic/psnr/frame": 30.0, "bicubic/psnr/y": 1, "gain/frame": 1.5,
        }  # fmt: skip

    def test_chunks_have_what_metrics_have(self) -> None:
        assert chunk_table(METRICS)[1] == {
            "chunk": 1,
            "patches": 4,
            "presentations": 7,
            "psnr": 33.0,
        }
        assert chunk_table({"chunk_psnr": [28.0]}) == [{"chunk": 0, "psnr": 28.0}]

    def test_missing_files_are_empty_tables(self, tmp_path: Path) -> None:
        assert frame_table(tmp_path) == crop_table(tmp_path) == []

    def test_a_figure_that_does_not_exist_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "frames.csv").write_text("frame,ssim\n0,\n1,0.5\n")
        assert frame_table(tmp_path) == [{"frame": 0, "ssim": None}, {"frame": 1, "ssim": 0.5}]


@pytest.mark.parametrize("content", ["", "{", "[1]", "null"])
def test_a_damaged_memory_is_empty(tmp_path: Path, content: str) -> None:
    (tmp_path / "stdo.json").write_text(content)
    memory = Memory(tmp_path)
    assert memory.facts == {}
    memory.keep(id="x")
    assert Memory(tmp_path).facts == {"id": "x"}


@pytest.mark.parametrize("first", [None, FilesOnly], ids=["while it trains", "afterwards"])
def test_tensorboard_holds_the_curve_the_figures_and_the_pictures(make_job, first) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if first:
        train(make_job(passes=3.0, tracker=first))
    job = make_job(passes=3.0, tracker=partial(TensorBoardTracker, config={}))
    metrics = train(job)
    folder = job.directory / "tensorboard"
    before = sorted(folder.iterdir())
    train(job)
    assert sorted(folder.iterdir()) == before, "a result is told once"

    board = EventAccumulator(str(folder))
    board.Reload()
    curve = read_curve(job.directory / "curves.csv")
    assert [(event.step, event.value) for event in board.Scalars("train/psnr")] == [
        (row["step"], pytest.approx(row["psnr"], rel=1e-5)) for row in curve
    ]
    (frame,) = board.Scalars("result/psnr/frame")
    assert (frame.step, frame.value) == (metrics["steps"], pytest.approx(metrics["psnr"]["frame"]))
    (picture,) = board.Images("heatmap")
    with Image.open(job.directory / "heatmap.png") as image:
        assert (picture.width, picture.height) == image.size


def test_tensorboard_drops_the_steps_that_a_killed_fit_repeats(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for steps in ([1, 10, 20, 30], [20, 30, 40]):
        tracker = TensorBoardTracker(tmp_path, {}, {})
        (logger,) = tracker.loggers()
        for step in steps:
            logger.log_metrics({"train/loss": float(len(steps))}, step)
        tracker.close(failed=True)
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(event.step, event.value) for event in board.Scalars("train/loss")] == [
        (1, 4), (10, 4), (20, 3), (30, 3), (40, 3)
    ]  # fmt: skip


def made_crop(folder: Path) -> dict[str, object]:
    """A run directory with one crop of 2x2 pixels."""
    (folder / "crops").mkdir()
    files = {name: f"0-{name}.png" for name in ("truth", "bicubic", "ours")}
    for file in files.values():
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(folder / "crops" / file)
    place = {"frame": 3, "top": 0, "left": 0, "height": 2, "width": 2, "why": "largest gain"}
    crop = place | {"bicubic": 30.0, "ours": 31.0, "files": files}
    (folder / "crops" / "crops.json").write_text(json.dumps([crop]))
    return crop


def test_crops_have_whole_paths(tmp_path: Path) -> None:
    made_crop(tmp_path)
    (crop,) = crop_table(tmp_path)
    assert crop["frame"] == 3
    assert crop["files"]["ours"].exists()


@pytest.mark.parametrize("name", ["../private.png", "/etc/hostname", "link.png"])
def test_a_file_from_elsewhere_is_never_sent_as_a_crop(tmp_path: Path, name: str) -> None:
    crop = made_crop(tmp_path)
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "private.png")
    (tmp_path / "crops" / "link.png").symlink_to(tmp_path / "private.png")
    (tmp_path / "crops" / "crops.json").write_text(
        json.dumps([crop | {"files": {**crop["files"], "ours": name}}])
    )
    with pytest.raises(
        UserError, match=r"must be a text of at most 100 characters that matches|is a symbolic link"
    ):
        crop_table(tmp_path)
