"""Schema of the files of a run directory: every figure of a result once.

Another version may write more, so fields that are not known pass. `stdo.runs.files` reads the
files.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from stdo.core.plugins import NAME
from stdo.metrics.base import Metric
from stdo.metrics.registry import METRICS, OTHERS, PROTOCOLS

MAX_SIDE = 1024
"""Pixels of a side of a crop."""

Text = Annotated[str, Meta(max_length=400)]
Word = Annotated[str, Meta(max_length=100)]
Long = Annotated[str, Meta(max_length=100_000)]
Package = Annotated[str, Meta(max_length=100, pattern=rf"^{NAME}\Z")]
Natural = Annotated[int, Meta(ge=0, le=2**53)]
Count = Annotated[int, Meta(ge=1, le=2**53)]
Chunks = Annotated[int, Meta(ge=0, le=32767)]
Side = Annotated[int, Meta(ge=1, le=2**20)]
Db = Annotated[float, Meta(ge=-1000, le=1000)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
Number = Annotated[float, Meta(ge=-1e15, le=1e15)]
PerChunk = Annotated[list[Db | None], Meta(max_length=32767)]
Numbers = Annotated[list[Number], Meta(max_length=32767)]


def kind_of(metric: type[Metric]) -> Any:
    """Type and range of a metric's figure."""
    least, most = metric.limits
    return Annotated[float, Meta(ge=least, le=most)]


def _figures(names: Iterable[str], needed: bool) -> list[Any]:
    """Fields of a struct for metrics. needed: those that every result has must be there."""
    fields: list[Any] = []
    for name in names:
        metric = METRICS[name]
        if needed and metric.needed:
            fields.append((name, kind_of(metric) if metric.protocol else kind_of(metric) | None))
        else:
            fields.append((name, kind_of(metric) | None, None))
    return fields


Psnr = msgspec.defstruct("Psnr", _figures(PROTOCOLS, True))
"""dB by each protocol of docs/protocol.md."""


class Seams(Struct):
    """dB of the pixels beside the patches' edges, and of the others."""

    border: Db | None
    inside: Db | None


Bicubic = msgspec.defstruct(
    "Bicubic",
    [
        ("psnr", Annotated[dict[str, Db | None], Meta(max_length=100)]),
        *_figures(OTHERS, True),
        ("seams", Seams | UnsetType, UNSET),
    ],
    kw_only=True,
)
"""Figures of bicubic enlargement."""

Delivered = msgspec.defstruct(
    "Delivered",
    [
        ("bits", Annotated[int, Meta(ge=1, le=32)]),
        ("psnr", Psnr),
        ("codec", Annotated[str, Meta(max_length=40)] | UnsetType, UNSET),
        ("crf", Db | None, None),
        *_figures(OTHERS, False),
    ],
)
"""What a viewer of the package sees."""


@dataclass(frozen=True)
class Field:
    """One figure of metrics.json.

    Attributes:
        kind: Its type and range, as msgspec reads it.
        help: One line.
        needed: By ``all``: without it no run is measured, packed or exported again. By ``report``:
            without it no run is in a report. None: it may be missing.
        columns: Of results.tsv: name -> the path below this field, empty for the field itself.
        page: Whether the HTML page has it.
    """

    kind: Any
    help: str
    needed: Literal["all", "report"] | None = None
    columns: tuple[tuple[str, str], ...] = ()
    page: bool = False


def _of(prefix: str, *parts: str, below: str = "") -> tuple[tuple[str, str], ...]:
    return tuple((f"{prefix}_{part}", f"{below}{part}") for part in parts)


_ITSELF = (("", ""),)
PARTS = ("lr", "audio", "models", "chunks", "graph", "manifest", "total")
"""What the bytes of a package are counted by (docs/package.md)."""

