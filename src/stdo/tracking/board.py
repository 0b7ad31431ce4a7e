"""TensorBoard: event files in the run directory. ``tensorboard --logdir outputs`` shows all runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pytorch_lightning.loggers import Logger

from stdo.tracking.curves import CurveLogger
from stdo.tracking.memory import Memory
from stdo.tracking.summary import figures, pictures
from stdo.tracking.tracker import require
from stdo.types import Json

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoardTracker:
    """The training curve and, at the end, figures, pictures and hyperparameters, under ``<run directory>/tensorboard``.

    directory: the run directory. facts: what TensorBoard's HPARAMS page compares runs by. config: not used.
    """

    def __init__(self, directory: Path, facts: Json, config: Json) -> None:  # noqa: ARG002
        require("tensorboard", "tensorboard")
        self._directory, self._facts = directory, facts
        self._folder = directory / "tensorboard"
        self._memory = Memory(self._folder)
        self._writer: SummaryWriter | None = None

    def loggers(self) -> list[Logger]:
        """The training curve."""
        return [CurveLogger("tensorboard", self._row)]

    def result(self, metrics: Json) -> None:
        """Figures under ``result/``, pictures, and one row of the HPARAMS page."""
        if self._memory.told(metrics):
            return
        from PIL import Image

        writer, step = self._open(), int(metrics.get("steps", 0))
        texts = {key: value if isinstance(value, int | float) else str(value) for key, value in self._facts.items()}
        results = {f"result/{key}": value for key, value in figures(metrics).items()}
        writer.add_hparams(texts, results, run_name=".", global_step=step)
        for name, path in pictures(self._directory).items():
            with Image.open(path) as image:
                writer.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")
        self._memory.keep_told(metrics)

    def close(self, failed: bool) -> None:  # noqa: ARG002
        """Flush and close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _row(self, metrics: Mapping[str, float], step: int) -> None:
        writer = self._open(step)
        for key, value in metrics.items():
            writer.add_scalar(key, value, step)

    def _open(self, step: int | None = None) -> SummaryWriter:
        """The event file. step: the first one written now; TensorBoard drops what a killed fit wrote from there on."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=step)
        return self._writer
