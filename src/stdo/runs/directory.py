"""The run directory: what its files are called, and reading them back."""

import csv
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from stdo.core.files import atomic, sweep_up
from stdo.core.foreign import printable
from stdo.core.locks import exclusive, main_process
from stdo.core.provenance import provenance
from stdo.core.types import BICUBIC, F32, I16, Json, UserError
from stdo.runs.files import FACTS, WEIGHTS, read_arrays, read_metrics
from stdo.runs.schema import DELIVERED, NEEDED

RESULT, CHUNKS, MAPS = "metrics.json", "chunks.npz", "maps.npz"
MAX_CHUNKS = 32767
CHECKPOINT, START_CHECKPOINT = Path("checkpoints") / "last.ckpt", Path("checkpoints") / "start.ckpt"
START_WEIGHTS, START_SCORES = (
    START_CHECKPOINT.with_suffix(".safetensors"),
    Path("checkpoints") / "scores.safetensors",
)
"""Where the phases of a fit resume; and what the first one leaves to the main one, the scores
written last."""
CHAIN = Path("checkpoints") / "chain.safetensors"
"""What the phases of a chain leave to those after them."""
KEPT, LOGGERS, PROFILE = "kept", "loggers", "fit-profile"
"""Folders for the checkpoints of a user's callbacks and for the files of a user's loggers; how the
files of a profiler begin."""
_WRITTEN_TO = re.compile(r"crops|checkpoints|sr|tensorboard|wandb|network-\d+")
"""Folders of a run directory that more is written into; others, such as packages, are replaced as a
whole."""

__all__ = [
    "CHAIN", "CHECKPOINT", "CHUNKS", "DELIVERED", "KEPT", "LOGGERS", "MAPS", "PROFILE", "RESULT",
    "START_CHECKPOINT", "START_SCORES", "START_WEIGHTS",
    "WEIGHTS", "claimed", "file_name", "read_chunks",
    "read_result", "refuse_links", "start_directory", "write_chunks", "write_facts", "write_maps",
    "write_result", "write_rows",
]  # fmt: skip

_LINKS_OF_WANDB = ("latest-run", "debug.log", "debug-internal.log", "debug-core.log")


def file_name(name: str) -> str:
    """A video's name as the name of a file or folder.

    >>> file_name("holiday: part 1/2")
    'holiday_part_1_2'
    """
    return re.sub(r"[^\w.-]+", "_", name)[:80]


@contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Create and lock the run directory; delete what killed processes left half-written in it.

    In a distributed fit the main process claims for all.

    Raises:
        stdo.core.locks.BusyError: Another process is at it.
        UserError: It cannot be written, or holds links (see `refuse_links`).
    """
    if not main_process():
        yield
        return
    with ExitStack() as stack:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if stack.enter_context(
                exclusive(directory / ".lock", "this run is being worked on", wait=0)
            ):
                refuse_links(directory)
                sweep_up(directory)
        except OSError as error:
            raise UserError(
                f"{directory}: cannot be written ({error.strerror}); set paths.outputs"
            ) from error
        yield


def refuse_links(directory: Path) -> None:
    """Raise UserError where a run directory has a symbolic link, FIFO or device in a place that a
    run writes to.

    Whoever sends a run directory could have a link in it that leads to a folder of ours. W&B's own
    links stay.
    """
    folders = [directory]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                inside = entry.is_dir(follow_symlinks=False)
                if (
                    not inside
                    and not entry.is_file(follow_symlinks=False)
                    and entry.name not in _LINKS_OF_WANDB
                ):
                    what = "a symbolic link" if entry.is_symlink() else "no regular file"
                    raise UserError(
                        f"{printable(entry.path)}: is {what}; remove it, then run this again"
                    )
                if inside and _WRITTEN_TO.fullmatch(entry.name):
                    folders.append(Path(entry.path))


def start_directory(directory: Path, config: str, command: Sequence[str], force: bool) -> None:
    """Write the configuration and provenance into a claimed run directory; ``force`` empties it of
    results first.

    Raises UserError when it cannot be written.
    """
    try:
        if force and directory.exists():
            for name in (RESULT, WEIGHTS, FACTS, CHUNKS, MAPS):
                (directory / name).unlink(missing_ok=True)
            for pattern in ("*.stdo", f"{PROFILE}*"):
                for file in directory.glob(pattern):
                    if file.is_file():
                        file.unlink()
            for pattern in (str(CHECKPOINT.parent), KEPT, "*.stdo", "network-*", "export-*"):
                for folder in directory.glob(pattern):
                    shutil.rmtree(folder, ignore_errors=True)
        with atomic(directory / "config.yaml") as partial:
            partial.write_text(config, encoding="utf-8")
        with atomic(directory / "provenance.json") as partial:
            partial.write_text(json.dumps(provenance(command), indent=2), encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{directory}: cannot be written ({error.strerror}); set paths.outputs"
        ) from error


def read_result(directory: Path, needed: AbstractSet[str] = NEEDED) -> Json:
    """The content of metrics.json of a finished run, with the fields that are needed of it.

    Raises UserError where there is none, or it is damaged.
    """
    try:
        return read_metrics(directory, needed)
    except FileNotFoundError as error:
        raise UserError(f"run={directory}: not a finished run (no {RESULT} in it)") from error


def write_facts(directory: Path, facts: Json) -> None:
    """Write facts.json: what is known of a run that is trained, before it is measured."""
    with atomic(directory / FACTS) as partial:
        partial.write_text(json.dumps(facts, indent=2), encoding="utf-8")


def write_result(directory: Path, metrics: Json) -> None:
    """Write metrics.json; from then on the run is finished."""
    with atomic(directory / RESULT) as partial:
        partial.write_text(json.dumps(metrics, indent=2), encoding="utf-8")


def read_chunks(
    directory: Path, shape: tuple[int, int, int] | None = None, networks: int | None = None
) -> tuple[I16, list[int]]:
    """Read chunks.npz.

    Args:
        directory: The run directory.
        shape: Frames, rows and columns of patches of the run's video; None where it is not known.
        networks: How many networks the run's weights have; None where they are not known.

    Returns:
        The labels, int16 (T, rows, cols), and the number of the network that serves each chunk,
        `BICUBIC` for none.

    Raises:
        UserError: It is missing or damaged, or a number in it leads nowhere.
    """
    try:
        found = read_arrays(directory, CHUNKS, {"labels": ("i", 3), "network_of": ("i", 1)})
    except (FileNotFoundError, UserError) as error:
        why = (
            "missing"
            if isinstance(error, FileNotFoundError)
            else str(error).removeprefix(f"{directory / CHUNKS}: ")
        )
        raise UserError(
            f"{directory / CHUNKS}: missing or damaged ({why}); force=true trains again"
        ) from error
    labels_TRC, network_of = found["labels"], found["network_of"]
    chunks = len(network_of)
    if shape is not None and labels_TRC.shape != shape:
        here = "x".join(map(str, labels_TRC.shape))
        raise UserError(
            f"{directory / CHUNKS}: has labels of {here} patches; the video has "
            f"{'x'.join(map(str, shape))}"
        )
    known = (
        labels_TRC.size > 0 and labels_TRC.min() >= 0 and labels_TRC.max() < chunks <= MAX_CHUNKS
    )
    if not known or network_of.min() < BICUBIC or network_of.max() >= (networks or chunks):
        raise UserError(
            f"{directory / CHUNKS}: missing or damaged (a number leads nowhere); force=true "
            "trains again"
        )
    return labels_TRC.astype(np.int16), network_of.tolist()


def write_chunks(
    directory: Path, scores_TRC: F32, labels_TRC: I16, network_of: Sequence[int]
) -> None:
    """Write chunks.npz: scores and labels of every patch, and the network that serves each
    chunk."""
    with atomic(directory / CHUNKS) as partial, partial.open("wb") as file:
        np.savez_compressed(file, scores=scores_TRC, labels=labels_TRC, network_of=network_of)


def write_maps(directory: Path, ours_TRC: F32, bicubic_TRC: F32) -> None:
    """Write maps.npz: the PSNR of every patch in dB, our result's and bicubic's."""
    with atomic(directory / MAPS) as partial, partial.open("wb") as file:
        np.savez_compressed(file, ours=ours_TRC, bicubic=bicubic_TRC)


def write_rows(path: Path, rows: Sequence[Json]) -> None:
    """Write a CSV file with the keys of the first row as its header."""
    with atomic(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
