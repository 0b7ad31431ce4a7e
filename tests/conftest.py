"""What several tests use: a tiny clip and a tiny job."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from stdo.chunks.sample import Uniform
from stdo.chunks.split import by_score
from stdo.models.espcn import ESPCN
from stdo.models.sharing import Independent
from stdo.pipeline import Job
from stdo.training.data import PatchData, PatchSize
from stdo.training.schedule import cosine
from stdo.video.degrade import BicubicUpscaler, Degrade
from stdo.video.sample import GeneratedClip

torch.set_num_threads(1)  # tiny tensors: a second thread only waits


@pytest.fixture
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
def make_job(tmp_path: Path, trainer: Callable[..., pl.Trainer]) -> Callable[..., Job]:
    """Build a tiny run: 6 frames of 50x70, ESPCN, patches of 12x10 LR pixels."""

    def make(
        directory: str = "run", split=by_score, sharing=Independent, chunks=3, scale=2, halo=0, passes=3.0, **changes
    ) -> Job:
        data = PatchData(
            GeneratedClip(width=70, height=50, frames=6, rate=25, seed=1),
            tmp_path / "cache",
            Degrade(scale),
            PatchSize(10, 12, halo),
            BicubicUpscaler(scale),
            split,
            chunks,
        )
        parts = {
            "directory": tmp_path / directory,
            "config": "",
            "facts": {"video": "tiny", "method": "stdo", "backbone": "espcn", "scale": scale, "chunks": chunks},
            "data": data,
            "sharing": partial(sharing, partial(ESPCN, scale), seed=0),
            "sampler": partial(Uniform, batch=4, passes=passes, seed=0),
            "optimizer": partial(torch.optim.Adam, lr=1e-3),
            "schedule": cosine,
            "trainer": trainer,
        }
        return Job(**parts | changes)

    return make
