"""Training throughput through Lightning, as a ratio to a bare PyTorch loop on the same tensors.

    python benchmarks/training.py [--backbone espcn] [--scale 4] [--steps 60] [--precision auto]

The bare loop reads batches that are already in memory as float tensors; ours gathers them from the memory map. Both
run in turns in one process, so that a noisy machine disturbs both alike.
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch

from common import machine, tsv
from stdo.chunks.sample import Uniform
from stdo.chunks.score import ByPsnr
from stdo.chunks.split import by_score
from stdo.models.registry import BACKBONES
from stdo.models.sharing import Independent
from stdo.pipeline import hush
from stdo.training.data import PatchBatches, PatchData, PatchSize
from stdo.training.module import Overfit
from stdo.training.precision import resolve
from stdo.training.schedule import cosine
from stdo.video.degrade import BicubicUpscaler, Degrade
from stdo.video.sample import GeneratedClip

BATCH = 16


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


def ours(data: PatchData, factory: partial, networks: int, steps: int, precision: str) -> float:
    """Median seconds per step through Lightning."""
    sharing = Independent(factory, networks)
    passes = steps * BATCH * networks / data.labels.size
    data.sample(partial(Uniform, batch=BATCH, passes=passes, seed=0), sharing.network_of(data.labels.ravel()))
    ticks = Ticks()
    adam = partial(torch.optim.Adam, lr=1e-4)
    hush()
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", precision=precision, callbacks=[ticks], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Overfit(sharing, adam, cosine, steps), datamodule=data)
    return statistics.median(np.diff(ticks.times[2:]))


def bare(data: PatchData, factory: partial, networks: int, steps: int, precision: str) -> float:
    """Median seconds per step of a loop without Lightning, data module or disk."""
    sharing = Independent(factory, networks)
    sampler = Uniform(sharing.network_of(data.labels.ravel()), BATCH, 1, 0)
    batch = PatchBatches(data.video, data.grid, data.labels, sampler, 0, 1)[0]
    lr, hr = ((batch[key].permute(0, 3, 1, 2).float() / 255).contiguous() for key in ("lr", "hr"))
    optimizer = torch.optim.Adam(sharing.parameters(), lr=1e-4)
    times = [time.perf_counter()]
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            sr = torch.cat([net(lr[i * BATCH : (i + 1) * BATCH]) for i, net in enumerate(sharing.backbones)])
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
    print(f"# {machine()}; {options.backbone} x{options.scale}, batch {BATCH} per network, {precision}")
    tsv("networks", "ours_patches_s", "bare_patches_s", "ratio")
    for networks in (1, 4):
        with tempfile.TemporaryDirectory() as cache:
            data = prepared(Path(cache), options.scale, networks)
            steps = max(options.steps // networks, 8)
            pairs = [
                [run(data, factory, networks, steps, precision) for run in (ours, bare)] for _ in range(options.rounds)
            ]
        mine, loop = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(loop / mine for mine, loop in pairs)
        tsv(networks, f"{BATCH * networks / mine:.0f}", f"{BATCH * networks / loop:.0f}", f"{ratio:.3f}")


if __name__ == "__main__":
    main()