RESULT: dict[str, Field] = {
    "video": Field(Text, "name of the video", "all", _ITSELF, page=True),
    "width": Field(Side, "pixels of a frame", "all", _ITSELF, page=True),
    "height": Field(Side, "pixels of a frame", "all", _ITSELF, page=True),
    "frames": Field(
        Annotated[int, Meta(ge=1, le=2**31)], "frames of the video", "all", _ITSELF, page=True
    ),
    "backbone": Field(Word, "architecture of the networks", "all", _ITSELF, page=True),
    "residual": Field(Word, "what the networks predict", columns=_ITSELF),
    "scale": Field(Literal[2, 3, 4], "enlargement of each side", "all", _ITSELF, page=True),
    "method": Field(Annotated[str, Meta(max_length=60)], "method", "all", _ITSELF, page=True),
    "chunks": Field(
        Annotated[int, Meta(ge=1, le=32767)], "groups of patches", "all", _ITSELF, page=True
    ),
    "chunking": Field(Word, "how patches are grouped", "report", _ITSELF, page=True),
    "sharing": Field(Word, "what networks share", "report", _ITSELF, page=True),
    "bicubic_chunks": Field(Chunks, "chunks without a network", columns=_ITSELF),
    "sampler": Field(Word, "what picks the patches of a step", "report", _ITSELF, page=True),
    "crop": Field(Side | None, "side of the random crops of a fit, in LR pixels; null: patches of "
        "the grid", columns=_ITSELF),
    "flips": Field(bool | None, "whether crops were mirrored", columns=_ITSELF),
    "rotations": Field(bool | None, "whether crops were turned by quarters", columns=_ITSELF),
    "scorer": Field(Text, "what measures how hard a patch is", "report", _ITSELF, page=True),
    "init": Field(Word, "how first weights are made", columns=_ITSELF),
    "network": Field(Chunks | None, "the one network that was measured; null: "
        "all", "report", _ITSELF, page=True),
    "seed": Field(Annotated[int, Meta(ge=0, le=2**32 - 1)], "seed", "report", _ITSELF, page=True),
    "patches": Field(Count, "patches of the video", "report", _ITSELF, page=True),
    "passes": Field(Annotated[float, Meta(ge=0, le=1e9)], "patches seen over "
        "patches", "report", _ITSELF, page=True),
    "batch": Field(Count, "patches or crops per network and step", "report", _ITSELF, page=True),
    "equal": Field(Word | None, "reading of equal work, where networks train side by "
        "side; null: one at a time, and both are the same", columns=_ITSELF, page=True),
    "steps": Field(Natural, "optimizer steps", "report", _ITSELF, page=True),
    "network_steps": Field(Numbers | None, "steps of each network, those of a first phase among "
        "them", columns=_ITSELF),
    "optimizer": Field(Word | None, "what moves the weights", columns=_ITSELF),
    "peak_lr": Field(Seconds | None, "highest learning rate of the fit; with Muon, of the "
        "filters", columns=_ITSELF),
    "loss": Field(Text | None, "what training minimises", columns=_ITSELF),
    "halo": Field(Natural | None, "LR pixels of context around a patch", columns=_ITSELF),
    "whole": Field(bool | None, "whether whole frames were measured, and not patches put "
        "together", columns=_ITSELF),
    "negative_slope": Field(Number | None, "slope of the activations below zero", columns=_ITSELF),
    "first_weights": Field(Word | None, "first weights: bicubic, paper, or those of a "
        "file", columns=_ITSELF),
    "planned_steps": Field(Natural, "steps that the budget asks for, where a fit was "
        "shortened", columns=_ITSELF),
    "shortened": Field(Text, "what made the fit shorter than its budget; such a run is in no "
        "comparison at equal work", columns=_ITSELF, page=True),
    "precision": Field(Word, "precision of the fit", "report", _ITSELF, page=True),
    "device": Field(
        Annotated[str, Meta(max_length=40, pattern=r"^(cpu|cuda|mps|xla|hpu|xpu)(:\d{1,3})?\Z")],
        "device of the fit", "all", _ITSELF, page=True,
    ),
    "patch_presentations": Field(Count, "patches seen in training; crops count by their "
        "pixels", "all", (("presentations", ""),), page=True),
    "psnr": Field(Psnr, "PSNR in dB by protocol", "all", _of("psnr", *PROTOCOLS), page=True),
    **{
        name: Field(
            kind_of(METRICS[name]) | None, METRICS[name].help,
            "all" if METRICS[name].needed else None, _ITSELF, page=True,
        )
        for name in OTHERS
    },
    "bicubic": Field(
        Bicubic, "figures of bicubic", "all",
        (*_of("bicubic", *PROTOCOLS, below="psnr."), *_of("bicubic", *OTHERS)), page=True,
    ),
    "seams": Field(Seams, "PSNR at the edges of patches and "
        "inside", columns=_of("seams", "border", "inside")),
    "params": Field(Natural, "weights of all networks", "all", _ITSELF, page=True),
    "params_base": Field(Natural, "weights that chunks share", "report", _ITSELF, page=True),
    "params_per_chunk": Field(Natural, "weights that each chunk "
        "adds", "report", _ITSELF, page=True),
    "macs_per_frame": Field(Natural, "multiply-accumulates for a frame", "all", _ITSELF, page=True),
    "seconds": Field(
        Annotated[dict[str, Seconds | None], Meta(max_length=100)], "seconds by step", "all",
        _of("seconds", "prepare", "score", "train", "evaluate"), page=True,
    ),
    "bytes": Field(
        Annotated[dict[str, Natural], Meta(max_length=100)], "bytes of the package by part",
        columns=_of("bytes", *PARTS), page=True,
    ),
    "bitrate_kbps": Field(Seconds, "bits of the package per second of video, in "
        "thousands", columns=_ITSELF, page=True),
    "network_bytes": Field(Numbers | None, "bytes of each network in the package, or of the base "
        "and then of what each network changes", columns=_ITSELF),
    "delivered": Field(
        Delivered, "what a viewer of the package sees",
        columns=(
            *((part, part) for part in ("codec", "crf", "bits")),
            *_of("delivered", "frame", "pooled", "y", below="psnr."), ("delivered_ssim", "ssim"),
        ),
    ),
    "chunk_psnr": Field(PerChunk, "PSNR of each chunk's pixels", "all", _ITSELF, page=True),
    "chunk_patches": Field(Numbers | None, "patches of each chunk", columns=_ITSELF, page=True),
    "chunk_presentations": Field(Numbers | None, "patches seen of each "
        "chunk", columns=_ITSELF, page=True),
    "ratios": Field(Numbers | None, "share of each chunk that was trained on", columns=_ITSELF),
    "weights": Field(Numbers | None, "how often a patch of each chunk was drawn", columns=_ITSELF),
    "step_shares": Field(Numbers | None, "share of the steps of each network", columns=_ITSELF),
    "fingerprint": Field(Text, "version of the conversion and hash of the video's content: results "
        "are compared where it agrees; of earlier runs, where the names do"),
    "study": Field(Text | None, "study that the run is of"),
    "own_settings": Field(
        Annotated[list[Word], Meta(max_length=100)], "settings that are part of the method"
    ),
}  # fmt: skip
"""The figures of metrics.json that we read."""

