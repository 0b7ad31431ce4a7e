"""What each of Lightning's ways of training costs, in milliseconds of a core per step.

    python benchmarks/lightning.py [--backbones espcn ecbsr] [--steps 200] [--rounds 3]

``blocks``: as stdo trains. ``steps``: one step for each batch that Lightning sees, as with
callbacks. ``automatic``: Lightning's automatic optimization. ``validated``: blocks, and ten
validations (budget.validate_every=0.1). All run in turns in one process, on one chunk with batches
of 4, in fp32; medians of the rounds.
"""

import math
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch

from common import machine, note, options, spent, tsv
from stdo.chunks.sample import Uniform
from stdo.chunks.score import ByPsnr
from stdo.chunks.split import whole
from stdo.models.registry import build
from stdo.models.sharing import Single
from stdo.training.callbacks import Curve, FitProgress, hush
from stdo.training.data import PatchData
from stdo.training.module import Overfit
from stdo.training.validation import ValidateWhenDue, frames_to_measure
from stdo.video.clip import Clip
from stdo.video.degrade import BicubicUpscaler, Degrade
from stdo.video.sample import GeneratedClip

SCALE, FRAMES = 4, 30
WAYS = ("blocks", "steps", "automatic", "validated")


class Automatic(Overfit):
    """The same module with Lightning's automatic optimization."""

    automatic_optimization = True

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:  # type: ignore[override]  # noqa: ARG002
        """The loss of one batch; Lightning does the rest."""
        return self._loss_of(batch)

    def configure_optimizers(self) -> Any:
        """The schedule moves with every step."""
        found = super().configure_optimizers()
        step = {"scheduler": found["lr_scheduler"], "interval": "step"}
        return found | {"lr_scheduler": step}


def fit(data: PatchData, way: str, backbone: str, steps: int) -> float:
    """Milliseconds of a core for each step."""
    sharing = Single(partial(build, backbone, SCALE, residual="bicubic"), 1)
    label_N = data.labels.ravel().astype("int64")
    passes = steps * 4 / len(label_N)
    sampler = Uniform(label_N, label_N, batch=4, passes=passes, seed=0)
    kind = Automatic if way == "automatic" else Overfit
    module = kind(sharing, steps=sampler.steps)
    module.telling = module.to_loggers = False
    data.show(sampler, single=way in ("steps", "automatic"))
    settings: dict[str, Any] = {"limit_val_batches": 0}
    callbacks: list[pl.Callback] = [Curve(sampler.shown), FitProgress(sampler.shown)]
    data.measure(None, None, 1)
    if way == "validated":
        every = math.ceil(sampler.steps / 10)
        frames = frames_to_measure(FRAMES, None, 10, data.grid.patches, sampler.presentations)
        data.measure(frames, every, 1)
        callbacks.insert(0, ValidateWhenDue(every, sampler.steps))
        settings = {"val_check_interval": 10**9, "check_val_every_n_epoch": None}
    trainer = pl.Trainer(
        max_epochs=1, callbacks=callbacks, logger=False, accelerator="cpu", devices=1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, **settings,
    )  # fmt: skip
    took = spent(lambda: trainer.fit(module, datamodule=data))
    return 1000 * took.cpu / sampler.steps


def main() -> None:
    """Print the table."""
    asked = options(__doc__, backbones=["espcn", "ecbsr"], steps=200, rounds=3)
    steps, rounds = (40, 1) if asked.quick else (asked.steps, asked.rounds)
    hush()
    note(machine())
    with tempfile.TemporaryDirectory() as folder:
        clip = Clip(
            GeneratedClip(width=640, height=360, frames=FRAMES, rate=25, seed=0),
            Degrade(SCALE),
            cache=Path(folder),
        )
        data = PatchData(clip, ByPsnr(BicubicUpscaler(SCALE)), whole, 1)
        data.prepare_data()
        data.setup()
        tsv("backbone", *WAYS, *(f"{way}/blocks" for way in WAYS[1:]))
        for backbone in asked.backbones:
            found: dict[str, list[float]] = {way: [] for way in WAYS}
            fit(data, "blocks", backbone, 20)
            for _ in range(rounds):
                for way in WAYS:
                    found[way].append(fit(data, way, backbone, steps))
            middle = {way: median(values) for way, values in found.items()}
            ratios = (middle[way] / middle["blocks"] for way in WAYS[1:])
            tsv(backbone, *(f"{each:.3g}" for each in (*middle.values(), *ratios)))


if __name__ == "__main__":
    main()
