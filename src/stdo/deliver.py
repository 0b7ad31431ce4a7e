"""Pack a finished run into what is shipped: ``python -m stdo.deliver run=outputs/… weights.bits=8``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from stdo.doors import enter
from stdo.jobs import finished_job
from stdo.settings import check
from stdo.types import Json

if TYPE_CHECKING:
    from stdo.delivery.deliver import Delivery
    from stdo.pipeline import Job


def task(config: DictConfig) -> Path:
    """Rebuild the run from its own directory, pack it, and print what it costs."""
    check({key: value for key, value in config.items() if key != "paths"})
    job = finished_job(Path(config.run), config.paths.cache, config.video)
    metrics = pack(job, delivery(config))
    from stdo.evaluation.table import closing_table

    sys.stdout.write(f"{closing_table(metrics)}\n")
    return job.directory


def delivery(config: DictConfig) -> Delivery:
    """What the settings ask for. Training has none that say where: its package lies in the run directory."""
    from stdo.delivery.deliver import Delivery

    out = config.get("out")
    return Delivery(config.weights.bits, Path(out) if out else None, bool(config.get("unpacked")))


def pack(job: Job, delivery: Delivery, told: Sequence[str] = ()) -> Json:
    """Write a run's package and say where, with its notes but those told before; returns metrics.json's content."""
    from stdo.delivery.deliver import deliver

    delivered = deliver(job.directory, job.data, delivery)
    notes = [note for note in delivered.notes if note not in told]
    sys.stderr.write("".join(f"note: {note}\n" for note in notes) + f"{delivered.path}\n")
    return delivered.metrics


def main() -> None:
    """Entry point of ``stdo-deliver``."""
    enter(task, "deliver")


if __name__ == "__main__":
    main()
