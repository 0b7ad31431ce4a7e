"""The training curve: passed on row by row, and kept as curves.csv."""

import csv
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from stdo.core.files import atomic, disk_error

CURVES = "curves.csv"
COLUMNS = ("step", "presentations", "seconds", "loss", "psnr", "lr")
"""Steps done, patches shown by then, seconds of fitting, mean loss (``optim.loss``: L1 or L2), PSNR
of the step's patches in dB, learning rate."""

VALIDATION = "validation.csv"
VALIDATION_COLUMNS = ("step", "presentations", "seconds", "psnr")
"""The same of a validation: PSNR in dB, mean of the frames that were measured."""

Write = Callable[[Mapping[str, float], int], None]
"""(row, steps done); the keys of the curve are ``train/loss`` and so on."""


class CurveLogger(Logger):
    """Passes what Lightning logs on to a function, from the main process alone.

    Args:
        name: What is logged to.
        write: Takes a row.
        close: Called at the end of a fit, however it ends.
    """

    def __init__(self, name: str, write: Write, close: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._name, self._write, self._close = name, write, close

    @property
    def name(self) -> str:
        """What is logged to."""
        return self._name

    @property
    def version(self) -> str:
        """None of its own: the run directory is the version."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Nothing: trackers are given the configuration."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Pass on."""
        assert step is not None
        self._write(metrics, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:  # noqa: ARG002
        """End of the fit."""
        self._close()


class CurveFile:
    """curves.csv, row by row. A resumed fit goes on with the file, from the first step that it
    repeats.

    Every row is handed to the system at once, in one piece, so that a killed fit loses none.
    Lightning's CSVLogger deletes the earlier session's file when it starts.

    Args:
        path: The file.
        kind: What the names of its columns begin with where they are logged.
        columns: Of the file.
    """

    def __init__(self, path: Path, kind: str = "train", columns: tuple[str, ...] = COLUMNS) -> None:
        self._path, self._kind, self._columns = path, kind, columns
        self._file: TextIO | None = None

    def write(self, metrics: Mapping[str, float], step: int) -> None:
        """Append a row of the curve; anything else that is logged is not for this file."""
        own = {column: f"{self._kind}/{column}" for column in self._columns[1:]}
        if not set(own.values()) <= metrics.keys():
            return
        with self._disk():
            self._file = self._file or self._go_on(step)
            row = {"step": step} | {column: metrics[name] for column, name in own.items()}
            self._writer(self._file).writerow(_text(row))

    def close(self) -> None:
        """Close the file; another row opens it again."""
        file, self._file = self._file, None
        if file is not None:
            with self._disk():
                file.close()

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise disk_error(error, self._path.parent) from error

    def _go_on(self, step: int) -> TextIO:
        kept = [row for row in read_curve(self._path, self._columns) if row["step"] < step]
        with atomic(self._path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            self._writer(file).writeheader()
            self._writer(file).writerows(map(_text, kept))
        return self._path.open("a", buffering=1, newline="", encoding="utf-8")

    def _writer(self, file: TextIO) -> "csv.DictWriter[str]":
        return csv.DictWriter(file, self._columns, lineterminator="\n")


def _text(row: Mapping[str, float]) -> dict[str, str]:
    """All figures of what is counted, seven of what is measured."""
    return {
        key: f"{value:.0f}" if key in COLUMNS[:2] else f"{value:.7g}" for key, value in row.items()
    }


def read_curve(path: Path, columns: tuple[str, ...] = COLUMNS) -> list[dict[str, float]]:
    """Rows of curves.csv, or of a file with other columns; none when there is no such file.

    A torn row, of a killed fit, is left out.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [_row(fields, columns) for fields in csv.reader(file)]
    except FileNotFoundError:
        return []
    return [row for row in rows if row]


def replay(directory: Path, write: Write) -> None:
    """Hand on the rows of a run's curves.csv and validation.csv, as if its fit were running."""
    rows: list[tuple[int, dict[str, float]]] = []
    for file, kind, columns in (
        (CURVES, "train", COLUMNS),
        (VALIDATION, "val", VALIDATION_COLUMNS),
    ):
        for row in read_curve(directory / file, columns):
            shown = {f"{kind}/{column}": row[column] for column in columns[1:]}
            rows.append((int(row["step"]), shown))
    for step, shown in sorted(rows, key=lambda each: each[0]):
        write(shown, step)


def _row(fields: list[str], columns: tuple[str, ...]) -> dict[str, float]:
    try:
        return dict(zip(columns, map(float, fields), strict=True))
    except ValueError:  # the header, or a torn row
        return {}
