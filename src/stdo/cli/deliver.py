"""Pack a finished run into what is shipped: ``python -m stdo.deliver run=outputs/…
weights.bits=8``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from stdo.cli.app import enter
from stdo.config.clips import clip_of
from stdo.config.settings import check
from stdo.core.types import Json

if TYPE_CHECKING:
    from stdo.encoder.pack import Delivery
    from stdo.video.clip import Clip


def task(config: DictConfig) -> Path:
    """Rebuild the run from its own directory, pack it, and print what it costs."""
    check({key: value for key, value in config.items() if key != "paths"})
    directory = Path(config.run)
    metrics = pack(
        directory, clip_of(directory, config.paths.cache, config.video), delivery(config)
    )
    from stdo.evaluation.table import closing_table

    sys.stdout.write(f"{closing_table(metrics)}\n")
    return directory


def delivery(config: DictConfig) -> Delivery:
    """What the settings ask for. Training has none that say where: its package lies in the run
    directory."""
    from stdo.encoder.pack import Delivery

    out = config.get("out")
    return Delivery(config.weights.bits, Path(out) if out else None, bool(config.get("unpacked")))


def pack(directory: Path, clip: Clip, delivery: Delivery, told: Sequence[str] = ()) -> Json:
    """Write a run's package and say where, with its notes but those told before; returns
    metrics.json's content."""
    from stdo.encoder.pack import deliver

    delivered = deliver(directory, clip, delivery)
    notes = [note for note in delivered.notes if note not in told]
    sys.stderr.write("".join(f"note: {note}\n" for note in notes) + f"{delivered.path}\n")
    return delivered.metrics


def main() -> None:
    """Entry point of ``stdo-deliver``."""
    enter(task, "deliver")
