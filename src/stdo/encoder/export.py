"""From a finished run to plain networks, one file each, for the runtimes of phones. Server only."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from stdo import __version__
from stdo.chunks.grid import PatchGrid
from stdo.core.files import atomic_folder
from stdo.core.types import Json, UserError
from stdo.encoder.formats import Format, format_named
from stdo.models.common import Backbone
from stdo.models.registry import name_of
from stdo.models.weights import load_networks
from stdo.package.container import complaints
from stdo.package.limits import MAX_PIXELS, MAX_SIDE
from stdo.runs.directory import WEIGHTS, read_chunks, read_result
from stdo.video.clip import PatchSize

VERSION = 1
INDEX = "export.json"
TOLERANCE = 1e-3
"""Largest difference from PyTorch that is let pass, on outputs of about 0 … 1: a quarter of a grey
level."""


@dataclass(frozen=True)
class Export:
    """How networks are exported.

    Attributes:
        format: A key of `stdo.encoder.formats.FORMATS`.
        size: Of the input in LR pixels: ``patch`` (with its halo), ``frame``, or ``WIDTHxHEIGHT``.
        out: The folder; None: ``export-<format>`` in the run directory.
    """

    format: str
    size: str = "patch"
    out: Path | None = None


def export(
    directory: Path, patches: PatchSize, wanted: Export, say: Callable[[str], object]
) -> Path:
    """Write the networks of a finished run, each compared with PyTorch in its own runtime; return
    the folder.

    Args:
        patches: As the run had them.
        say: Receives one line for each network. Nothing is written unless all of it is good.

    Raises:
        UserError: For an unknown format or size, a format whose packages are not installed, a run
            that is not finished, a folder that is something else, and a network that its runtime
            computes differently.
    """
    kind = format_named(wanted.format)
    grid = _grid(patches, read_result(directory, {"scale", "height", "width"}))
    networks, _ = load_networks(directory / WEIGHTS)
    if patches.whole:
        grid = replace(grid, halo=max(grid.halo, networks[0].receptive_radius))
    height, width = _size(wanted.size, grid)
    _, network_of = read_chunks(directory, networks=len(networks))
    target = _target(directory, wanted)
    with complaints(target), atomic_folder(target) as folder:
        written = []
        write = kind.writer(networks[0], height, width)
        for number, network in enumerate(networks):
            stem = folder / f"network-{number}"
            write(network, stem)
            difference = _difference(network, kind, height, width, stem)
            files = [_file(Path(f"{stem}{suffix}")) for suffix in kind.suffixes]
            written.append({"files": files, "max_difference": difference})
            say(
                f"{stem.name}: {sum(file['bytes'] for file in files)} bytes, at most "
                f"{difference:.1e} from PyTorch"
            )
        index = {
            "version": VERSION,
            "generator": f"stdo {__version__}",
            "format": wanted.format,
            "packages": kind.versions(),
            "backbone": name_of(networks[0]),
            "residual": networks[0].residual,
            "scale": grid.scale,
            "input": _tensor(kind, kind.inputs, height, width) | {"range": [0, 1]},
            "output": _tensor(kind, kind.outputs, height * grid.scale, width * grid.scale)
            | {"clamped": False},
            "frame": {"width": grid.width, "height": grid.height},
            "patch": {"width": grid.patch_w, "height": grid.patch_h, "halo": grid.halo},
            "network_of": network_of,
            "networks": written,
        }
        (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")
    return target


def _grid(patches: PatchSize, metrics: Json) -> PatchGrid:
    """The run's patch grid on LR frames. The HR frame was padded to a multiple of the scale."""
    scale = metrics["scale"]
    return patches.grid(-(-metrics["height"] // scale), -(-metrics["width"] // scale), scale)


def _size(size: str, grid: PatchGrid) -> tuple[int, int]:
    """Height and width of the input."""
    sides = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", size)
    if size == "patch":
        height, width = grid.padded_patch
    elif size == "frame":
        height, width = grid.height, grid.width
    elif sides:
        width, height = int(sides[1]), int(sides[2])
    else:
        raise UserError(
            f"size={size}: must be patch, frame, or WIDTHxHEIGHT in LR pixels, such as 320x180"
        )
    most = MAX_SIDE // grid.scale
    if not (
        1 <= height <= most and 1 <= width <= most and height * width * grid.scale**2 <= MAX_PIXELS
    ):
        raise UserError(
            f"size={size}: {width}x{height} must be from 1 to {most} a side, and small enough "
            "for 8K output"
        )
    return height, width


def _target(directory: Path, wanted: Export) -> Path:
    target = wanted.out or directory / f"export-{wanted.format}"
    if not target.parent.is_dir():
        raise UserError(f"out={target}: there is no folder {target.parent}")
    if target.exists() and not (target / INDEX).is_file():
        raise UserError(f"out={target}: exists and is not an export (no {INDEX} in it)")
    return target


def _difference(network: Backbone, kind: Format, height: int, width: int, stem: Path) -> float:
    """How far the format's runtime is from PyTorch, at most. Raises UserError where that is too
    far."""
    lr_NCHW = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(lr_NCHW).numpy()
    made = kind.run(stem, lr_NCHW.numpy())
    difference = (
        float(np.abs(made - expected).max()) if made.shape == expected.shape else float("inf")
    )
    if not difference <= TOLERANCE:  # NaN as well
        raise UserError(
            f"{stem.name}: its runtime differs from PyTorch by {difference:.1e}; at most "
            f"{TOLERANCE} is good"
        )
    return difference


def _file(path: Path) -> Json:
    content = path.read_bytes()
    return {"name": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _tensor(kind: Format, name: str, height: int, width: int) -> Json:
    shape = [1, 3, height, width][-len(kind.layout) :]
    return {
        "name": name,
        "layout": kind.layout,
        "shape": shape,
        "type": "float32",
        "channels": "RGB",
    }
