"""Finished runs, read back from their directories."""

import csv
import json
import os
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml

from stdo.rundir import MAPS, RESULT
from stdo.types import F32, Json, UserError

CONFIG = "config.yaml"

NAMES = {
    "awdnn": "awDNN", "nas": "NAS", "cafm": "CaFM", "stdo": "STDO", "jstdo": "JSTDO", "cstdo": "C-STDO",
    "bstdo": "B-STDO",
}  # fmt: skip
"""How the methods are written, in the order in which they are shown; others follow, in capitals."""

NEEDED = {
    "video", "width", "height", "frames", "patches", "scale", "method", "backbone", "chunks", "seed", "chunking",
    "sharing", "sampler", "scorer", "network", "passes", "batch", "steps", "psnr", "ssim", "bicubic", "chunk_psnr",
    "params", "params_base", "params_per_chunk", "macs_per_frame", "patch_presentations", "seconds", "device",
    "precision",
}  # fmt: skip
"""What metrics.json must hold; a run that lacks some of it is of another version."""

_SHAPING_FACTS = ("method", "chunks", "network", "passes", "frames", "width", "height", "precision")
_SHAPES_NOTHING = re.compile(
    r"(paths|force|checkpoint_seconds|name|trainer|logger|study|networks_alone|passes_at|deliver|weights)(\..*)?"
    r"|video\.(_target_|path|paths|root)|(.*\.)?seed"
)

_SINCE = {"backbone.width": 1, "backbone.network.width": 1, "sharing.bicubic": 0}
"""Settings that runs of earlier versions do not have, and what they would say."""


def method_name(method: str) -> str:
    """How a method is written: ``awDNN``, ``STDO``."""
    return NAMES.get(method, method.upper())


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run.

    directory: where it lies. metrics: the content of metrics.json. provenance: that of provenance.json, empty where
    there is none. config: its configuration as YAML text.
    """

    directory: Path
    metrics: Json
    provenance: Json
    config: str

    @cached_property
    def settings(self) -> Json:
        """The configuration as nested dicts; empty where there is none."""
        return yaml.safe_load(self.config) or {}

    @property
    def method(self) -> str:
        """The method's name as it is written: ``awDNN``, ``STDO``."""
        return method_name(self.metrics["method"])

    @property
    def name(self) -> str:
        """Method and what sets it apart from others of its kind, whatever the seed: ``JSTDO k=4 ratios 1 .5 .25 0``."""
        facts = self.metrics
        text = self.method if facts["chunking"] == "whole" else f"{self.method} k={facts['chunks']}"
        if facts.get("bicubic_chunks"):
            text += f", {facts['bicubic_chunks']} bicubic"
        asked = self.settings.get("sampler") or {}
        for sampling in ("ratios", "weights"):
            if asked.get(sampling):
                text += f" {sampling} " + " ".join(f"{each:.2g}".replace("0.", ".") for each in asked[sampling])
        if facts["scorer"] != "bicubic" and facts["chunking"] == "score":
            text += f", scorer {facts['scorer']}"
        return text if facts["network"] is None else f"{text}, network {facts['network']} alone"

    @property
    def label(self) -> str:
        """The name, and the seed where it is not 0: ``STDO k=4, seed 1``."""
        return f"{self.name}, seed {self.metrics['seed']}" if self.metrics["seed"] else self.name

    @cached_property
    def shaping(self) -> dict[str, str]:
        """Every setting that shapes the result, but for the seed and nulls: ``patches.halo`` -> ``4``."""
        facts = {key: str(self.metrics[key]) for key in _SHAPING_FACTS} | {
            key: str(value) for key, value in _SINCE.items()
        }
        return facts | {
            key: str(value)
            for key, value in _flat(self.settings)
            if value is not None and not _SHAPES_NOTHING.fullmatch(key)
        }

    def frames(self) -> list[dict[str, float]]:
        """frames.csv: one row a frame; NaN where a figure does not exist. Empty when there is no such file."""
        return _table(self.directory / "frames.csv")

    def curve(self) -> list[dict[str, float]]:
        """curves.csv: step, presentations, seconds, loss, psnr, lr. Empty when there is no such file."""
        return _table(self.directory / "curves.csv")

    def maps(self) -> tuple[F32, F32] | None:
        """Patch PSNR in dB of our result and of bicubic, float32 (T, rows, cols); None when they were not kept."""
        try:
            with np.load(self.directory / MAPS, allow_pickle=False) as stored:
                return stored["ours"], stored["bicubic"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{self.directory / 'maps.npz'}: damaged; stdo.evaluate makes it again") from error

    def crops(self) -> list[Json]:
        """crops/crops.json, with the whole paths of the PNG files under ``files``. Empty when there is no such file."""
        folder = self.directory / "crops"
        try:
            listed: list[Json] = json.loads((folder / "crops.json").read_text())
        except FileNotFoundError:
            return []
        except json.JSONDecodeError as error:
            raise UserError(f"{folder / 'crops.json'}: damaged; stdo.evaluate makes it again") from error
        return [
            crop | {"files": {name: str((folder / file).absolute()) for name, file in crop["files"].items()}}
            for crop in listed
        ]


def collect(where: Iterable[Path]) -> list[Run]:
    """Read finished runs, each once: by video, scale, backbone, method, chunks and seed.

    where: run directories, folders that are searched for run directories, and sweep files
    (``<outputs>/sweeps/<study>.json``). A run's evaluations of one network alone come with it. Unfinished runs that
    were not named themselves are left out and counted on stderr.

    Raises UserError for a path that is not there, for no finished run, and for runs of another version.
    """
    found: dict[Path, Run] = {}
    unfinished = 0
    paths = [Path(path) for path in where]
    if not paths:
        raise UserError("runs=[]: name run directories, folders of them, or sweep files")
    for path in paths:
        for directory in _directories(path):
            if directory is not None and (directory / RESULT).exists():
                found.setdefault(directory.resolve(), _read(directory))
            elif directory == path:
                raise UserError(f"runs={path}: is not finished (no {RESULT} in it)")
            else:
                unfinished += 1
    if unfinished:
        sys.stderr.write(f"note: {unfinished} unfinished {'run is' if unfinished == 1 else 'runs are'} left out\n")
    if not found:
        raise UserError(f"runs={', '.join(map(str, paths))}: no finished run there")
    return sorted(found.values(), key=_order)


def _order(run: Run) -> tuple[object, ...]:
    facts = run.metrics
    methods = list(NAMES)
    place = methods.index(facts["method"]) if facts["method"] in methods else len(methods)
    network = -1 if facts["network"] is None else int(facts["network"])
    names = facts["video"], facts["scale"], facts["backbone"], place, facts["method"]
    return *names, facts["chunks"], network, run.label, facts["seed"], str(run.directory)


def _directories(path: Path) -> Iterator[Path | None]:
    """Run directories, finished or not, that a path stands for; None for a job that never got one."""
    if path.is_file():
        runs = _of_sweep(path)
    elif path.is_dir():
        runs = _below(path)
    else:
        raise UserError(f"runs={path}: no such file or folder")
    for run in runs:
        yield run
        if run is not None:
            yield from sorted(part.parent for part in run.glob(f"network-*/{RESULT}"))


def _below(folder: Path) -> Iterator[Path | None]:
    for here, inside, files in os.walk(folder):
        if RESULT in files or CONFIG in files:
            inside.clear()  # a run directory holds no others, but for its own network-N
            yield Path(here)
        inside[:] = sorted(name for name in inside if not name.startswith("."))


def _of_sweep(file: Path) -> Iterator[Path | None]:
    """The run directories of a sweep, also when the folder of outputs was moved as a whole."""
    try:
        jobs = json.loads(file.read_text())["jobs"]
        named = [Path(job["directory"]) if job["directory"] else None for job in jobs]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"runs={file}: is not a sweep file (outputs/sweeps/<study>.json)") from error
    for path in named:
        if path is None:
            yield None
            continue
        moved = file.absolute().parent.parent / path.parent.name / path.name
        yield moved if moved.is_dir() else path


