"""The training curve: which steps it has, what its figures are, and how it goes on after a fit that
was killed."""

import signal
from itertools import pairwise
from pathlib import Path

import pytest
import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from stdo.core.signals import Stopped
from stdo.core.types import UserError
from stdo.pipeline.steps import train
from stdo.runs.tracking.curves import COLUMNS, CurveFile, CurveLogger, read_curve, replay
from stdo.runs.tracking.tracker import FilesOnly
from stdo.training.options import Options


def row(step: int) -> dict[str, float]:
    return {
        "train/presentations": step * 8,
        "train/seconds": step / 3,
        "train/loss": 0.5,
        "train/psnr": 30,
        "train/lr": 1e-4,
    }


def steps(path: Path) -> list[int]:
    return [int(row["step"]) for row in read_curve(path)]


class TestFile:
    def test_reads_back_what_was_written(self, tmp_path: Path) -> None:
        file = CurveFile(tmp_path / "curves.csv")
        file.write(row(1), 1)
        file.write(row(12_345_678), 12_345_678)
        file.close()
        assert (tmp_path / "curves.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
        first, second = read_curve(tmp_path / "curves.csv")
        assert first == {
            "step": 1,
            "presentations": 8,
            "seconds": 0.3333333,
            "loss": 0.5,
            "psnr": 30,
            "lr": 1e-4,
        }
        assert (second["step"], second["presentations"]) == (12_345_678, 98_765_424)

    def test_is_on_disk_after_every_row(self, tmp_path: Path) -> None:
        file = CurveFile(tmp_path / "curves.csv")
        for step in (1, 10):
            file.write(row(step), step)
            assert steps(tmp_path / "curves.csv")[-1] == step

    def test_goes_on_without_the_steps_that_are_repeated(self, tmp_path: Path) -> None:
        path = tmp_path / "curves.csv"
        first, second = CurveFile(path), CurveFile(path)
        for step in (1, 10, 20, 30):
            first.write(row(step), step)
        second.write(row(20), 20)
        assert steps(path) == [1, 10, 20]

    @pytest.mark.parametrize(
        "torn", ["30,240", "30,240,1.5,0.5,30,", "\x00\x00", "30,240,1.5,0.5,30,1e-4,7"]
    )
    def test_leaves_out_the_torn_row_of_a_killed_fit(self, tmp_path: Path, torn: str) -> None:
        path = tmp_path / "curves.csv"
        file = CurveFile(path)
        file.write(row(20), 20)
        with path.open("a") as end:
            end.write(torn)
        CurveFile(path).write(row(30), 30)
        assert steps(path) == [20, 30]

    def test_takes_the_curve_alone(self, tmp_path: Path) -> None:
        CurveFile(tmp_path / "curves.csv").write({"epoch": 0, "mine": 1.0}, 5)
        assert not (tmp_path / "curves.csv").exists()

    def test_a_full_disk_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        file = CurveFile(Path("curves.csv"))
        monkeypatch.setattr(
            file,
            "_go_on",
            lambda step: Path("/dev/full").open("w", encoding="utf-8", buffering=1),  # noqa: SIM115
        )
        with pytest.raises(UserError, match="the disk is full"):
            file.write(row(1), 1)
        with pytest.raises(UserError, match="the disk is full"):
            file.close()


class TestFit:
    def test_has_the_first_the_last_and_every_tenth_step(self, make_job) -> None:
        job = make_job(passes=5.0)
        metrics = train(job)
        curve = read_curve(job.directory / "curves.csv")
        last = metrics["steps"]
        assert last > 20 and last % 10
        assert [row["step"] for row in curve] == [1, *range(10, last, 10), last]
        assert curve[-1]["presentations"] == metrics["patch_presentations"]
        assert curve[-1]["seconds"] == pytest.approx(
            metrics["seconds"]["train"], rel=0.05, abs=0.05
        )
        assert curve[-1]["psnr"] > curve[0]["psnr"]
        assert curve[0]["lr"] == pytest.approx(1e-3)

    def test_goes_on_after_an_interruption_as_if_there_were_none(
        self, make_job, trainer, monkeypatch
    ) -> None:
        # The run ends before it
        monkeypatch.setattr(
            "stdo.pipeline.steps.evaluate", lambda directory, clip, prepare_seconds, metrics: {}
        )

        class Interrupt(pl.Callback):
            def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
                if trainer.global_step >= 14:
                    raise Stopped(signal.SIGINT)

        def interrupted(callbacks, **settings) -> pl.Trainer:
            return trainer(callbacks=[*callbacks, Interrupt()], **settings)

        straight, killed = (
            make_job("straight", passes=5.0),
            make_job("killed", passes=5.0, checkpoint_seconds=0),
        )
        train(straight)
        with pytest.raises(Stopped):
            train(make_job("killed", passes=5.0, checkpoint_seconds=0, trainer=interrupted))
        before = read_curve(killed.directory / "curves.csv")
        assert [row["step"] for row in before] == [1, 10]
        train(killed)
        assert (killed.directory / "weights.safetensors").exists()
        expected, after = (read_curve(job.directory / "curves.csv") for job in (straight, killed))
        assert after[:2] == before
        assert [{**row, "seconds": 0} for row in after] == [
            {**row, "seconds": 0} for row in expected
        ]
        assert all(early["seconds"] < late["seconds"] for early, late in pairwise(after))

    def test_a_very_short_fit_has_its_ends_and_force_begins_a_new_file(self, make_job) -> None:
        job = make_job(passes=1.0)
        assert train(job)["steps"] == 4
        assert steps(job.directory / "curves.csv") == [1, 4]
        train(job, force=True)
        assert steps(job.directory / "curves.csv") == [1, 4]


def test_a_logger_that_comes_later_is_told_what_one_in_the_fit_is(make_job) -> None:
    told: list[tuple[int, tuple[str, ...]]] = []

    class Listens(FilesOnly):
        def loggers(self) -> list[Logger]:
            return [CurveLogger("own", lambda row, step: told.append((step, tuple(sorted(row)))))]

    job = make_job(tracker=Listens, options=Options(validate_every=4, validate_frames=3))
    train(job)
    live, told[:] = list(told), []
    replay(job.directory, lambda row, step: told.append((step, tuple(sorted(row)))))
    assert told == live and any("val/psnr" in names for _, names in told)


def test_other_processes_of_a_fit_write_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytorch_lightning.utilities import rank_zero_only

    rows: list[int] = []
    logger = CurveLogger("list", lambda metrics, step: rows.append(step))
    logger.log_metrics({"train/loss": 1.0}, 1)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger.log_metrics({"train/loss": 1.0}, 2)
    assert rows == [1]
