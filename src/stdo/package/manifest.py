"""manifest.json: what it tells of a package (docs/package.md), written and read.

Each field is stated once, in the order in which it is written. Whoever writes a manifest reads it
back, so that one set of checks serves both.
"""

import hashlib
import json
from collections.abc import Iterator
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, field, to_builtins

from stdo.chunks.grid import PatchGrid
from stdo.core.checked import checked, refused
from stdo.core.foreign import parse_json
from stdo.core.types import BICUBIC, SCALES, Json, UserError
from stdo.package.limits import (
    BITS,
    CHUNKS,
    GRAPH,
    MANIFEST,
    MAX_BYTES,
    MAX_CHUNKS,
    MAX_FRAMES,
    MAX_NETWORKS,
    MAX_PART_TENSORS,
    MAX_PATCHES,
    MAX_RANGE,
    MAX_RANGES,
    MAX_SIDE,
    MAX_TENSORS,
    MAX_WEIGHTS,
    MAX_WINDOWS,
    STREAMS,
    WEIGHTS,
    Part,
    Rule,
    Side,
    matching,
    ratio_of,
)
from stdo.package.source import Source
from stdo.video.codecs import PACKED

if TYPE_CHECKING:  # mypy reads no Literal of names that are listed elsewhere
    _Scale = int
    _Bits = int
    _Stream = str
    _Codec = str
    _Name = str
    _Residual = str
else:
    _Scale, _Bits = Literal[SCALES], Literal[BITS]
    _Stream, _Codec, _Residual = Literal[STREAMS], Literal[PACKED], Literal["none", "bicubic"]
    _Name = Literal[(GRAPH, WEIGHTS, CHUNKS, *STREAMS)]
_Line = Annotated[str, matching(r"[^\x00-\x1f\x7f]{1,400}")]
_Padding = Annotated[int, Meta(ge=0, le=MAX_SIDE)]
_Tensor = tuple[
    Annotated[str, matching(r"[\w.]{1,200}")],
    Annotated[tuple[Annotated[int, Meta(ge=1, le=2**20)], ...], Meta(max_length=5)],
]
_Number = Annotated[float, Meta(ge=-MAX_RANGE, le=MAX_RANGE)]
_Db = Annotated[float, Meta(ge=0, le=100)]

Range = tuple[_Number, _Number]
"""The smallest and the largest number that a convolution reads."""
Ranges = Annotated[tuple[tuple[Range, ...], ...], Meta(max_length=MAX_NETWORKS)]
"""Of each network, of each convolution."""


class Stream(Part, frozen=True):
    """The LR video: its member, size in pixels, how it was encoded, and how many bytes of it are
    sound."""

    member: _Stream
    width: Side
    height: Side
    codec: _Codec
    crf: Annotated[int, Meta(ge=0, le=63)] | None
    preset: Annotated[str, matching("[a-z0-9]{1,20}")] | None
    audio_bytes: Annotated[int, Meta(ge=0, le=MAX_BYTES[STREAMS[0]])]


class Patches(Part, frozen=True):
    """The patch grid in LR pixels, see `stdo.chunks.grid.PatchGrid`."""

    patch_h: Side
    patch_w: Side
    halo: _Padding


class Network(Part, frozen=True):
    """The networks.

    Attributes:
        backbone: The architecture.
        params: Name and shape of each tensor, in the order of weights.bin.
        networks: How many.
        network_of: The network that serves each chunk, or `stdo.core.types.BICUBIC`.
        receptive_radius: How many LR pixels away a pixel still changes the result, see
            `stdo.models.common.Backbone.receptive_radius`.
        residual: What the networks predict, see `stdo.models.common.Backbone`; the graph does what
            it says. Older packages do not tell.
        ranges: For each network the smallest and the largest number that each of its convolutions
            reads, over the whole video, in the order of their weights in ``params``; None where
            that was not measured.
    """

    backbone: Annotated[str, matching("[a-z0-9_]{1,40}")]
    params: Annotated[tuple[_Tensor, ...], Meta(min_length=1, max_length=MAX_TENSORS)]
    networks: Annotated[int, Meta(ge=1, le=MAX_NETWORKS)]
    network_of: Annotated[
        tuple[Annotated[int, Meta(ge=BICUBIC, lt=MAX_NETWORKS)], ...],
        Meta(min_length=1, max_length=MAX_CHUNKS),
    ]
    receptive_radius: _Padding = field(name="reach")
    residual: _Residual = "none"
    ranges: Ranges | None = None

    @property
    def convolutions(self) -> tuple[str, ...]:
        """Names of the convolutions' weights: the tensors with four sides."""
        return tuple(name for name, shape in self.params if len(shape) == 4)

    def rules(self, at_once: int) -> Iterator[Rule]:
        """What its fields must keep together. at_once: networks of the part that has most."""
        names = [name for name, _ in self.params]
        yield len(set(names)) == len(names), "network.params", names, "tensors of different names"
        chunk = max(self.network_of)
        yield (
            chunk < self.networks,
            "network.network_of",
            chunk,
            f"below the number of networks, {self.networks}",
        )
        numbers = at_once * sum(prod(shape) for _, shape in self.params)
        yield numbers <= MAX_WEIGHTS, "network.params", numbers, f"at most {MAX_WEIGHTS}"
        if self.ranges is not None:
            rows, columns = self.networks, len(self.convolutions)
            good = len(self.ranges) == rows and all(len(row) == columns for row in self.ranges)
            good = good and all(low <= high for row in self.ranges for low, high in row)
            yield good, "network.ranges", self.ranges, f"{rows} times {columns} pairs, none falling"