def _read(directory: Path) -> Run:
    try:
        metrics = json.loads((directory / RESULT).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"runs={directory}: its {RESULT} cannot be read") from error
    lacking = sorted(NEEDED - metrics.keys()) if isinstance(metrics, Mapping) else sorted(NEEDED)
    if lacking:
        raise UserError(
            f"runs={directory}: is of another version (no {', '.join(lacking[:4])} in its {RESULT}); train it again"
        )
    home = directory.parent if re.fullmatch(r"network-\d+", directory.name) else directory
    provenance, config = home / "provenance.json", home / CONFIG
    try:
        origin = json.loads(provenance.read_text()) if provenance.exists() else {}
        text = config.read_text() if config.exists() else ""
    except (OSError, ValueError) as error:
        raise UserError(f"runs={directory}: its {provenance.name} or {CONFIG} cannot be read") from error
    return Run(directory, dict(metrics), origin, text)


def names(runs: Sequence[Run]) -> list[str]:
    """Every run's name, with the settings that tell it apart from others of its name where there are any.

    Runs of one video, scale and backbone that differ in nothing but the seed share it: ``STDO k=4, halo 4``.
    """
    alike: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        alike.setdefault((*_place(run), run.name), []).append(run)
    telling = {key: _telling(members) for key, members in alike.items()}
    return [
        ", ".join(
            [run.name]
            + [f"{key.split('.')[-1]} {run.shaping.get(key, 'null')}" for key in telling[(*_place(run), run.name)]]
        )
        for run in runs
    ]


def _telling(runs: Sequence[Run]) -> list[str]:
    """Settings, as few as it takes one after the other, that tell apart all runs that differ in any."""

    def kinds(keys: Sequence[str]) -> int:
        return len({tuple(run.shaping.get(key) for key in keys) for run in runs})

    keys = sorted({key for run in runs for key in run.shaping}, key=lambda key: (key.count("."), key))
    chosen: list[str] = []
    for key in keys if kinds(keys) > 1 else ():
        if kinds([*chosen, key]) > kinds(chosen):
            chosen.append(key)
    return chosen


def _place(run: Run) -> tuple[object, ...]:
    return run.metrics["video"], run.metrics["scale"], run.metrics["backbone"]


def _flat(node: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield from _flat(child, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def _table(path: Path) -> list[dict[str, float]]:
    try:
        with path.open(newline="") as file:
            return [{key: float(text or "nan") for key, text in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged; it should hold numbers alone") from error
