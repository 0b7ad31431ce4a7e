"""manifest.json, written and read, every range checked on both sides.

Whoever writes a manifest reads it back, so that one set of checks serves both.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from math import prod

from stdo.core.types import BICUBIC, SCALES, Colour, Json, UserError
from stdo.package.fields import Fields, parse
from stdo.package.manifest import (
    BITS,
    FIGURES,
    MANIFEST,
    MATRICES,
    MAX_BYTES,
    MAX_CHUNKS,
    MAX_FRAMES,
    MAX_NETWORKS,
    MAX_PATCHES,
    MAX_PIXELS,
    MAX_RANGE,
    MAX_RANGES,
    MAX_SECONDS,
    MAX_SIDE,
    MAX_TENSORS,
    MAX_WEIGHTS,
    MAX_WINDOWS,
    RESIDUALS,
    STREAMS,
    VERSION,
    Figures,
    Manifest,
    Member,
    Network,
    Patches,
    Ranges,
    Source,
    Stream,
)
from stdo.package.marks_json import from_fields, to_fields
from stdo.video.codecs import PACKED


def to_json(manifest: Manifest) -> bytes:
    """The content of manifest.json. Raises UserError for a value out of its range."""
    members = manifest.members or {}
    fields: Json = {
        "format": "stdo",
        "version": VERSION,
        "generator": manifest.generator,
        "name": manifest.name,
        "scale": manifest.scale,
        "source": _source_out(manifest.source),
        "lr": _parts(manifest.lr, Stream.__slots__),
        "grid": _parts(manifest.grid, Patches.__slots__),
        "network": _parts(manifest.network, Network.__slots__),
        "quantiser": {"bits": manifest.bits},
        "quality": _figures_out(manifest.quality),
        "bicubic": _figures_out(manifest.bicubic),
        "members": {name: {"bytes": member.bytes, "sha256": member.sha256} for name, member in members.items()},
    }
    text = _sealed(json.dumps(fields, separators=(",", ":")).encode())
    read = from_json(text)
    known = replace(manifest.source, colour=replace(manifest.source.colour, assumed=False))
    assert read == replace(manifest, source=known), read
    return text


def from_json(text: bytes) -> Manifest:
    """Read manifest.json. Raises UserError, in one line, for what is damaged, unknown or out of range."""
    if len(text) > MAX_BYTES[MANIFEST]:
        raise UserError(f"{MANIFEST}: {len(text)} bytes: must be at most {MAX_BYTES[MANIFEST]}")
    fields = parse(text, MANIFEST)
    if fields.get("format") != "stdo":
        raise UserError(f"{MANIFEST}: is not that of a package of stdo")
    if fields.get("version") != VERSION:
        raise UserError(f"{MANIFEST}: version={fields.get('version')!r:.40}: this player reads version {VERSION}")
    if text != _sealed(text[:-_SEAL] + b"}"):
        raise UserError(f"{MANIFEST}: damaged (its SHA-256 is another)")
    del fields["sha256"]
    return _read(Fields(fields, MANIFEST))


def _parts(value: object, names: Iterable[str]) -> Json:
    return {name: getattr(value, name) for name in names}


def _source_out(source: Source) -> Json:
    fields: Json = {
        "width": source.width,
        "height": source.height,
        "frames": source.frames,
        "rate": list(source.rate.as_integer_ratio()),
        "times": None,
        "colour": _parts(source.colour, ("matrix", "range", "primaries", "transfer")),
    }
    if source.time_base is not None and source.ticks is not None:
        fields["times"] = {"time_base": list(source.time_base.as_integer_ratio()), "ticks": source.ticks}
    if source.last is not None:
        fields["last"] = list(source.last.as_integer_ratio())
    return fields | to_fields(source.marks)


def _figures_out(figures: Figures | None) -> Json | None:
    return None if figures is None else {"psnr": dict(figures.psnr), "ssim": figures.ssim}


def _sealed(text: bytes) -> bytes:
    """A JSON object with its own SHA-256 as its last field."""
    return b'%b,"sha256":"%b"}' % (text[:-1], hashlib.sha256(text).hexdigest().encode())


_SEAL = len(_sealed(b"{}")) - 1


def _read(fields: Fields) -> Manifest:
    for known in ("format", "version"):
        fields.take(known)
    manifest = Manifest(
        generator=fields.text("generator"),
        name=fields.text("name"),
        scale=fields.one_of("scale", *SCALES),
        source=_read_source(fields.part("source")),
        lr=_read_stream(fields.part("lr")),
        grid=_read_patches(fields.part("grid")),
        network=_read_network(fields.part("network")),
        bits=_read_bits(fields.part("quantiser")),
        quality=fields.optional("quality", lambda key: _read_figures(fields.part(key))),
        bicubic=fields.optional("bicubic", lambda key: _read_figures(fields.part(key))),
        members=_read_members(fields.part("members")),
    )
    fields.end()
    _agree(manifest, fields)
    return manifest


def _read_source(fields: Fields) -> Source:
    times = fields.optional("times", fields.part)
    colour = fields.part("colour")
    frames = fields.whole("frames", 1, MAX_FRAMES)
    source = Source(
        width=fields.whole("width", 1, MAX_SIDE),
        height=fields.whole("height", 1, MAX_SIDE),
        frames=frames,
        rate=fields.fraction("rate"),
        colour=Colour(
            colour.one_of("matrix", *MATRICES),
            colour.one_of("range", "limited", "full"),
            colour.text("primaries", r"[a-z0-9-]{1,40}"),
            colour.text("transfer", r"[a-z0-9-]{1,40}"),
        ),
        marks=from_fields(fields),
    )
    if times:
        ticks = times.wholes("ticks", 0, 2**62, frames, frames)
        source = replace(source, time_base=times.fraction("time_base"), ticks=ticks)
    if "last" in fields.keys:  # only where it is no average interval
        source = replace(source, last=fields.fraction("last"))
    for part in (fields, colour, times):
        if part:
            part.end()
    fields.check(
        source.width * source.height <= MAX_PIXELS,
        "width·height",
        source.width * source.height,
        f"at most {MAX_PIXELS}",
    )
    if source.ticks:
        rising = source.ticks[0] == 0 and all(a < b for a, b in zip(source.ticks, source.ticks[1:], strict=False))
        fields.check(rising, "times.ticks", source.ticks[:3], "rising, from 0 on")
    seconds, allowed = float(source.seconds), f"at most {MAX_SECONDS} seconds"
    fields.check(source.seconds <= MAX_SECONDS, "times, rate", seconds, allowed)
    return source


def _read_stream(fields: Fields) -> Stream:
    stream = Stream(
        member=fields.one_of("member", *STREAMS),
        width=fields.whole("width", 1, MAX_SIDE),
        height=fields.whole("height", 1, MAX_SIDE),
        codec=fields.one_of("codec", *PACKED),
        crf=fields.optional("crf", lambda key: fields.whole(key, 0, 63)),
        preset=fields.optional("preset", lambda key: fields.text(key, r"[a-z0-9]{1,20}")),
        audio_bytes=fields.whole("audio_bytes", 0, MAX_BYTES[STREAMS[0]]),
    )
    fields.end()
    return stream


def _read_patches(fields: Fields) -> Patches:
    patches = Patches(*(fields.whole(key, low, MAX_SIDE) for key, low in (("patch_h", 1), ("patch_w", 1), ("halo", 0))))
    fields.end()
    return patches


def _read_network(fields: Fields) -> Network:
    networks = fields.whole("networks", 1, MAX_NETWORKS)
    params = fields.shapes("params", MAX_TENSORS)
    convolutions = sum(len(shape) == 4 for _, shape in params)
    network = Network(
        backbone=fields.text("backbone", r"[a-z0-9_]{1,40}"),
        params=params,
        networks=networks,
        network_of=fields.wholes("network_of", BICUBIC, networks - 1, 1, MAX_CHUNKS),
        reach=fields.whole("reach", 0, MAX_SIDE),
        residual=fields.one_of("residual", *RESIDUALS) if "residual" in fields.keys else RESIDUALS[0],  # older packages
        ranges=_read_ranges(fields, networks, convolutions) if "ranges" in fields.keys else None,  # older packages
    )
    fields.end()
    numbers = networks * sum(prod(shape) for _, shape in params)
    fields.check(numbers <= MAX_WEIGHTS, "params", numbers, f"at most {MAX_WEIGHTS}")
    return network


def _read_ranges(fields: Fields, networks: int, convolutions: int) -> Ranges | None:
    def pairs(key: str) -> Ranges:
        told = networks * convolutions
        fields.check(told <= MAX_RANGES, key, told, f"at most {MAX_RANGES}")
        return fields.ranges(key, networks, convolutions, MAX_RANGE)

    return fields.optional("ranges", pairs)


def _read_bits(fields: Fields) -> int:
    bits = int(fields.one_of("bits", *BITS))
    fields.end()
    return bits


def _read_figures(fields: Fields) -> Figures:
    psnr = fields.part("psnr")
    figures = Figures(
        psnr={name: psnr.number(name, 0, 100) for name in FIGURES},
        ssim=fields.optional("ssim", lambda key: fields.number(key, -1, 1)),
    )
    psnr.end()
    fields.end()
    return figures


def _read_members(fields: Fields) -> dict[str, Member]:
    members = {}
    for name in fields.keys:
        fields.check(name in MAX_BYTES and name != MANIFEST, "", name, f"one of {', '.join(MAX_BYTES)}")
        member = fields.part(name)
        members[name] = Member(member.whole("bytes", 0, MAX_BYTES[name]), member.text("sha256", r"[0-9a-f]{64}"))
        member.end()
    return members


def _agree(manifest: Manifest, fields: Fields) -> None:
    """Raise UserError where fields contradict each other."""
    source, lr, grid, scale = manifest.source, manifest.lr, manifest.grid, manifest.scale
    size, needed = (lr.width, lr.height), (-(-source.width // scale), -(-source.height // scale))
    fields.check(size == needed, "lr.width, lr.height", size, f"{needed}, the source's by the scale")
    fits = grid.patch_h <= lr.height and grid.patch_w <= lr.width
    fields.check(fits, "grid", (grid.patch_w, grid.patch_h), f"at most {size}")
    windows = manifest.patch_grid
    patches, pixels = windows.patches * source.frames, windows.pixels * scale**2
    fields.check(patches <= MAX_PATCHES, "patches", patches, f"at most {MAX_PATCHES}")
    fields.check(pixels <= MAX_WINDOWS, "grid.halo", grid.halo, "smaller for patches of this size")
    if manifest.members:
        names = sorted(manifest.names[1:])
        fields.check(sorted(manifest.members) == names, "members", sorted(manifest.members), ", ".join(names))
        size_of = manifest.members[lr.member].bytes
        fields.check(lr.audio_bytes <= size_of, "lr.audio_bytes", lr.audio_bytes, f"at most {size_of}")
