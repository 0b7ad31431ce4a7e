"""Warm starts as a user types them: general weights, one network that branches, and what comes of
the run."""

import json
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from test_train_command import TINY, clip, run_command

from stdo.config.clips import clip_of
from stdo.config.jobs import build_job
from stdo.config.trust import conf_dir
from stdo.core.types import Json, UserError
from stdo.pipeline.steps import evaluate, train

__all__ = ["clip"]  # the fixture


def run(clip: Path, folder: Path, *overrides: str) -> tuple[Path, Json]:
    """A run in this process, as the command builds it."""
    paths = [f"video.path={clip}", f"paths.outputs={folder}/outputs", f"paths.cache={folder}/cache"]
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        job = build_job(compose("train", [*TINY, *paths, *overrides]))
    return job.directory, train(job)


def test_general_weights_of_one_run_start_and_score_another(clip: Path, tmp_path: Path) -> None:
    directory, general = run(clip, tmp_path, "method=awdnn", "budget.passes=8")
    weights = directory / "weights.safetensors"
    start = ["init=general", f"init.weights={weights}", "optim.lr=1e-9"]
    started, metrics = run(
        clip, tmp_path, "method=stdo", *start, "scorer=pretrained", f"scorer.weights={weights}"
    )
    assert metrics["init"] == "general"
    assert metrics["psnr"]["frame"] == pytest.approx(general["psnr"]["frame"], abs=1e-3), (
        "the rate leaves it alone"
    )
    assert general["psnr"]["frame"] > general["bicubic"]["psnr"]["frame"] + 0.1
    (directory / "weights.safetensors").unlink()
    again = evaluate(started, clip_of(started))
    assert again["psnr"] == metrics["psnr"], "a finished run needs no first weights"


@pytest.mark.slow
def test_general_weights_that_do_not_fit_are_refused_before_anything_is_decoded(
    clip: Path, tmp_path: Path
) -> None:
    directory, _ = run(clip, tmp_path / "first", "method=awdnn")
    weights = directory / "weights.safetensors"
    start = ["init=general", f"init.weights={weights}"]
    done = run_command(
        *TINY, f"video.path={clip}", *start, "backbone.residual=bicubic", cwd=tmp_path
    )
    said = f"stdo: weights={weights}: was trained with backbone.residual=none; bicubic is asked for"
    assert (done.returncode, done.stderr.splitlines()) == (2, [said])
    assert not (tmp_path / "cache").exists()
    with pytest.raises(
        UserError, match="holds 1 x espcn at scale 2; one espcn at scale 4 is needed"
    ):
        run(clip, tmp_path, *start, "scale=4")


def test_a_branched_run_does_the_work_of_the_others_and_keeps_what_it_did(
    clip: Path, tmp_path: Path
) -> None:
    _, jstdo = run(clip, tmp_path, "method=jstdo", "budget.passes=4")
    directory, metrics = run(clip, tmp_path, "method=bstdo", "budget.passes=4")
    assert metrics["patch_presentations"] == jstdo["patch_presentations"]
    assert sum(metrics["chunk_presentations"]) == metrics["patch_presentations"]
    assert (metrics["init"], metrics["residual"], metrics["sharing"]) == (
        "warm",
        "bicubic",
        "independent",
    )
    assert metrics["branch_step"] == metrics["steps"] // 2
    assert metrics["params"] == 2 * jstdo["params"]
    assert json.loads((directory / "metrics.json").read_text()) == metrics
    assert evaluate(directory, clip_of(directory))["psnr"] == metrics["psnr"]


def test_both_phases_and_the_scoring_between_them_show_how_far_they_are(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(clip, tmp_path, "method=bstdo", "budget.passes=1")
    said = capsys.readouterr().err
    assert re.search(r"rescore: 100%.*6/6 \[\d\d:\d\d<", said), "with the time that is left"
    assert said.index("train 1/2: 100%") < said.index("rescore: 100%") < said.index("train 2/2:")


@pytest.mark.slow
def test_a_branched_run_is_delivered(clip: Path, tmp_path: Path) -> None:
    coded = ["deliver=true", "weights.bits=4"]
    done = run_command(
        *TINY, f"video.path={clip}", "method=bstdo", "budget.passes=8", *coded, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (result,) = (tmp_path / "outputs" / "clip").glob("*/metrics.json")
    metrics = json.loads(result.read_text())
    assert metrics["delivered"]["psnr"]["frame"] == pytest.approx(metrics["psnr"]["frame"], abs=0.3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["init.share=1"], "init.share=1: must be a number above 0, below 1"),
        (
            ["sampler.step_shares=[1,2,3]"],
            "sampler.step_shares=[1, 2, 3]: must be 2 numbers, one for each chunk",
        ),
        (
            ["init.sampler.ratios=[1]"],
            "init.sampler.ratios=[1]: must be 2 numbers, one for each chunk",
        ),
    ],
)
def test_wrong_settings_are_one_line(
    clip: Path, tmp_path: Path, settings: list[str], said: str
) -> None:
    with pytest.raises(UserError, match="^" + said.replace("[", r"\[")):
        run(clip, tmp_path, "method=bstdo", *settings)
