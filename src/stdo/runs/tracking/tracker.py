"""The tracker protocol, and the default that writes only the run directory."""

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from stdo.core.types import Json, UserError
from stdo.runs.directory import LOGGERS
from stdo.runs.tracking.curves import (
    CURVES,
    VALIDATION,
    VALIDATION_COLUMNS,
    CurveFile,
    CurveLogger,
)
from stdo.runs.tracking.memory import Memory


class Tracker(Protocol):
    """Is told of one run, from the main process alone. Made per job, when the run directory
    exists."""

    def loggers(self) -> list[Logger]:
        """Loggers of the training curve; asked for once for each fit."""
        ...

    def result(self, metrics: Json) -> None:
        """Take the result, metrics.json's content, and the files beside it. A result told before is
        not told again."""
        ...

    def close(self, failed: bool) -> None:
        """End; always called, also after an error or Ctrl-C. failed: the run did not get to its
        end."""
        ...


class FilesOnly:
    """Tells nobody: all that there is to know lies in the run directory."""

    def __init__(self, directory: Path, facts: Json, config: Json | None = None) -> None:
        pass

    def loggers(self) -> list[Logger]:
        """None: the pipeline writes curves.csv itself."""
        return []

    def result(self, metrics: Json) -> None:
        """Nothing to do."""

    def close(self, failed: bool) -> None:
        """Nothing to do."""


MakeTracker = Callable[[Path, Json], Tracker]
"""(run directory, facts known before the run) -> tracker."""


@contextmanager
def tracked(make: MakeTracker, directory: Path, facts: Json) -> Iterator[Tracker]:
    """A tracker that is closed whatever happens; in the other processes of a DDP fit one that tells
    nobody."""
    tracker = (FilesOnly if getattr(rank_zero_only, "rank", 0) else make)(directory, facts)
    try:
        yield tracker
    except BaseException:
        tracker.close(failed=True)
        raise
    tracker.close(failed=False)


def curve_loggers(directory: Path, tracker: Tracker) -> list[Logger]:
    """The loggers of a fit: curves.csv, whatever else there is, and the tracker's."""
    files = (
        CurveFile(directory / CURVES),
        CurveFile(directory / VALIDATION, "val", VALIDATION_COLUMNS),
    )
    return [*(CurveLogger("csv", each.write, each.close) for each in files), *tracker.loggers()]


def forget(directory: Path) -> None:
    """Before a run begins anew: drop its curves, and let it be a new run for whoever is
    told of it."""
    for file in (CURVES, VALIDATION):
        (directory / file).unlink(missing_ok=True)
    for folder in ("tensorboard", LOGGERS):
        shutil.rmtree(directory / folder, ignore_errors=True)
    Memory(directory / "wandb").clear()


def require(package: str, logger: str) -> None:
    """Raise UserError that names the extra to install when a logger's package is missing."""
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"logger={logger}: needs the package {package}; pip install 'stdo[train,{logger}]'"
        )