DELIVERED = ("bytes", "bitrate_kbps", "delivered", "network_bytes")
"""What delivering a run adds to its result."""

NEEDED = frozenset(name for name, field in RESULT.items() if field.needed == "all")
NEEDED_BY_REPORT = frozenset(name for name, field in RESULT.items() if field.needed)


def columns() -> Iterator[tuple[str, str, str]]:
    """The columns of results.tsv that are figures of metrics.json: name, field, path below the
    field."""
    for name, field in RESULT.items():
        for column, path in field.columns:
            yield column or name, name, path


def _optional(*fields: str) -> list[tuple[str, Any, Any]]:
    return [(name, RESULT[name].kind | UnsetType, UNSET) for name in fields]


Metrics = msgspec.defstruct("Metrics", _optional(*RESULT))
"""metrics.json, of any version."""

_KNOWN = ("method", "backbone", "video", "scale", "chunks", "device")
Facts = msgspec.defstruct(
    "Facts",
    [
        *((name, RESULT[name].kind) for name in _KNOWN),
        ("train_seconds", Seconds | None),
        ("score_seconds", Seconds | None),
        *_optional(*(name for name in RESULT if name not in _KNOWN)),
    ],
)
"""What is known of a run before it is measured."""

_Place = Annotated[int, Meta(ge=0, le=2**31)]
_Pixels = Annotated[int, Meta(ge=1, le=MAX_SIDE)]
_File = Annotated[str, Meta(max_length=100, pattern=r"^[^/\x00]+\Z")]


class Pictures(Struct):
    """Files of the pictures of a crop."""

    truth: _File
    bicubic: _File
    ours: _File


class Crop(Struct):
    """A crop of a frame: place and size in HR pixels, PSNR in dB."""

    frame: _Place
    top: _Place
    left: _Place
    height: _Pixels
    width: _Pixels
    bicubic: Db
    ours: Db
    why: Annotated[str, Meta(max_length=60)]
    files: Pictures
    row: _Place | UnsetType = UNSET
    col: _Place | UnsetType = UNSET


Crops = Annotated[list[Crop], Meta(max_length=100)]


class Machine(Struct):
    """What a run was trained on."""

    system: Long | None = None
    processor: Long | None = None
    accelerator: Long | None = None
    cores: Annotated[int, Meta(ge=0, le=2**20)] | None = None


class Provenance(Struct):
    """provenance.json."""

    command: Annotated[list[Long], Meta(max_length=10_000)] | None = None
    started: Text | None = None
    stdo: Text | None = None
    python: Text | None = None
    commit: Text | None = None
    packages: Annotated[dict[str, Text | None], Meta(max_length=100)] = {}
    machine: Machine | UnsetType = UNSET
    diff: Annotated[str, Meta(max_length=1 << 24)] | None = None


class SweepJob(Struct):
    """One job of a sweep."""

    directory: Long | None
    command: Long | None = None
    status: Long | None = None
    error: Long | None = None
    ended: Seconds = 0.0


class Sweep(Struct):
    """A file of <outputs>/sweeps/<study>, or <outputs>/sweeps/<study>.json of earlier versions."""

    jobs: Annotated[list[SweepJob], Meta(max_length=100_000)]
    study: Text | None = None


class _Sampler(Struct):
    ratios: Numbers | None = None
    weights: Numbers | None = None


class _Degrade(Struct):
    codec: Annotated[str, Meta(max_length=40)] | None = None
    crf: Db | None = None


class _Patches(Struct):
    height: Annotated[int, Meta(ge=0, le=2**20)] | None = None
    width: Annotated[int, Meta(ge=0, le=2**20)] | None = None
    halo: Annotated[int, Meta(ge=0, le=2**20)] | None = None


class Config(Struct):
    """Of config.yaml, what a report reads."""

    sampler: _Sampler | None = None
    degrade: _Degrade | None = None
    patches: _Patches | None = None
    plugins: Annotated[list[Package], Meta(max_length=100)] | None = None
