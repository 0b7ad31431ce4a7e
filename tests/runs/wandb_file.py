"""Reads W&B's offline files: the frames of the file here, the records in them by W&B's own protocol
buffers.

W&B's reader in Python is gone since it moved into its service; the format is LevelDB's log: after a
header of 7 bytes, blocks of 32 KiB hold pieces of records, each behind a checksum (4 bytes), a
length (2) and a kind (1).
"""

import json
from pathlib import Path
from typing import Any

import wandb
from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER, WHOLE, LAST = 32768, 7, 1, 4


def records(path: Path) -> list[Record]:
    """The records of a ``.wandb`` file, in order."""
    content = path.read_bytes()
    assert content[:4] == b":W&B", content[:7]
    found, pieces, at = [], b"", 7
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:  # too little left for a piece: padding
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        if kind == 0:
            break
        pieces += content[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (WHOLE, LAST):
            found.append(Record.FromString(pieces))
            pieces = b""
    return found


class Logged:
    """What one offline W&B run holds."""

    def __init__(self, folder: Path) -> None:
        (self.path,) = folder.glob("*.wandb")
        self.files = folder / "files"
        self.run: Any = None
        self.exit: int | None = None
        self.config: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.artifacts: list[Any] = []
        for record in records(self.path):
            self._take(record)

    def _take(self, record: Record) -> None:
        kind = record.WhichOneof("record_type")
        if kind == "run":
            self.run = record.run
            self.config |= {
                item.key: json.loads(item.value_json) for item in record.run.config.update
            }
        elif kind == "config":
            self.config |= _items(record.config.update)
        elif kind == "history":
            self.history.append(_items(record.history.item))
        elif kind == "summary":
            self.summary |= _items(record.summary.update)
        elif kind == "artifact":
            self.artifacts.append(record.artifact)
        elif kind == "exit":
            self.exit = record.exit.exit_code

    def curve(self) -> list[dict[str, Any]]:
        """The rows of the training curve."""
        return [row for row in self.history if "train/loss" in row]

    def table(self, name: str) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows of a table that was logged."""
        path = next(row[f"{name}/path"] for row in self.history if f"{name}/path" in row)
        content = json.loads((self.files / path).read_text())
        return content["columns"], content["data"]


def _items(items: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def offline_runs(directory: Path) -> list[Logged]:
    """The offline W&B runs under a run directory, oldest first."""
    wandb.teardown()  # its service closes files a moment after a run has ended
    return [Logged(folder) for folder in sorted((directory / "wandb").glob("offline-run-*"))]
