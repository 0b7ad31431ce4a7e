"""Training throughput through Lightning, as a ratio to a bare PyTorch loop, and of a modulated network to a plain one.

    python benchmarks/training.py [--backbone espcn] [--scale 4] [--steps 60] [--precision auto]

The bare loop reads batches that are already in memory as float tensors; ours gathers them from the memory map. What is
compared runs in turns in one process, so that a noisy machine disturbs both alike.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch

from common import machine, tsv
from stdo.chunks.sample import Uniform
from stdo.chunks.score import ByPsnr
from stdo.chunks.split import by_score
from stdo.models.modulated import Modulated
from stdo.models.registry import BACKBONES
from stdo.models.sharing import Independent, Sharing, Single
from stdo.pipeline import hush
from stdo.training.data import PatchBatches, PatchData, PatchSize
from stdo.training.module import Overfit
from stdo.training.precision import resolve
from stdo.training.schedule import cosine
from stdo.video.degrade import BicubicUpscaler, Degrade
from stdo.video.sample import GeneratedClip

BATCH = 16
QUICK = 4
"""Patches per network and step of the published training and of budget=quick."""


class Ticks(pl.Callback):
    """When each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: object) -> None:
        """Take the time."""
        self.times.append(time.perf_counter())


def prepared(cache: Path, scale: int, networks: int) -> PatchData:
    """A generated clip of 1080p, chunked."""
    clip = GeneratedClip(width=1920, height=1080, frames=24, rate=25, seed=0)
    data = PatchData(clip, cache, Degrade(scale), PatchSize(), ByPsnr(BicubicUpscaler(scale)), by_score, networks)
    data.prepare_data()
    data.setup()
    return data


def ours(data: PatchData, sharing: Sharing, batch: int, steps: int, precision: str) -> float:
    """Median seconds per step through Lightning."""
    labels = data.labels.ravel()
    passes = steps * batch * sharing.learners / labels.size
    sampler = partial(Uniform, batch=batch, passes=passes, seed=0)
    data.sample(sampler, sharing.learner_of(labels))
    ticks = Ticks()
    adam = partial(torch.optim.Adam, lr=1e-4)
    hush()
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", precision=precision, callbacks=[ticks], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Overfit(sharing, adam, cosine, steps), datamodule=data)
    return statistics.median(np.diff(ticks.times[2:]))


def bare(data: PatchData, sharing: Independent, batch: int, steps: int, precision: str) -> float:
    """Median seconds per step of a loop without Lightning, data module or disk."""
    labels = data.labels.ravel().astype(np.int64)
    sampler = Uniform(labels, sharing.learner_of(labels), batch=batch, passes=1, seed=0)
    first = PatchBatches(data.video, data.grid, data.labels, sampler, 0, 1)[0]
    lr, hr = ((first[key].permute(0, 3, 1, 2).float() / 255).contiguous() for key in ("lr", "hr"))
    optimizer = torch.optim.Adam(sharing.parameters(), lr=1e-4)
    times = [time.perf_counter()]
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            sr = torch.cat([net(lr[i * batch : (i + 1) * batch]) for i, net in enumerate(sharing.backbones)])
        torch.nn.functional.l1_loss(sr.float(), hr).backward()
        optimizer.step()
        times.append(time.perf_counter())
    return statistics.median(np.diff(times[2:]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="espcn", choices=sorted(BACKBONES))
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    precision = resolve(options.precision, "cpu")
    factory = partial(BACKBONES[options.backbone], options.scale)
    print(f"# {machine()}; {options.backbone} x{options.scale}, {precision}")
    with tempfile.TemporaryDirectory() as cache:
        tsv("networks", "batch", "ours_patches_s", "bare_patches_s", "ratio")
        for networks in (1, 4):
            data = prepared(Path(cache), options.scale, networks)
            steps = max(options.steps // networks, 8)

            def through_lightning() -> float:
                return ours(data, Independent(factory, networks), BATCH, steps, precision)  # noqa: B023 - used at once

            def bare_loop() -> float:
                return bare(data, Independent(factory, networks), BATCH, steps, precision)  # noqa: B023 - used at once

            compare((networks, BATCH), BATCH * networks, options.rounds, through_lightning, bare_loop)
        tsv("chunks", "batch", "modulated_patches_s", "plain_patches_s", "ratio")
        data = prepared(Path(cache), options.scale, 4)
        for batch in (QUICK, BATCH):
            steps = options.steps * BATCH // batch // 2

            def modulated() -> float:
                return ours(data, Modulated(factory, 4), batch, steps, precision)  # noqa: B023 - used at once

            def plain() -> float:
                return ours(data, Single(factory, 4), batch, steps, precision)  # noqa: B023 - used at once

            compare((4, batch), batch, options.rounds, modulated, plain)


def compare(head: tuple[int, ...], patches: int, rounds: int, one: Callable, other: Callable) -> None:
    """Print patches per second of both, and the median ratio of rounds in which they take turns."""
    pairs = [(one(), other()) for _ in range(rounds)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    tsv(*head, f"{patches / mine:.0f}", f"{patches / theirs:.0f}", f"{ratio:.3f}")


if __name__ == "__main__":
    main()
