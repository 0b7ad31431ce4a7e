"""Patches per second of training, through Lightning, in a bare loop and from PNG files, and where
the time goes.

    python benchmarks/training.py [--backbones espcn wdsr] [--precisions bf16-mixed] [--batch 4]
                                  [--seconds 4] [--rounds 3] [--quick]

The bare loop computes the same loss with the same optimizer on batches that lie in memory as
floats; the third loop reads its patches from PNG files through a DataLoader. What is compared runs
in turns in one process, so that a noisy machine disturbs all alike.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle, product
from pathlib import Path
from statistics import median

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from PIL import Image
from pytorch_lightning.profilers import PassThroughProfiler, SimpleProfiler
from torch.utils.data import DataLoader, Dataset

from common import machine, note, options, tsv
from stdo.chunks.sample import Uniform
from stdo.chunks.score import ByPsnr
from stdo.chunks.split import by_score
from stdo.models.modulated import Modulated
from stdo.models.pixels import to_float
from stdo.models.registry import BACKBONES
from stdo.models.sharing import Independent, Sharing, Single
from stdo.training.callbacks import Curve, FitProgress, hush
from stdo.training.data import Batch, PatchBatches, PatchData
from stdo.training.module import Overfit
from stdo.training.precision import resolve
from stdo.training.schedule import cosine
from stdo.video.clip import Clip, PatchSize
from stdo.video.degrade import BicubicUpscaler, Degrade
from stdo.video.sample import GeneratedClip

SCALE = 4
PRELOADED = 16
"""Batches in memory for the bare loop."""
FILES = 64
"""PNG files of each kind."""
SHARINGS: dict[str, tuple[type[Sharing], int]] = {
    "1": (Single, 1),
    "4": (Independent, 4),
    "8": (Independent, 8),
    "modulated 4": (Modulated, 4),
}
PARTS = ("fetch", "forward", "backward", "optimizer", "around")
"""The batches; loss, and what the step does beside its parts; gradients; the optimizer; hooks,
progress, curve."""
adam = partial(torch.optim.Adam, lr=1e-4)


class Clock(pl.Callback):
    """Times of the blocks of steps, and of the parts of a step, which Lightning's profiler
    measures.

    profile: whether that takes part; it has a price of its own, so what is compared does without.
    """

    def __init__(self, profile: bool = False) -> None:
        self.profiler = SimpleProfiler() if profile else PassThroughProfiler()
        self._ends: list[tuple[int, float]] = []
        self._backward = 0.0

    def on_before_backward(self, *_: object) -> None:
        """The loss is there."""
        self._backward -= time.perf_counter()

    def on_after_backward(self, *_: object) -> None:
        """The gradients are there."""
        self._backward += time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        """Steps that are done, and when."""
        self._ends.append((trainer.global_step, time.perf_counter()))

    def step(self) -> float:
        """Seconds for a step, as the median over the blocks after the first."""
        steps, seconds = np.diff(np.array(self._ends), axis=0).T
        return float(np.median(seconds / steps))

    def parts(self) -> list[float]:
        """Milliseconds per step of `PARTS`."""
        steps = self._ends[-1][0]
        names = ("train_dataloader_next", "run_training_batch", "optimizer_step")
        fetch, block, optimizer = (self._spent(name) for name in names)
        backward = self._backward
        whole = self.step() * steps
        return [
            1000 * part / steps
            for part in (
                fetch,
                block - backward - optimizer,
                backward,
                optimizer,
                whole - fetch - block,
            )
        ]

    def _spent(self, name: str) -> float:
        """Seconds in all of what the profiler calls so."""
        assert isinstance(self.profiler, SimpleProfiler), (
            "only a clock with profile=True knows the parts"
        )
        recorded = self.profiler.recorded_durations
        return sum(sum(seconds) for action, seconds in recorded.items() if action.endswith(name))


def prepared(cache: Path, networks: int) -> PatchData:
    """A generated clip of 1080p, chunked."""
    clip = GeneratedClip(width=1920, height=1080, frames=24, rate=25, seed=0)
    made = Clip(clip, Degrade(SCALE), PatchSize(), cache)
    data = PatchData(made, ByPsnr(BicubicUpscaler(SCALE)), by_score, networks)
    data.prepare_data()
    data.setup()
    return data


def through_lightning(
    data: PatchData, sharing: Sharing, batch: int, steps: int, precision: str, profile: bool = False
) -> Clock:
    """A fit with the callbacks that every fit has."""
    labels = data.labels.ravel()
    passes = steps * batch * sharing.learners / labels.size
    sampler = Uniform(labels, sharing.learner_of(labels), batch=batch, passes=passes, seed=0)
    data.show(sampler)
    shown = sampler.shown
    clock = Clock(profile)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", precision=precision, profiler=clock.profiler,
        callbacks=[Curve(shown), FitProgress(shown), clock],
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Overfit(sharing, adam, cosine, steps), datamodule=data)
    return clock


def bare(sharing: Sharing, batches: Iterator[Batch], steps: int, precision: str) -> float:
    """Median seconds per step of a loop without Lightning; ``batches``: floats, channels last."""
    optimizer = adam(sharing.parameters())
    times = [time.perf_counter()]
    for _, batch in zip(range(steps), batches, strict=False):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            sr_NHWC = sharing(batch["lr"], batch["chunk"]).permute(0, 2, 3, 1).float()
            loss = F.l1_loss(sr_NHWC, batch["hr"]) * sharing.learners
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter())
    return median(np.diff(times[2:]))


def floats(batch: Batch) -> Batch:
    """A batch of pixels as the network and the loss want them."""
    return {
        "lr": to_float(batch["lr"]),
        "hr": batch["hr"].float().div_(255),
        "chunk": batch["chunk"],
    }


def in_memory(data: PatchData, sharing: Sharing, batch: int) -> Iterator[Batch]:
    """The first batches again and again: one alone would have a luck of its own in how many chunks
    it shows."""
    labels = data.labels.ravel().astype(np.int64)
    sampler = Uniform(labels, sharing.learner_of(labels), batch=batch, passes=1, seed=0)
    batches = PatchBatches(data.video, data.grid, data.labels, sampler, 0, 1)
    return cycle([floats(batches[step]) for step in range(PRELOADED)])


class Pngs(Dataset[Batch]):
    """LR and HR patches in PNG files, as the published code has them; ``shown`` of `FILES` make a
    batch."""

    def __init__(self, folder: Path, data: PatchData, shown: int) -> None:
        self._folder, self._shown = folder, shown
        chunks = int(data.labels.max()) + 1
        self._chunks = torch.arange(shown) * chunks // shown
        if not folder.exists():
            folder.mkdir()
            save_patches(folder, data)

    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, step: int) -> Batch:
        numbers = np.random.default_rng(step).integers(0, FILES, self._shown)
        return {key: torch.from_numpy(self._read(key, numbers)) for key in ("lr", "hr")} | {
            "chunk": self._chunks
        }

    def _read(self, key: str, numbers: np.ndarray) -> np.ndarray:
        return np.stack([np.asarray(Image.open(self._folder / f"{key}-{n}.png")) for n in numbers])


def save_patches(folder: Path, data: PatchData) -> None:
    """The first `FILES` patches as PNGs."""
    labels = data.labels.ravel().astype(np.int64)
    sampler = Uniform(labels, 0 * labels, batch=1, passes=1, seed=0)
    batch = PatchBatches(data.video, data.grid, data.labels, sampler, 0, 1).gather(np.arange(FILES))
    for key in ("lr", "hr"):
        for n, pixels in enumerate(batch[key].numpy()):
            Image.fromarray(pixels).save(folder / f"{key}-{n}.png")


@dataclass(frozen=True)
class Work:
    """What is trained, and for how long a turn."""

    data: PatchData
    make: Callable[[], Sharing]
    batch: int
    seconds: float
    precision: str
    pngs: Path
    rounds: int


def measure(work: Work) -> tuple[int, list[tuple[float, float, float]], list[float]]:
    """Patches per step; seconds per step through Lightning, bare and from PNG, turn by turn;
    `Clock.parts`."""
    data, make, batch, precision = work.data, work.make, work.batch, work.precision
    shown = batch * make().learners
    short = bare(make(), in_memory(data, make(), batch), 4, precision)
    steps = int(np.clip(work.seconds / short, 5, 120))
    files = Pngs(work.pngs, data, shown)
    turns = []
    for _ in range(work.rounds):
        through = through_lightning(data, make(), batch, steps, precision).step()
        in_floats = bare(make(), in_memory(data, make(), batch), steps, precision)
        from_files = bare(make(), map(floats, DataLoader(files, batch_size=None)), steps, precision)
        turns.append((through, in_floats, from_files))
    return (
        shown,
        turns,
        through_lightning(data, make(), batch, steps, precision, profile=True).parts(),
    )


def first_step() -> tuple[float, float]:
    """Seconds from the prompt to the first step: of a first run on the sample clip, and of a second
    one."""
    command = [
        sys.executable,
        "-m",
        "stdo.train",
        "backbone=espcn",
        "budget.passes=0.01",
        "trainer=cpu",
    ]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in (0, 1):
            began = time.perf_counter()
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
            with subprocess.Popen([*command, f"seed={seed}"], cwd=folder, **quiet) as running:
                text = b""
                while b"train:" not in text and (read := running.stderr.read(1)):
                    text += read
                found.append(time.perf_counter() - began)
                running.kill()
    return found[0], found[1]


def row(backbone: str, precision: str, name: str, work: Work) -> None:
    """Measure and print one row."""
    note(backbone, precision, name)
    shown, turns, parts = measure(work)
    rates = [f"{shown / median(column):.3g}" for column in zip(*turns, strict=True)]
    ratios = [f"{median(turn[other] / turn[0] for turn in turns):.3f}" for other in (1, 2)]
    tsv(backbone, precision, name, *rates, *ratios, *(f"{part:.2f}" for part in parts))


def main() -> None:
    """Print the tables."""
    chosen = options(
        __doc__,
        backbones=sorted(BACKBONES),
        precisions=["32-true", "bf16-mixed"],
        batch=4,
        seconds=4.0,
        rounds=3,
    )
    backbones = ["espcn"] if chosen.quick else chosen.backbones
    precisions = [resolve("auto", "cpu")] if chosen.quick else chosen.precisions
    seconds = 1.0 if chosen.quick else chosen.seconds
    hush()
    print(
        f"# {machine()}; x{SCALE}, batch {chosen.batch} a network, "
        f"{torch.get_num_threads()} threads"
    )
    columns = ("lightning_patches_s", "bare", "png", "lightning/bare", "lightning/png")
    tsv("backbone", "precision", "networks", *columns, *(f"{part}_ms" for part in PARTS))
    with tempfile.TemporaryDirectory() as folder:
        data = {networks: prepared(Path(folder), networks) for _, networks in SHARINGS.values()}
        for backbone, precision, (name, (kind, networks)) in product(
            backbones, precisions, SHARINGS.items()
        ):
            make = partial(kind, partial(BACKBONES[backbone], SCALE), networks)
            work = Work(
                data[networks],
                make,
                chosen.batch,
                seconds,
                precision,
                Path(folder, "png"),
                chosen.rounds,
            )
            row(backbone, precision, name, work)
    note("time to the first step")
    tsv("first_run_s", "second_run_s")
    tsv(*(f"{seconds:.2f}" for seconds in first_step()))


if __name__ == "__main__":
    main()