class Quantiser(Part, frozen=True):
    """How many bits a weight has."""

    bits: _Bits


class Psnr(Part, frozen=True):
    """Decibels, as docs/protocol.md defines them."""

    frame: _Db
    pooled: _Db
    y: _Db


class Figures(Part, frozen=True):
    """What the server measured on the frames that the client made. ssim: None where a side is too
    short for it."""

    psnr: Psnr
    ssim: Annotated[float, Meta(ge=-1, le=1)] | None


class VideoPart(Part, frozen=True):
    """A stretch of a joined video with networks and chunks of its own.

    Attributes:
        first: Number of its first frame; it ends where the next part begins.
        networks: How many of ``network.networks`` are its own, behind those of the parts before.
        chunks: How many entries of ``network.network_of`` are its own, likewise.
    """

    first: Annotated[int, Meta(ge=0, lt=MAX_FRAMES)]
    networks: Annotated[int, Meta(ge=1, le=MAX_NETWORKS)]
    chunks: Annotated[int, Meta(ge=1, le=MAX_CHUNKS)]


class Member(Part, frozen=True):
    """Size and SHA-256 of a member."""

    bytes: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, matching("[0-9a-f]{64}")]


class Manifest(Part, frozen=True):
    """Everything that a player has to know before it reads another member.

    Attributes:
        quality, bicubic: None until they are measured.
        members: All but the manifest itself; `write_package` fills it in.
        parts: Of a video that was encoded in parts; unset: it was not, and the package is one of
            version 1.
    """

    generator: _Line
    name: _Line
    scale: _Scale
    source: Source
    lr: Stream
    grid: Patches
    network: Network
    quantiser: Quantiser
    quality: Figures | None
    bicubic: Figures | None
    members: dict[_Name, Member]
    parts: (
        Annotated[tuple[VideoPart, ...], Meta(min_length=2, max_length=MAX_NETWORKS)] | UnsetType
    ) = UNSET

    @property
    def sections(self) -> tuple[VideoPart, ...]:
        """The parts; of a video that was not encoded in parts, one that is all of it."""
        network = self.network
        return self.parts or (VideoPart(0, network.networks, len(network.network_of)),)

    @property
    def patch_grid(self) -> PatchGrid:
        """The grid of the LR frames."""
        return PatchGrid(
            self.lr.height,
            self.lr.width,
            self.grid.patch_h,
            self.grid.patch_w,
            self.grid.halo,
            self.scale,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All members in the order in which a package holds them."""
        return MANIFEST, GRAPH, WEIGHTS, CHUNKS, self.lr.member

    def rules(self) -> Iterator[Rule]:
        """What its fields must keep together; each rule is asked only where those before it
        hold."""
        yield from self.source.rules()
        yield from self._part_rules()
        yield from self.network.rules(max(part.networks for part in self.sections))
        source, lr, grid, scale = self.source, self.lr, self.grid, self.scale
        size, needed = (
            (lr.width, lr.height),
            (-(-source.width // scale), -(-source.height // scale)),
        )
        yield size == needed, "lr.width, lr.height", size, f"{needed}, the source's by the scale"
        fits = grid.patch_h <= lr.height and grid.patch_w <= lr.width
        yield fits, "grid", (grid.patch_w, grid.patch_h), f"at most {size}"
        padded_patches = self.patch_grid
        patches, pixels = padded_patches.patches * source.frames, padded_patches.pixels * scale**2
        yield patches <= MAX_PATCHES, "patches", patches, f"at most {MAX_PATCHES}"
        yield pixels <= MAX_WINDOWS, "grid.halo", grid.halo, "smaller for patches of this size"
        if self.members:
            names, found = sorted(self.names[1:]), sorted(self.members)
            yield found == names, "members", found, ", ".join(names)
        for name, member in self.members.items():
            yield (
                member.bytes <= MAX_BYTES[name],
                f"members.{name}.bytes",
                member.bytes,
                f"at most {MAX_BYTES[name]}",
            )
            most = member.bytes if name == lr.member else lr.audio_bytes
            yield lr.audio_bytes <= most, "lr.audio_bytes", lr.audio_bytes, f"at most {most}"

    def _part_rules(self) -> Iterator[Rule]:
        """Whether the parts are all frames, networks and chunks, each once and in order."""
        parts, network = self.sections, self.network
        tensors = len(parts) * len(network.params)
        most = f"at most {MAX_PART_TENSORS} tensors in all"
        yield tensors <= MAX_PART_TENSORS or len(parts) == 1, "parts", tensors, most
        firsts = [part.first for part in parts]
        rising = firsts[0] == 0 and all(a < b for a, b in pairwise([*firsts, self.source.frames]))
        yield rising, "parts.first", firsts, f"rising, from 0 to below {self.source.frames}"
        networks = sum(part.networks for part in parts)
        yield networks == network.networks, "parts.networks", networks, f"{network.networks} in all"
        chunks, told = sum(part.chunks for part in parts), len(network.network_of)
        yield chunks == told, "parts.chunks", chunks, f"{told} in all"
        chunk = own = 0
        for part in parts:
            used = set(network.network_of[chunk : chunk + part.chunks]) - {BICUBIC}
            good = used <= set(range(own, own + part.networks))
            yield good, "network.network_of", sorted(used), "networks of the chunk's own part"
            chunk, own = chunk + part.chunks, own + part.networks


_FORMAT, _VERSIONS = "stdo", (1, 2)
"""Of a package, and of a package in parts."""


def to_json(manifest: Manifest) -> bytes:
    """The content of manifest.json.

    Args:
        manifest: What it tells.

    Returns:
        JSON.

    Raises:
        FieldError: A value is out of its range.
    """
    fields = to_builtins(manifest, enc_hook=lambda ratio: ratio.as_integer_ratio())
    head = {"format": _FORMAT, "version": _VERSIONS[manifest.parts is not UNSET]}
    text = _sealed(json.dumps(head | fields, separators=(",", ":")).encode())
    read = from_json(text)
    assert read == manifest, read
    return text


def from_json(text: bytes) -> Manifest:
    """Read manifest.json.

    Args:
        text: Its content.

    Returns:
        What it tells.

    Raises:
        UserError: Something is damaged, unknown or out of its range; in one line.
    """
    if len(text) > MAX_BYTES[MANIFEST]:
        raise UserError(f"{MANIFEST}: {len(text)} bytes: must be at most {MAX_BYTES[MANIFEST]}")
    fields = parse_json(text, MANIFEST)
    if not isinstance(fields, dict):
        raise UserError(f"{MANIFEST}: damaged (it is not a JSON object)")
    if fields.pop("format", None) != _FORMAT:
        raise UserError(f"{MANIFEST}: is not that of a package of stdo")
    version = fields.pop("version", None)
    if version not in _VERSIONS:
        raise UserError(
            f"{MANIFEST}: version={version!r:.40}: this player reads versions "
            f"{' and '.join(map(str, _VERSIONS))}"
        )
    if text != _sealed(text[:-_SEAL] + b"}"):
        raise UserError(f"{MANIFEST}: damaged (its SHA-256 is another)")
    del fields["sha256"]
    if ("parts" in fields) != (version == _VERSIONS[1]):
        raise UserError(f"{MANIFEST}: version={version}: must be 2 where there are parts, else 1")
    _check_ranges(fields)
    found: Manifest = checked(fields, Manifest, MANIFEST, ratio_of)
    for holds, place, value, allowed in found.rules():
        if not holds:
            raise refused(MANIFEST, place, value, allowed)
    return found


def _check_ranges(fields: Json) -> None:
    """Raise UserError for more ranges than any package has, before they are made into numbers that
    take room."""
    network = fields.get("network")
    ranges: Any = network.get("ranges") if isinstance(network, dict) else None
    if isinstance(ranges, list):
        told = sum(len(row) for row in ranges if isinstance(row, list))
        if told > MAX_RANGES:
            raise refused(MANIFEST, "network.ranges", told, f"at most {MAX_RANGES}")


def _sealed(text: bytes) -> bytes:
    """A JSON object with its own SHA-256 as its last field."""
    return b'%b,"sha256":"%b"}' % (text[:-1], hashlib.sha256(text).hexdigest().encode())


_SEAL = len(_sealed(b"{}")) - 1
