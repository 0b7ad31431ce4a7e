"""Callbacks and loggers from the configuration: what is honoured, and what is refused before
anything is decoded."""

import gc
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from lightning_utilities.core.imports import RequirementCache
from omegaconf import OmegaConf

from stdo.config.callbacks import REFUSED, callbacks_of, tracker_of
from stdo.config.composed import configured
from stdo.config.jobs import build_job, run_directory
from stdo.config.trust import conf_dir
from stdo.config.words import as_meant
from stdo.core.types import UserError
from stdo.pipeline.steps import train
from stdo.training.options import Options

HONOURED: dict[str, dict[str, Any]] = {
    "EarlyStopping": {"monitor": "val/psnr", "mode": "max", "patience": 99},
    "LambdaCallback": {},
    "LearningRateMonitor": {"logging_interval": "step"},
    "ModelCheckpoint": {"monitor": "val/psnr", "mode": "max", "save_top_k": 2},
    "ModelSummary": {},
    "OnExceptionCheckpoint": {"dirpath": "."},
    "Timer": {"duration": "00:01:00:00"},
    "TQDMProgressBar": {},
}
OWN_PACKAGES = {
    "DeviceStatsMonitor": "psutil",
    "RichModelSummary": "rich",
    "RichProgressBar": "rich",
}
"""Honoured where a package of their own is installed."""
CHANGING = {"EMAWeightAveraging": {}, "WeightAveraging": {}}
"""Honoured; the weights are others."""


def asked(kinds: dict[str, dict[str, Any]]) -> Any:
    callbacks = {
        name.lower(): {"_target_": f"pytorch_lightning.callbacks.{name}", **arguments}
        for name, arguments in kinds.items()
    }
    return OmegaConf.create({"callbacks": callbacks, "budget": {"validate_every": 0.5}})


def test_every_callback_of_lightning_is_honoured_or_refused() -> None:
    known = {*HONOURED, *OWN_PACKAGES, *CHANGING, *REFUSED}
    assert known == set(pl.callbacks.__all__)


def test_callbacks_see_the_fit_and_change_no_weight(make_job) -> None:
    kinds = HONOURED | {
        name: {}
        for name, package in OWN_PACKAGES.items()
        # Two bars at once cannot be
        if importlib.util.find_spec(package) and name != "RichProgressBar"
    }
    plain, job = make_job("plain"), make_job("job")
    make = callbacks_of(asked(kinds))
    job = make_job("job", options=Options(callbacks=make, validate_every=0.5, validate_frames=3))
    assert train(plain)["psnr"] == train(job)["psnr"]
    kept = list((job.directory / "kept").glob("*.ckpt"))
    assert len(kept) == 2
    assert make(Path())[0] is not make(Path())[0], "new ones for each phase"


@pytest.mark.parametrize("name", CHANGING)
def test_averages_of_weights_are_what_is_kept(make_job, name: str) -> None:
    make = callbacks_of(asked({name: {}}))
    plain, job = make_job("plain"), make_job("job", options=Options(callbacks=make))
    assert train(plain)["psnr"] != train(job)["psnr"]


