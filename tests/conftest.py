"""What several tests use: a tiny clip and a tiny job."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from tiny_job import JOB

from stdo.chunks.sample import Uniform
from stdo.chunks.score import ByPsnr
from stdo.chunks.split import by_score
from stdo.config.jobs import build_job
from stdo.config.trust import conf_dir
from stdo.core.plugins import LOADED
from stdo.models.backbones.espcn import ESPCN
from stdo.models.sharing import Independent
from stdo.pipeline.steps import Job, train
from stdo.training.data import PatchData
from stdo.training.schedule import cosine
from stdo.video.clip import Clip, PatchSize
from stdo.video.degrade import BicubicUpscaler, Degrade
from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # for tests that import ONNX Runtime themselves
torch.set_num_threads(1)  # tiny tensors: a second thread only waits


@pytest.fixture(scope="session")
def trainer() -> Callable[..., pl.Trainer]:
    """A quiet fp32 trainer on the CPU, without callbacks."""
    return partial(
        pl.Trainer,
        accelerator="cpu",
        devices=1,
        precision="32-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that Python imports from; no plugin and nothing of it stays loaded."""
    monkeypatch.syspath_prepend(tmp_path)
    known = dict(LOADED)
    yield tmp_path
    LOADED.clear()
    LOADED.update(known)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def make_job(tmp_path: Path, trainer: Callable[..., pl.Trainer]) -> Callable[..., Job]:
    """Build a tiny run: 6 frames of 50x70, ESPCN, patches of 12x10 LR pixels."""
    return job_maker(tmp_path, trainer)


@pytest.fixture(scope="session")
def finished_job(
    tmp_path_factory: pytest.TempPathFactory, trainer: Callable[..., pl.Trainer]
) -> Job:
    """Such a run, finished. Copy its directory to change anything."""
    job = job_maker(tmp_path_factory.mktemp("finished_job"), trainer)(passes=6.0)
    train(job)
    return job


def job_maker(folder: Path, trainer: Callable[..., pl.Trainer]) -> Callable[..., Job]:
    """What builds tiny runs in a folder."""

    def make(
        directory: str = "run",
        split=by_score,
        sharing=Independent,
        chunks=3,
        scale=2,
        halo=0,
        whole=False,
        passes=3.0,
        **changes,
    ) -> Job:
        data = PatchData(
            Clip(
                GeneratedClip(width=70, height=50, frames=6, rate=25, seed=1),
                Degrade(scale),
                PatchSize(10, 12, halo, whole),
                folder / "cache",
            ),
            ByPsnr(BicubicUpscaler(scale)),
            split,
            chunks,
        )
        parts = {
            "directory": folder / directory,
            "config": "",
            "facts": {
                "video": "tiny",
                "method": "stdo",
                "backbone": "espcn",
                "scale": scale,
                "chunks": chunks,
            },
            "data": data,
            "backbone": partial(ESPCN, scale),
            "shared": partial(sharing, seed=0),
            "sampler": partial(Uniform, batch=4, passes=passes, seed=0),
            "optimizer": partial(torch.optim.Adam, lr=1e-3),
            "schedule": cosine,
            "trainer": trainer,
        }
        return Job(**parts | changes)

    return make


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of outputs: awDNN and STDO with two seeds each on a tiny clip, run as the command
    runs them. Copy it to change anything."""
    folder = tmp_path_factory.mktemp("finished")
    clip = GeneratedClip(width=96, height=72, frames=6, rate=25, seed=0)
    with VideoWriter(folder / "clip.mkv", 96, 72, clip.info.rate, "ffv1") as writer:
        for frame in clip:
            writer.write(frame)
    paths = [
        f"video.path={folder}/clip.mkv",
        f"paths.outputs={folder}/outputs",
        f"paths.cache={folder}/cache",
    ]
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        for method, seed in product(("awdnn", "stdo"), (0, 1)):
            job = build_job(
                compose("train", [*JOB, *paths, "trainer=cpu", f"method={method}", f"seed={seed}"])
            )
            command = [
                "train.py",
                f"method={method}",
                f"seed={seed}",
                f"video.path={folder}/clip.mkv",
            ]
            train(replace(job, command=command))
    return folder / "outputs"
