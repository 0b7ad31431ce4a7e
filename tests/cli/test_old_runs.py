"""Settings that were deleted: a user's are refused in one line, and runs that were made with them
are still read."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from tiny_job import JOB as TINY

from stdo import deliver, train
from stdo.cli.deliver import pack
from stdo.config.clips import clip_of
from stdo.config.jobs import build_job
from stdo.config.trust import conf_dir
from stdo.encoder.pack import Delivery
from stdo.pipeline.steps import evaluate
from stdo.pipeline.steps import train as fit

OLD = {
    "budget.min_gain": 0.5, "backbone.macs": 0.5, "backbone.width": 1, "backbone.network.width": 1,
    "sharing.bicubic": 1, "backbone.leak": 0.25, "optim.rest": 0.1, "weights.finetune": 0.5,
    "method": "cstdo",
}  # fmt: skip
STOPPED = {"step": 3, "seconds": 1.0, "gain": 0.4, "saved": 96}


@pytest.fixture(scope="module")
def old_run(finished_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose files say what those of a run with every deleted setting said."""
    outputs = tmp_path_factory.mktemp("old")
    home = finished_runs.parent
    paths = [f"video.path={home}/clip.mkv", f"paths.outputs={outputs}", f"paths.cache={home}/cache"]
    asked = [
        "method=stdo",
        "sharing=modulated",
        "sharing.bicubic_chunks=1",
        "backbone.residual=bicubic",
        "backbone.width=0.5",
    ]
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        job = build_job(compose("train", [*TINY, *paths, "trainer=cpu", *asked]))
    fit(
        replace(
            job, command=["train.py"], facts=job.facts | {"method": "cstdo", "stopped": STOPPED}
        )
    )
    config = OmegaConf.load(job.directory / "config.yaml")
    for setting, value in OLD.items():
        OmegaConf.update(config, setting, value, force_add=True)
    OmegaConf.save(config, job.directory / "config.yaml")
    return job.directory


def test_a_run_with_deleted_settings_is_evaluated_delivered_and_reported(
    old_run: Path, report: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    before = json.loads((old_run / "metrics.json").read_text(encoding="utf-8"))
    assert before["stopped"] == STOPPED and before["bicubic_chunks"] == 1
    clip = clip_of(old_run)
    after = evaluate(old_run, clip)
    assert {**after, "seconds": 0} == {**before, "seconds": 0}
    packed = pack(old_run, clip, Delivery())
    assert packed["delivered"]["psnr"]["frame"] == pytest.approx(before["psnr"]["frame"], abs=0.1)
    capsys.readouterr()
    code, out, err = report(f"runs={old_run}", "out=old")
    assert (code, err) == (0, "")
    assert "CSTDO" in out


@pytest.mark.parametrize(
    ("command", "setting"),
    [
        (train, "budget.min_gain=0.5"), (train, "backbone.macs=0.5"),
        (train, "sharing.bicubic_chunks=auto"), (train, "weights.finetune=0.5"),
        (train, "method=cstdo"), (deliver, "weights.finetune=0.5"),
    ],
)  # fmt: skip
def test_a_deleted_setting_is_refused_in_one_line(
    command: object,
    setting: str,
    old_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["stdo", setting, *([f"run={old_run}"] if command is deliver else [])]
    )
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as refused:
        command.main()
    assert refused.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stdo: ") and setting.split("=", maxsplit=1)[0] in line
    assert not list(tmp_path.iterdir())


def test_a_deleted_setting_of_the_report_is_refused_in_one_line(
    old_run: Path, report: Callable
) -> None:
    code, out, err = report(f"runs={old_run}", "target=34")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("stdo: ") and "target" in err
