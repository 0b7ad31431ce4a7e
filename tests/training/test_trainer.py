"""What of Lightning's Trainer a user may set, and what is said of the rest before a video is even
opened."""

import inspect
import subprocess
import sys
from functools import partial
from itertools import combinations
from pathlib import Path

import pytest
import pytorch_lightning as pl
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from pytorch_lightning.strategies import DDPStrategy
from tiny_job import JOB as TINY

from stdo.config.jobs import build_job
from stdo.config.trust import conf_dir
from stdo.core.types import UserError
from stdo.training.options import HONOURED
from stdo.training.trainer import REFUSED, SEVERAL, TRIED, check_processes, strategy_for, tried

NOWHERE = "video.path=nowhere.mkv"
"""A job that gets as far as its video says that it is not there."""

REFUSALS = {
    "trainer=gpu": "trainer.accelerator=gpu: Lightning refuses it",
    "trainer.accelerator=cuda": "trainer.accelerator=cuda: Lightning refuses it",
    "trainer.accelerator=mps": "trainer.accelerator=mps: Lightning refuses it",
    "trainer.accelerator=tpu": "trainer.accelerator=tpu: Lightning refuses it",
    "trainer.accelerator=nosuch": "trainer.accelerator=nosuch: Lightning refuses it",
    "trainer.accelerator=null": "trainer.accelerator=None: Lightning refuses it",
    "trainer.devices=0": "trainer.devices=0: Lightning refuses it",
    "trainer.devices=-1": "trainer.devices=-1: Lightning refuses it",
    "trainer.devices=x": "trainer.devices=x: Lightning refuses it",
    "trainer.devices=[0,1]": "trainer.devices=\\[0, 1\\]: Lightning refuses it",
    "+trainer.num_nodes=0": "trainer.num_nodes=0: Lightning refuses it",
    "+trainer.strategy=dp": "trainer.strategy=dp: Lightning refuses it",
    "+trainer.strategy=fsdp": "trainer.strategy=fsdp: Lightning refuses it",
    "+trainer.strategy=deepspeed": "trainer.strategy=deepspeed: Lightning refuses it",
    "+trainer.strategy=ddp_spawn": "trainer.strategy=ddp_spawn: must be auto or ddp",
    "+trainer.strategy=ddp_fork": "trainer.strategy=ddp_fork: must be auto or ddp",
    "+trainer.profiler=nosuch": "trainer.profiler=nosuch: must be one of advanced, pytorch, simple",
    "+trainer.gradient_clip_val=-1": "trainer.gradient_clip_val=-1: must be a number, 0 or more",
    "+trainer.gradient_clip_algorithm=value": (
        "trainer.gradient_clip_algorithm=value: needs trainer.gradient_clip_val"
    ),
    "+trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches=0: must be a whole",
    "+trainer.default_root_dir=3": "trainer.default_root_dir=3: Lightning refuses it",
    "+trainer.nosuch=1": "trainer.nosuch=1: Lightning's Trainer has no such setting",
    "+trainer.deterministic=maybe": "trainer.deterministic=maybe: must be true, false or warn",
    "+trainer.detect_anomaly=x": "trainer.detect_anomaly=x: must be true or false",
    "+trainer.max_time=soon": (
        "trainer.max_time=soon: must be left out: callbacks.timer._target_=pytorch_lightning"
    ),
    "trainer.logger=true": "trainer.logger=True: must be left out: logger=",
    "+trainer.callbacks=[{_target_:pytorch_lightning.callbacks.Timer}]": (
        "trainer.callbacks=.* must be left out"
    ),
}


def configured(*overrides: str) -> object:
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        return compose("train", [*TINY, NOWHERE, "trainer=cpu", *overrides])


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("setting", REFUSALS)
def test_what_lightning_or_a_fit_cannot_do_is_one_line_before_the_video(
    setting: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"^{REFUSALS[setting]}") as caught:
        build_job(configured(setting))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_a_users_to_set_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"^trainer.{name}=7: must be left out: "):
        build_job(configured(f"++trainer.{name}=7"))


@pytest.mark.parametrize(
    "setting",
    ["trainer.devices=1", "trainer.devices=auto", "trainer.devices=3", "+trainer.strategy=ddp",
     "trainer=auto", "+trainer.deterministic=true", "+trainer.profiler=simple",
     "trainer.enable_model_summary=true", "trainer.precision=bf16-mixed", "trainer.logger=null"],
)  # fmt: skip
def test_what_works_gets_as_far_as_the_video(setting: str) -> None:
    with pytest.raises(InstantiationException, match="nowhere.mkv: no such file"):
        build_job(configured(setting))


def test_every_argument_of_a_trainer_is_either_refused_or_known_here() -> None:
    """A new one in a later Lightning is looked at before it can be set."""
    known = set(inspect.signature(pl.Trainer).parameters)
    for one, other in combinations((set(TRIED), set(HONOURED), set(REFUSED)), 2):
        assert not one & other
    assert {*TRIED, *HONOURED, *REFUSED} == known


def test_every_process_has_a_patch_for_every_part_of_a_step() -> None:
    built = tried(partial(pl.Trainer, accelerator="cpu", devices=3), {}, {})
    check_processes(built, 12, 4)
    check_processes(built, 3)
    said = "accumulate_grad_batches=4: 3 processes share the 11 patches of a step, and each needs"
    with pytest.raises(UserError, match=said):
        check_processes(built, 11, 4)
    check_processes(tried(partial(pl.Trainer, accelerator="cpu"), {}, {}), 1, 4)


def test_several_processes_may_leave_networks_out_of_a_step() -> None:
    make = partial(pl.Trainer, accelerator="cpu", devices=2)
    built = tried(make, {"accelerator": "cpu", "devices": 2}, {})
    assert isinstance(built.strategy, DDPStrategy)
    assert strategy_for(built, None) == strategy_for(built, "ddp") == SEVERAL
    own = DDPStrategy(find_unused_parameters=False)
    assert strategy_for(built, own) is own
    alone = tried(partial(pl.Trainer, accelerator="cpu"), {"accelerator": "cpu"}, {})
    assert strategy_for(alone, "auto") == "auto"


@pytest.mark.slow
def test_three_processes_on_the_processor_train(finished_runs: Path, tmp_path: Path) -> None:
    clip = finished_runs.parent / "clip.mkv"
    command = [
        sys.executable,
        "-m",
        "stdo.train",
        *TINY,
        f"video.path={clip}",
        "trainer=cpu",
        "trainer.devices=3",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("outputs/clip/*/metrics.json"))) == 1
    refused = subprocess.run(
        [*command[:-1], "trainer.devices=5", "force=true"],
        cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    said = (
        "stdo: trainer.devices: 5 processes share the 4 patches of a step: must be at most 4; "
        "raise budget.batch\n"
    )
    assert (refused.returncode, refused.stderr) == (2, said)


def test_the_page_has_every_argument_of_a_trainer() -> None:
    page = (Path(__file__).parents[2] / "docs" / "lightning.md").read_text(encoding="utf-8")
    for name in inspect.signature(pl.Trainer).parameters:
        if name in REFUSED:
            line = f"| `{name}` | refused | {REFUSED[name]} |"
        else:
            line = f"| `{name}` | honoured | {'tried' if name in TRIED else 'fit'} |"
        assert line in page, name
