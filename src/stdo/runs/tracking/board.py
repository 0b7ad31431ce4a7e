"""TensorBoard: event files in the run directory. ``tensorboard --logdir outputs`` shows all
runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pytorch_lightning.loggers import Logger

from stdo.core.types import Json
from stdo.runs.tracking.curves import CurveLogger, replay
from stdo.runs.tracking.memory import Memory
from stdo.runs.tracking.summary import figures, pictures
from stdo.runs.tracking.tracker import require

COMPARED = ("video", "method", "backbone", "scale", "chunks", "seed")
"""By which the HPARAMS page compares runs."""

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoardTracker:
    """The training curve and, at the end, figures, pictures and hyperparameters, under ``<run
    directory>/tensorboard``.

    Args:
        directory: The run directory.
        facts: Those of `COMPARED` go into the HPARAMS page.
        config: Not used.
    """

    def __init__(self, directory: Path, facts: Json, config: Json) -> None:  # noqa: ARG002
        require("tensorboard", "tensorboard")
        self._directory, self._facts = directory, facts
        self._folder = directory / "tensorboard"
        self._memory = Memory(self._folder)
        self._writer: SummaryWriter | None = None

    def loggers(self) -> list[Logger]:
        """The training curve."""
        self._memory.keep(curve=True)
        return [CurveLogger("tensorboard", self._row)]

    def result(self, metrics: Json) -> None:
        """Figures under ``result/``, pictures, and one row of the HPARAMS page."""
        if self._memory.told(metrics):
            return
        from PIL import Image

        if not self._memory.facts.get("curve"):  # trained with another logger
            replay(self._directory, self._row)
        writer, step = self._open(), int(metrics.get("steps", 0))
        shown = figures(metrics)
        first = sorted(
            shown.keys() - self._facts.keys(),
            key=lambda key: (not key.startswith(("psnr/", "gain/")), key),
        )
        # The page shows the first figures of many
        results = {f"result/{key}": shown[key] for key in first}
        apart = {key: self._facts[key] for key in COMPARED if key in self._facts}
        writer.add_hparams(apart, results, run_name=".", global_step=step)
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
        """The event file. step: the first one written now; TensorBoard drops what a killed fit
        wrote from there on."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=step)
        return self._writer
