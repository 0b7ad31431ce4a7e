"""What does not fit the video or the machine is said before anything is decoded."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from stdo.config.jobs import build_job
from stdo.config.trust import conf_dir
from stdo.core.types import UserError
from stdo.models.registry import BACKBONES, build
from stdo.pipeline.steps import train
from stdo.training.memory import host_memory, peak_of_pass, saved_by_step

TINY = [
    "backbone=espcn",
    "scale=2",
    "chunks=2",
    "patches.height=12",
    "patches.width=16",
    "trainer=cpu",
]


def prepared(finished_runs: Path, folder: Path, *overrides: str):
    paths = [
        f"video.path={finished_runs.parent}/clip.mkv",
        f"paths.outputs={folder}/out",
        f"paths.cache={folder}/in",
    ]
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        return build_job(compose("train", [*TINY, "budget.passes=1", *paths, *overrides]))


REFUSALS = {
    (
        "patches.halo=2000",
    ): r"patches.halo=2000: must be at most 64: espcn sees 4 LR pixels around a patch",
    ("patches.halo=65",): r"patches.halo=65: must be at most 64",
    (
        "budget.batch=100000000",
    ): r"budget.batch=100000000: a step of .* takes .* GB of memory at least",
    (
        "budget.batch=100000000",
        "method=stdo",
    ): r"budget.batch=100000000: a step of .* takes .* GB of memory at least",
    (
        "budget.batch=100000000",
        "method=nas",
    ): r"budget.batch=100000000: a step of 200000000 padded patches of",
    (
        "budget.batch=100000000",
        "method=awdnn",
        "+trainer.accumulate_grad_batches=4",
    ): r"budget.batch=100000000: a step of 100000000 padded patches of",
    (
        "budget.passes=1e12",
    ): r"budget.passes=1e\+12: the list of .* steps takes .* GB of memory at least",
    ("budget.passes=1e8", "method=stdo", "budget.batch=1"): r"budget.passes=1e\+08: ",
    (
        "budget.passes=0.001",
    ): r"budget.passes=0.001: must be at least 0.1482 for this video with init=warm",
    (
        "method=stdo",
        "sampler=crops",
    ): r"^sampler=crops: crops lie anywhere in a frame, and chunking=score divides frames: it must",
    (
        "sampler@init.sampler=crops",
    ): r"^init.sampler=crops: crops lie anywhere in a frame, and chunking=score divides frames: it",
    (
        "method=nas",
        "sampler=crops",
        "sampler.crop=37",
    ): r"^sampler.crop=37: must be from 1 to 36: LR frames have 48x36 pixels",
    ("method=nas", "sampler=crops", "sampler.crop=0"): r"^sampler.crop=0: must be a whole number",
    (
        "method=nas",
        "sampler=crops",
        "sampler.crop=12",
        "budget.batch=100000000",
    ): r"^budget.batch=100000000: a step of 200000000 crops of 12x12 LR pixels",
    ("method=nas", "chunks=7"): r"chunks=7: the video has only 6 frames",
    (
        "method=jstdo",
        "sampler.size=9999",
    ): r"sampler.size=9999: must be from 1 to the video's 54 patches",
    ("+optim.optimizer.nosuch=1",): r"optim: cannot be built as it is set \(TypeError: .*nosuch",
    (
        "method=stdo",
        "optim.optimizer.betas=3",
    ): r"optim: cannot be built as it is set \(TypeError: ",
    (
        "method=stdo",
        "optim.optimizer.lr=-1",
    ): r"optim: cannot be built .*ValueError: Invalid learning",
    ("+optim.schedule.nosuch=1",): r"optim: cannot be built as it is set \(TypeError: .*nosuch",
    (
        "+sampler.nosuch=1",
    ): r"sampler, init.sampler: cannot be built as it is set \(TypeError: .*nosuch",
    ("+sharing.nosuch=1",): r"sharing: cannot be built as it is set \(TypeError: .*nosuch",
    (
        "method=stdo",
        "sampler=decay",
    ): r"sampler.ratios=.*: network 1 would see no patch; use sharing=single",
}


@pytest.mark.parametrize("settings", REFUSALS)
def test_what_cannot_be_is_refused_before_anything_is_decoded(
    settings: tuple[str, ...], finished_runs: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"^{REFUSALS[settings]}") as caught:
        prepared(finished_runs, tmp_path, *settings)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_many_networks_need_memory_too(finished_runs: Path, tmp_path: Path) -> None:
    settings = [
        "backbone=edsr",
        "chunks=10000",
        "method=stdo",
        "patches.height=1",
        "patches.width=1",
    ]
    with pytest.raises(
        UserError, match=r"^chunks=10000: training 10,000 networks takes .* GB of memory at least"
    ):
        prepared(finished_runs, tmp_path, *settings)


def test_the_least_budget_that_is_named_trains(finished_runs: Path, tmp_path: Path) -> None:
    metrics = train(prepared(finished_runs, tmp_path, "budget.passes=0.1482"))
    assert metrics["steps"] == 2 and metrics["branch_step"] == 1


SPEND = """
import torch
from stdo.models.registry import build

def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))\
.split()[1]) << 10

torch.set_num_threads(1)
network = build({name!r}, 2)
network(torch.rand(1, 3, 16, 16)).square().mean().backward()
before = resident()
out = network(torch.rand(1, 3, {side}, {side}))
print(resident() - before)
"""


@pytest.mark.parametrize("name", ["espcn", "ecbsr"])
def test_a_step_takes_what_is_told_of_it(name: str) -> None:
    """Memory of a real pass, as the system counts it, is no less than what is told, and not much
    more."""
    side = 700
    told = saved_by_step(build(name, 2), (side, side), half=False)
    code = SPEND.format(name=name, side=side)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    taken = int(done.stdout)
    assert 0.9 * told < taken < 3 * told, (told, taken)


@pytest.mark.parametrize("name", BACKBONES)
def test_memory_is_told_of_every_backbone(name: str) -> None:
    network = build(name, 4)
    small, middle, large = (
        saved_by_step(network, (side, side), half=False) for side in (20, 40, 80)
    )
    assert 3.8 < (large - middle) / (middle - small) < 4.1, (
        "it grows with the area, but for the weights"
    )
    assert peak_of_pass(network, (80, 80)) < large
    assert next(network.parameters()).device.type == "cpu", "the network is left alone"


def test_a_limit_of_the_process_counts() -> None:
    code = (
        "import resource; from stdo.training.memory import host_memory;"
        f"resource.setrlimit(resource.RLIMIT_AS, ({3 << 30}, {resource.RLIM_INFINITY})); "
        "print(host_memory())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) <= 3 << 30
    assert host_memory() is not None
