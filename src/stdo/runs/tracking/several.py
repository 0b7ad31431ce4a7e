"""Several trackers at once, and Lightning's own loggers as trackers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from stdo.core.types import Json, UserError
from stdo.runs.directory import LOGGERS
from stdo.runs.tracking.curves import replay
from stdo.runs.tracking.memory import Memory
from stdo.runs.tracking.summary import figures
from stdo.runs.tracking.tracker import MakeTracker, Tracker


class Several:
    """Tells each of several trackers; one that fails does not keep the others from ending.

    Args:
        makers: Of the trackers.
        directory: The run directory.
        facts: Known before the run.
    """

    def __init__(self, makers: Sequence[MakeTracker], directory: Path, facts: Json) -> None:
        self._trackers: list[Tracker] = []
        try:
            for make in makers:
                self._trackers.append(make(directory, facts))
        except BaseException:
            self.close(failed=True)
            raise

    def loggers(self) -> list[Logger]:
        """Those of all."""
        return [logger for tracker in self._trackers for logger in tracker.loggers()]

    def result(self, metrics: Json) -> None:
        """Tell all."""
        for tracker in self._trackers:
            tracker.result(metrics)

    def close(self, failed: bool) -> None:
        """End all, then raise what one of them raised."""
        errors = []
        for tracker in self._trackers:
            try:
                tracker.close(failed)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]


class LightningTracker:
    """One of Lightning's own loggers: the training curve, the settings, and the figures at the end.

    Where the logger takes a ``save_dir`` and none is given, its files lie in the run directory.

    Args:
        directory: The run directory.
        facts: Known before the run, kept with the settings.
        config: The resolved configuration.
        name: Of the logger in the configuration.
        make: Builds the logger, from further arguments.

    Raises:
        UserError: It is no logger, or cannot be built.
    """

    def __init__(
        self,
        directory: Path,
        facts: Json,
        config: Mapping[str, Any],
        name: str,
        make: Callable[..., Any],
    ) -> None:
        self._directory, self._facts, self._config = directory, facts, config
        folder = directory / LOGGERS / name
        try:
            made = make()
        except UserError as error:
            if "save_dir" not in str(error):
                raise
            made = make(save_dir=str(folder))
        else:
            own = inspect.signature(type(made)).parameters
            if "save_dir" in own and getattr(made, "save_dir", None) in (None, "", "."):
                made = make(save_dir=str(folder))
        if not isinstance(made, Logger):
            raise UserError(
                f"logger.{name}: must be a logger of Lightning, not {type(made).__name__}"
            )
        self._logger, self._memory = made, Memory(folder)

    def loggers(self) -> list[Logger]:
        """The logger, told of the settings."""
        self._logger.log_hyperparams(dict(self._config) | {"facts": self._facts})
        self._memory.keep(curve=True)
        return [self._logger]

    def result(self, metrics: Json) -> None:
        """The figures under ``result/``."""
        if self._memory.told(metrics):
            return
        if not self._memory.facts.get("curve"):  # trained with another logger
            replay(self._directory, self._row)
        results = {f"result/{name}": value for name, value in figures(metrics).items()}
        self._logger.log_metrics(results, int(metrics.get("steps", 0)))
        self._logger.save()
        self._memory.keep_told(metrics)

    def _row(self, metrics: Mapping[str, float], step: int) -> None:
        self._logger.log_metrics(dict(metrics), step)

    def close(self, failed: bool) -> None:
        """Flush and close."""
        self._logger.finalize("failed" if failed else "success")
