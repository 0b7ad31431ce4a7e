"""A warm start: one network learns for all chunks, then each chunk's own goes on from it."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch

from stdo.chunks.branch import Branching
from stdo.core.types import F32, I16, I64
from stdo.models.common import Backbone
from stdo.training.data import PatchData
from stdo.training.module import Overfit

Score = Callable[[Backbone, torch.device], F32]
"""A plain network -> how well it does on every patch of the video: PSNR in dB, (T, rows, cols)."""


class Branch(pl.Callback):
    """Ends the one network's part of a fit: scores the patches with it, makes chunks anew, gives each a copy of it.

    Comes before whatever writes checkpoints, so that a checkpoint of that step holds the branches already.
    """

    def __init__(self, data: PatchData, sampler: Branching, learner_of: Callable[[I16], I64], score: Score) -> None:
        self._data, self._at, self._learner_of, self._score = data, sampler.first.steps, learner_of, score
        self._scores: F32 | None = None

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Branch when it is time, with the main process's scores everywhere."""
        if trainer.global_step != self._at:
            return
        assert isinstance(pl_module, Overfit)
        scores = self._data.scores
        if trainer.is_global_zero:
            scores = self._score(pl_module.sharing.network(0), trainer.strategy.root_device)
        self._rechunk(trainer.strategy.broadcast(scores))
        pl_module.branch()

    def _rechunk(self, scores: F32) -> None:
        self._scores = scores
        self._data.branch(scores, self._learner_of)

    def state_dict(self) -> dict[str, Any]:
        """Into the checkpoint: the scores, once there are any."""
        return {} if self._scores is None else {"scores": torch.from_numpy(self._scores)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        if state_dict:
            self._rechunk(state_dict["scores"].numpy())
