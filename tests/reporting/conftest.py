"""Tiny runs for report pages, and the browser that opens them."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from page_browser import CHROMIUM, LIMIT, killed_after

from stdo.chunks.sample import Uniform
from stdo.chunks.score import ByPsnr
from stdo.chunks.split import by_score, by_time, whole
from stdo.models.backbones.espcn import ESPCN
from stdo.models.sharing import Independent, Single
from stdo.pipeline.steps import Job, train
from stdo.reporting.runs import Run, collect
from stdo.training.data import PatchData
from stdo.training.schedule import cosine
from stdo.video.clip import Clip, PatchSize
from stdo.video.degrade import BicubicUpscaler, Degrade
from stdo.video.sample import GeneratedClip

METHODS = {
    "awdnn": (whole, Single, 1),
    "nas": (by_time, Independent, 3),
    "stdo": (by_score, Independent, 3),
}


def tiny_run(folder: Path, method: str, seed: int) -> None:
    split, sharing, chunks = METHODS[method]
    data = PatchData(
        Clip(
            GeneratedClip(width=70, height=50, frames=6, rate=25, seed=1),
            Degrade(2),
            PatchSize(10, 12),
            folder / "cache",
        ),
        ByPsnr(BicubicUpscaler(2)),
        split,
        chunks,
    )
    facts = {
        "video": "tiny",
        "method": method,
        "backbone": "espcn",
        "scale": 2,
        "chunks": chunks,
        "seed": seed,
    }
    facts |= {
        "chunking": split.__name__.removeprefix("by_"),
        "sharing": sharing.__name__,
        "sampler": "Uniform",
    }
    facts |= {"scorer": "bicubic", "passes": 3, "batch": 4, "precision": "32-true"}
    trainer = {
        "accelerator": "cpu",
        "devices": 1,
        "precision": "32-true",
        "enable_checkpointing": False,
    }
    trainer |= {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    job = Job(
        folder / "outputs" / f"{method}-{seed}",
        f"method: {method}\npatches:\n  height: 10\n  width: 12\n",
        facts,
        data,
        partial(ESPCN, 2),
        partial(sharing, seed=seed),
        partial(Uniform, batch=4, passes=3, seed=seed),
        partial(torch.optim.Adam, lr=1e-3),
        cosine,
        partial(pl.Trainer, **trainer),
        command=["train.py", f"method={method}", "video.path=my clip.mp4"],
    )
    train(job)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("page")
    for method, seed in (("awdnn", 0), ("nas", 0), ("stdo", 0), ("stdo", 1)):
        tiny_run(folder, method, seed)
    return collect([folder / "outputs"])


@pytest.fixture(scope="module")
def browsers() -> Iterator[Iterator[Any]]:
    """The same browser again and again, another one when it has died."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the browser is driven by playwright (stdo[dev])"
    )
    if CHROMIUM is None:
        pytest.skip("no Chromium or Chrome on this machine (Debian: apt install chromium)")

    def living() -> Iterator[Any]:
        while True:
            opened = driver.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox"], timeout=1000 * LIMIT
            )
            while opened.is_connected():
                yield opened

    with playwright.sync_playwright() as driver:
        yield living()


@pytest.fixture
def browser(browsers: Iterator[Any]) -> Iterator[Any]:
    found = next(browsers)
    with killed_after(LIMIT):
        yield found