REFUSALS = {
    "callbacks.a=5": "callbacks.a=5: must have a _target_, such as callbacks.a._target_=",
    "callbacks.a._target_=os.system": "_target_=os.system: must be defined in one of",
    "callbacks.a._target_=pytorch_lightning.callbacks.EarlyStoping": "there is no such class",
    "callbacks.a._target_=pytorch_lightning.Trainer": "callbacks.a: must be a callback",
    "callbacks.a._target_=lightning.pytorch.callbacks.BatchSizeFinder": (
        "callbacks.a: BatchSizeFinder must be left out: budget.batch"
    ),
    "callbacks.a._target_=pytorch_lightning.callbacks.EarlyStopping callbacks.a.monitor=val/loss": (
        "callbacks.a.monitor=val/loss: is never logged: must be one of val/psnr, train/loss"
    ),
    "callbacks.a._target_=pytorch_lightning.callbacks.EarlyStopping callbacks.a.monitor=val/psnr "
    "callbacks.a.mode=max": "acts where the video is validated: set budget.validate_every",
    "callbacks=early_stopping callbacks.early_stopping.mode=min": "must be max: val/psnr",
    "callbacks.a._target_=pytorch_lightning.callbacks.ModelCheckpoint callbacks.a.monitor=val/psnr "
    "budget.validate_every=0.5": "callbacks.a.mode=min: must be max: val/psnr is better the higher",
    "callbacks.a._target_=pytorch_lightning.callbacks.EarlyStopping callbacks.a.mode=max "
    "callbacks.a.monitor=train/loss budget.validate_every=0.5": (
        "callbacks.a.mode=max: must be min: train/loss is better the lower"
    ),
    "trainer.profiler._target_=pytorch_lightning.profilers.SimpleProfiler trainer.profiler.no=1": (
        "trainer.profiler: cannot be built .*unexpected keyword argument 'no'"
    ),
    "trainer.profiler._target_=pytorch_lightning.callbacks.Timer": (
        "trainer.profiler: must be a profiler of Lightning, not Timer"
    ),
    "trainer.profiler.extended=true": "trainer.profiler=.*: must have a _target_, such as",
    "callbacks=early_stopping callbacks.early_stopping.patienc=1": "cannot be built .*patienc",
}


def job_of(*words: str) -> Any:
    """As far as a job gets on the generated clip, which nothing decodes."""
    return build_job(composed(*words))


def composed(*words: str) -> Any:
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        return compose("train", as_meant(["trainer=cpu", "backbone=espcn", *words]))


@pytest.mark.parametrize("words", REFUSALS)
def test_a_callback_that_cannot_work_is_one_line(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=REFUSALS[words]) as caught:
        job_of(*words.split())
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


PACKAGES = {
    "loggers.CometLogger": "comet_ml",
    "loggers.LitLogger": "litlogger",
    "loggers.MLFlowLogger": "mlflow",
    "loggers.TensorBoardLogger": "tensorboard",
    "loggers.WandbLogger": "wandb",
    "profilers.XLAProfiler": "torch_xla",
}
"""What classes of Lightning need that it does not install itself."""
ALONE = {"loggers.CSVLogger", "loggers.Logger"} | {
    f"profilers.{name}Profiler" for name in ("", "Simple", "Advanced", "PassThrough", "PyTorch")
}


