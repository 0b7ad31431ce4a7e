"""The run directory: what its files are called, and reading them back."""

import csv
import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from stdo.files import atomic, sweep_up
from stdo.locks import exclusive, main_process
from stdo.provenance import provenance
from stdo.types import F32, I16, Json, UserError

RESULT, WEIGHTS, CHUNKS, MAPS = "metrics.json", "weights.safetensors", "chunks.npz", "maps.npz"
CHECKPOINT = Path("checkpoints") / "last.ckpt"
DELIVERED = ("bytes", "bitrate_kbps", "delivered")
"""What delivering a run adds to its result."""


def file_name(name: str) -> str:
    """A video's name as the name of a file or folder.

    >>> file_name("holiday: part 1/2")
    'holiday_part_1_2'
    """
    return re.sub(r"[^\w.-]+", "_", name)[:80]


@contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Be the only process that writes into a run directory, which is made; what a killed one left half-done is removed.

    Raises `stdo.locks.BusyError` at once while another process is at it, UserError when it cannot be written. In a
    distributed fit the main process claims for all.
    """
    if not main_process():
        yield
        return
    with ExitStack() as stack:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if stack.enter_context(exclusive(directory / ".lock", "this run is being worked on", wait=0)):
                sweep_up(directory)
        except OSError as error:
            raise UserError(f"{directory}: cannot be written ({error.strerror}); set paths.outputs") from error
        yield


def start_directory(directory: Path, config: str, command: Sequence[str], force: bool) -> None:
    """Write the configuration and provenance into a claimed run directory; ``force`` empties it of results first.

    Raises UserError when it cannot be written.
    """
    try:
        if force and directory.exists():
            for name in (RESULT, WEIGHTS, CHUNKS, MAPS):
                (directory / name).unlink(missing_ok=True)
            for package in directory.glob("*.stdo"):
                if package.is_file():
                    package.unlink()
            made = (folder for pattern in ("network-*", "export-*", "*.stdo") for folder in directory.glob(pattern))
            for folder in (directory / CHECKPOINT.parent, *made):
                shutil.rmtree(folder, ignore_errors=True)
        with atomic(directory / "config.yaml") as partial:
            partial.write_text(config)
        with atomic(directory / "provenance.json") as partial:
            partial.write_text(json.dumps(provenance(command), indent=2))
    except OSError as error:
        raise UserError(f"{directory}: cannot be written ({error.strerror}); set paths.outputs") from error


def read_result(directory: Path) -> Json:
    """metrics.json of a finished run. Raises UserError when there is none."""
    try:
        metrics: Json = json.loads((directory / RESULT).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"run={directory}: not a finished run (no readable {RESULT} in it)") from error
    return metrics


def write_result(directory: Path, metrics: Json) -> None:
    """Write metrics.json; from then on the run is finished."""
    with atomic(directory / RESULT) as partial:
        partial.write_text(json.dumps(metrics, indent=2))


def read_chunks(directory: Path) -> tuple[I16, list[int]]:
    """Labels (T, rows, cols) and the network of each chunk. Raises UserError when chunks.npz is missing or damaged."""
    try:
        with np.load(directory / CHUNKS, allow_pickle=False) as stored:
            return stored["labels"], stored["network_of"].tolist()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{directory / CHUNKS}: missing or damaged; force=true trains again") from error


def write_chunks(directory: Path, scores_TRC: F32, labels_TRC: I16, network_of: Sequence[int]) -> None:
    """Write chunks.npz: scores and labels of every patch, and the network that serves each chunk."""
    with atomic(directory / CHUNKS) as partial, partial.open("wb") as file:
        np.savez_compressed(file, scores=scores_TRC, labels=labels_TRC, network_of=network_of)


def write_maps(directory: Path, ours_TRC: F32, bicubic_TRC: F32) -> None:
    """Write maps.npz: the PSNR of every patch in dB, our result's and bicubic's."""
    with atomic(directory / MAPS) as partial, partial.open("wb") as file:
        np.savez_compressed(file, ours=ours_TRC, bicubic=bicubic_TRC)


def write_rows(path: Path, rows: Sequence[Json]) -> None:
    """Write a CSV file with the keys of the first row as its header."""
    with atomic(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
