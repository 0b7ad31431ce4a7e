"""Figures, tables and pictures of a finished run, for trackers."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from stdo.core.types import Json
from stdo.runs.files import read_crop, read_crops, read_table

MAX_FRAMES = 2**31
PICTURES = ("heatmap.png", "comparison.png")


def figures(metrics: Json) -> dict[str, float]:
    """Every number of metrics.json under one name each, and the gain over bicubic in dB in every
    protocol.

    >>> bicubic = {"psnr": {"frame": 30.0}}
    >>> figures({"psnr": {"frame": 31.5}, "bicubic": bicubic, "method": "stdo"})
    {'psnr/frame': 31.5, 'bicubic/psnr/frame': 30.0, 'gain/frame': 1.5}
    """
    flat = dict(_flat(metrics))
    gains = {
        f"gain/{protocol}": flat[f"psnr/{protocol}"] - flat[f"bicubic/psnr/{protocol}"]
        for protocol in metrics.get("psnr", {})
        if f"psnr/{protocol}" in flat and f"bicubic/psnr/{protocol}" in flat
    }
    return flat | gains


def _flat(node: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + key, value


def chunk_table(metrics: Json) -> list[Json]:
    """One row a chunk: its number, patches, presentations and PSNR in dB, as far as metrics.json
    has them."""
    columns = {
        "patches": "chunk_patches",
        "presentations": "chunk_presentations",
        "psnr": "chunk_psnr",
    }
    present = {name: metrics[key] for name, key in columns.items() if metrics.get(key)}
    rows = zip(*present.values(), strict=True)
    return [
        {"chunk": chunk, **dict(zip(present, row, strict=True))} for chunk, row in enumerate(rows)
    ]


def frame_table(directory: Path) -> list[Json]:
    """The rows of frames.csv, as numbers; None where a figure does not exist. Empty when there is
    no such file."""
    rows = read_table(directory, "frames.csv", ("frame",), MAX_FRAMES)
    return [{key: _or_none(value) for key, value in row.items()} for row in rows]


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def pictures(directory: Path) -> dict[str, Path]:
    """Heat map and comparison, by name, as far as they are there."""
    return {Path(name).stem: directory / name for name in PICTURES if (directory / name).exists()}


def crop_table(directory: Path) -> list[Json]:
    """crops/crops.json with the paths of the pictures under ``files``; empty when there are none.

    The pictures go elsewhere, so each is checked first: a PNG that lies in the run directory
    itself.
    """
    listed = read_crops(directory)
    for crop in listed:
        for name in crop["files"]:
            read_crop(directory, crop, name)
    folder = directory / "crops"
    return [
        crop | {"files": {name: folder / file for name, file in crop["files"].items()}}
        for crop in listed
    ]