def test_the_packages_of_loggers_and_profilers_are_known() -> None:
    loggers = {f"loggers.{name}" for name in pl.loggers.__all__}
    assert ALONE | set(PACKAGES) == loggers | {f"profilers.{n}" for n in pl.profilers.__all__}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_class_whose_package_is_missing_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of those that are installed, one line is still what a missing one would be."""
    kind = get_class(f"pytorch_lightning.{name}")
    for parent in kind.__mro__:
        for value in vars(sys.modules[parent.__module__]).values():
            if isinstance(value, RequirementCache):
                monkeypatch.setattr(value, "available", False, raising=False)
                monkeypatch.setattr(
                    value, "message", f"{value.requirement} is not here", raising=False
                )
    monkeypatch.chdir(tmp_path)
    where = "trainer.profiler" if name.startswith("profilers") else "logger.mine"
    with pytest.raises(UserError, match=rf"^{where}: cannot be built \(.* is not here") as caught:
        job_of(f"+{where}._target_=pytorch_lightning.{name}")
    assert "\n" not in str(caught.value)
    del caught
    gc.collect()
    assert "Exception ignored" not in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_statistics_of_the_device_need_psutil_on_a_cpu_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pytorch_lightning.accelerators.cpu._PSUTIL_AVAILABLE", False)
    config = asked({"DeviceStatsMonitor": {}})
    config.trainer = {"accelerator": "cpu"}
    with pytest.raises(UserError, match=r"^callbacks.devicestatsmonitor: cannot be built"):
        callbacks_of(config)
    config.callbacks.devicestatsmonitor.cpu_stats = False
    callbacks_of(config)


def test_a_class_that_is_not_there_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"NoLogger: there is no such class or function$"):
        job_of("+logger.x._target_=pytorch_lightning.loggers.NoLogger")
    assert capfd.readouterr().err == ""


def test_a_class_of_a_profiler_writes_into_the_run_directory_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "trainer.profiler._target_=lightning.pytorch.profilers.SimpleProfiler",
        "method=nas", "chunking.seconds=0.1",
    ]  # fmt: skip
    made = job_of(*words).options.profiler_in(Path("run"), "phase-1")
    assert type(made) is pl.profilers.SimpleProfiler
    assert (made.dirpath, made.filename) == (Path("run"), "profile-phase-1")
    assert "profile: run/fit-profile-phase-1*" in capsys.readouterr().err
    made = job_of(*words, "trainer.profiler.filename=mine").options.profiler_in(Path("run"))
    assert (made.dirpath, made.filename) == (Path("run"), "mine")


def test_what_shapes_the_fit_names_the_run_and_what_does_not_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    source = SimpleNamespace(fingerprint=lambda: "0123", info=SimpleNamespace(name="clip"))

    def name(*words: str) -> str:
        config = composed(*words)
        config.name = "same"
        return run_directory(config, source).name

    plain = name()
    for words in (
        "trainer.max_steps=-1", "trainer.limit_train_batches=1.0", "trainer.profiler=simple",
        "trainer.accumulate_grad_batches=1", "trainer.fast_dev_run=false",
        "budget.validate_every=0.1", "logger=[wandb,tensorboard,csv]",
    ):  # fmt: skip
        assert name(words) == plain, words
    others = [
        "trainer.max_steps=9", "trainer.limit_train_batches=1", "trainer.gradient_clip_val=1",
        "trainer.accumulate_grad_batches=2", "debug=fdr", "debug=limit", "debug=overfit",
        "debug=profiler", "callbacks=early_stopping",
        "callbacks=early_stopping budget.validate_every=0.2",
    ]  # fmt: skip
    assert len({plain, *(name(*words.split()) for words in others)}) == len(others) + 1


def test_python_may_set_them_too() -> None:
    config = configured({"trainer.max_steps": 5, "callbacks.mine._target_": "x", "logger": "csv"})
    assert (config.trainer.max_steps, config.callbacks.mine._target_) == (5, "x")


def test_several_loggers_are_told_at_once(make_job) -> None:
    """Ours, and Lightning's own, which write into the run directory unless told where."""
    config = composed(
        "logger=[csv,tensorboard]", "logger.mine._target_=pytorch_lightning.loggers.CSVLogger"
    )
    job = make_job(passes=1.0)
    train(make_job(passes=1.0, tracker=tracker_of(config, {"seed": 0})))
    assert list((job.directory / "tensorboard").glob("events*"))
    (logged,) = (job.directory / "loggers").rglob("metrics.csv")
    text = logged.read_text()
    assert "train/psnr" in text and "result/psnr/frame" in text
    assert (job.directory / "curves.csv").exists()


def test_a_run_directory_cannot_bring_callbacks(finished_runs: Path, tmp_path: Path) -> None:
    """Only what a clip is made of is built from a run directory."""
    from stdo.config.trust import BUILT, load_config

    run = next(path.parent for path in finished_runs.rglob("metrics.json"))
    text = (run / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(
        text.replace("callbacks: {}", "callbacks: {a: {_target_: os.system, command: x}}")
    )
    assert "os.system" in (tmp_path / "config.yaml").read_text()
    assert load_config(tmp_path).callbacks.a._target_ == "os.system"
    assert "callbacks" not in BUILT and "logger" not in BUILT and "trainer" not in BUILT
