"""manifest.json: read back as written, and every field refused when it is out of its range."""

import hashlib
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from msgspec.structs import replace

from stdo.core.types import Colour, Marks, Mastering, Projection, Stereo, UserError
from stdo.package.limits import CHUNKS, GRAPH, WEIGHTS
from stdo.package.manifest import (
    Figures,
    Manifest,
    Member,
    Network,
    Patches,
    Psnr,
    Quantiser,
    Stream,
    from_json,
    to_json,
)
from stdo.package.source import Source, Times

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus" / "manifest"


def manifest(**changes) -> Manifest:
    """A clip of 3 frames, 70x50, at ×2, two chunks with a network each."""
    members = {
        name: Member(10 + i, f"{i}" * 64)
        for i, name in enumerate((GRAPH, WEIGHTS, CHUNKS, "lr.mp4"))
    }
    parts = {
        "generator": "stdo 0.1.0",
        "name": "Grüße ✓",
        "scale": 2,
        "source": Source.of(70, 50, 3, Fraction(30000, 1001), Colour("bt709", "limited")),
        "lr": Stream("lr.mp4", 35, 25, "x264", 20, "medium", 5),
        "grid": Patches(10, 12, 0),
        "network": Network("espcn", (("a.weight", (4, 3, 3, 3)), ("a.bias", (4,))), 2, (0, 1), 4),
        "quantiser": Quantiser(8),
        "quality": Figures(Psnr(33.25, 33.0, 35.125), None),
        "bicubic": None,
        "members": members,
    }
    return Manifest(**parts | changes)


def variable(**told) -> Source:
    """Three frames of that size that are not evenly spaced."""
    return Source.of(70, 50, 3, Fraction(25), Colour("rgb", "full"), TIMES, **told)


def sealed(fields: dict) -> bytes:
    """The JSON of a manifest that is out of range, with a digest that is right: the field's own
    check must refuse."""
    body = json.dumps(fields, separators=(",", ":")).encode()
    return json.dumps(
        fields | {"sha256": hashlib.sha256(body).hexdigest()}, separators=(",", ":")
    ).encode()


def fields_of(text: bytes) -> dict:
    fields = json.loads(text)
    del fields["sha256"]
    return fields


MARKED = Marks(
    Fraction(64, 45),
    Stereo("side_by_side"),
    Projection("equirectangular_part", (-(90 << 16), 5, 0), (1, 2, 3, 2**32 - 1), 4),
    Mastering((34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450), (50, 10_000_000)),
    (1000, 400),
)
TIMES = Times(Fraction(1, 1000), (0, 33, 90))
VARIABLE = variable()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"network": replace(manifest().network, residual="bicubic")},
        {"network": replace(manifest().network, network_of=(0, -1, 1))},
        {"network": replace(manifest().network, ranges=(((0.0, 1.0),), ((-0.5, 2.25),)))},
        {"source": VARIABLE},
        {"source": replace(VARIABLE, last=Fraction(5))},
        {"source": variable(marks=MARKED)},
        {"source": variable(marks=Marks(Fraction(8, 9), Stereo("rows", True)))},
        {"bicubic": Figures(Psnr(1.0, 2.0, 3.0), 0.5)},
    ],
)
def test_reads_back_as_written(changes: dict) -> None:
    assert from_json(to_json(manifest(**changes))) == manifest(**changes)
    assert sealed(fields_of(to_json(manifest(**changes)))) == to_json(manifest(**changes)), (
        "the digest as documented"
    )


def test_a_source_without_marks_has_no_field_for_them() -> None:
    """So that players of before read the package."""
    told = fields_of(to_json(manifest()))["source"]
    assert set(told) == {"width", "height", "frames", "rate", "times", "colour"}


def test_the_last_frame_is_shown_as_long_as_the_manifest_says() -> None:
    held = replace(VARIABLE, last=Fraction(5))
    assert [held.shown(t) for t in range(3)] == [Fraction(33, 1000), Fraction(57, 1000), 5]
    assert held.seconds == Fraction(90, 1000) + 5


@pytest.mark.parametrize("field", ["residual", "ranges"])
def test_a_package_from_before_a_field_reads_as_without(field: str) -> None:
    fields = fields_of(to_json(manifest()))
    del fields["network"][field]
    assert from_json(sealed(fields)) == manifest()


def test_more_ranges_than_any_package_has_are_refused_before_they_are_read() -> None:
    network = replace(
        manifest().network, params=tuple((f"{i}", (1, 1, 1, 1)) for i in range(66)), networks=2000
    )
    fields = fields_of(to_json(manifest(network=network)))
    fields["network"]["ranges"] = [[[0, 1]] * 66] * 2000
    with pytest.raises(UserError, match=r"network.ranges=132000: must be at most 131072"):
        from_json(sealed(fields))


def test_times_are_exact() -> None:
    assert manifest().source.pts(2) == Fraction(2 * 1001, 30000)
    assert VARIABLE.pts(2) == Fraction(90, 1000)
    assert VARIABLE.seconds == Fraction(90, 1000) + Fraction(1, 25)


BAD = {
    "version": [0, 2, "1", None, 1.5, [1]],
    "format": ["zip", None],
    "generator": ["", 3, "a\nb", "x" * 401],
    "name": [None, "\x00"],
    "scale": [0, 5, -2, 2.0, True, "2", [2]],
    "source.width": [0, -70, 16385, 70.0, 72, True, 10**30],
    "source.height": [0, -1, 52, None],
    "source.frames": [0, -3, 10**8, "3"],
    "source.rate": [0, [0, 1], [30, 0], [-30, 1], [30, 1, 1], [30.0, 1], [2**31, 1]],
    "source.times": [[], {"time_base": [1, 1000], "ticks": [0, 1]},
                     {"time_base": [1, 1000], "ticks": [0, 2, 2]},
                     {"time_base": [1, 1000], "ticks": [1, 2, 3]},
                     {"time_base": [0, 1], "ticks": [0, 1, 2]},
                     {"time_base": [1, 1000], "ticks": [0, 1, 2], "more": 1},
                     {"time_base": [1, 1000], "ticks": [0, 1, 2**62]},
                     {"time_base": [2**31 - 1, 1], "ticks": [0, 1, 2]}],
    "source.colour": [{}, {"matrix": "ycgco", "range": "full", "primaries": "a", "transfer": "b"}],
    "source.last": [0, [0, 1], [1, 0], [-1, 2], [5], 5.0, None, "5", [10**9, 1], [2**31, 1]],
    "source.aspect": [1, [0, 1], [1, 0], [101, 1], [1, 101], None, [1.5, 1]],
    "source.stereo": [None, "rows", {}, {"layout": "rows"}, {"layout": "quincunx", "first": "left"},
                      {"layout": "rows", "first": True},
                      {"layout": "rows", "first": "left", "more": 1}],
    "source.projection": [
        None, {},
        {"kind": "fisheye", "angles": [0, 0, 0], "bounds": [0, 0, 0, 0], "padding": 0},
        {"kind": "cubemap", "angles": [0, 0], "bounds": [0, 0, 0, 0], "padding": 0},
        {"kind": "cubemap", "angles": [0, 0, 2**31], "bounds": [0, 0, 0, 0], "padding": 0},
        {"kind": "cubemap", "angles": [0, 0, 0], "bounds": [0, 0, 0, -1], "padding": 0},
        {"kind": "cubemap", "angles": [0, 0, 0], "bounds": [0, 0, 0, 0], "padding": 2**32},
    ],
    "source.mastering": [None, {}, {"primaries": [0] * 7, "luminance": [0, 1]},
                         {"primaries": [0] * 7 + [50001], "luminance": [0, 1]},
                         {"primaries": [0] * 8, "luminance": [0, 2**31]}],
    "source.light": [None, [], [1], [1, 2, 3], [-1, 2], [1, 65536], ["1", 2]],
    "lr.member": ["../lr.mp4", "/lr.mp4", "lr.avi", "manifest.json", None],
    "lr.width": [34, 36, 0],
    "lr.codec": ["vp8", None, ["x264"]],
    "lr.crf": [-1, 64, "20"],
    "lr.preset": ["a b", 6, ""],
    "lr.audio_bytes": [-1, 10**15, 14],
    "grid.patch_h": [0, -1, 26],
    "grid.patch_w": [0, 36, 2**40],
    "grid.halo": [-1, 16384],
    "network.backbone": ["", "../espcn", 3],
    "network.residual": ["", "nearest", None, ["none"]],
    "network.ranges": [[], "text", [[[0, 1]]], [[[0, 1]]] * 3, [[[0, 1], [0, 1]]] * 2,
                       [[[0, 1]], [[1, 0]]],
                       [[[0, 1]], [[0]]], [[[0, 1]], [[0, True]]], [[[0, 1]], [[0, 1e7]]],
                       [[[0, 1]], [["0", 1]]], [[[0, 1]], [[0, float("nan")]]],
                       [[[0, 1]], [[-float("inf"), 1]]], [[[0, 1]], [None]], [[[0, 1]], None]],
    "network.params": [[], [["a", [0]]], [["a", [-4, 3]]], [["a", [4]], ["a", [4]]],
                       [["a/b", [4]]], [["a", 4]], "a", [["a", [2**20, 2**20]]], [["a", [1] * 6]]],
    "network.networks": [0, -1, 1, 4097, 2.0],
    "network.network_of": [[], [0, 2], [0, -2], [0] * 32768, "01", [True]],
    "network.reach": [-1, 2**40, 1.5, None],
    "quantiser.bits": [0, 5, -8, 64, "8", True],
    "quality": [[], {"psnr": {"frame": 101, "pooled": 1, "y": 1}, "ssim": 1},
                {"psnr": {"frame": 1}, "ssim": None}],
    "members": [[], {"../../etc/passwd": {"bytes": 1, "sha256": "0" * 64}}, {"manifest.json": {}}],
}  # fmt: skip


@pytest.mark.parametrize("key", BAD)
def test_every_field_refuses_what_is_out_of_range(key: str) -> None:
    for value in BAD[key]:
        fields = fields_of(to_json(manifest()))
        *path, last = key.split(".")
        node = fields
        for part in path:
            node = node[part]
        node[last] = value
        with pytest.raises(UserError, match=r"^manifest\.json: ") as said:
            from_json(sealed(fields))
        assert len(str(said.value)) < 400 and "\n" not in str(said.value)


@pytest.mark.parametrize(
    "key",
    ["version", "scale", "source", "lr", "grid", "network", "quantiser", "members", "quality"],
)
def test_a_missing_field_and_one_too_many_are_named(key: str) -> None:
    fields = fields_of(to_json(manifest()))
    del fields[key]
    with pytest.raises(UserError, match=key):
        from_json(sealed(fields))
    with pytest.raises(UserError, match="surprise: no such field"):
        from_json(sealed(fields_of(to_json(manifest())) | {"surprise": 1}))


def objects(node: dict, place: str = "") -> Iterator[tuple[str, dict]]:
    """The objects in a manifest, each with its place."""
    yield place, node
    for key, child in node.items():
        if isinstance(child, dict):
            yield from objects(child, f"{place}.{key}".lstrip("."))


def test_every_object_must_have_all_its_fields_and_no_others() -> None:
    text = to_json(
        manifest(source=variable(last=Fraction(5), marks=MARKED), bicubic=manifest().quality)
    )
    places = dict(objects(fields_of(text)))
    assert len(places) == 20
    optional = {
        ("source", name)
        for name in ("last", "aspect", "stereo", "projection", "mastering", "light")
    }
    optional |= {("network", "residual"), ("network", "ranges")}
    for place, known in places.items():
        for key in known.keys() - {"format", "version"}:
            fields = fields_of(text)
            del dict(objects(fields))[place][key]
            if (place, key) in optional:
                from_json(sealed(fields))
                continue
            with pytest.raises(
                UserError,
                match="is missing$" if place != "members" else "must be chunks.bin, graph",
            ):
                from_json(sealed(fields))
        fields = fields_of(text)
        dict(objects(fields))[place]["more"] = 1
        with pytest.raises(
            UserError,
            match="more: no such field$" if place != "members" else "'more': must be one of",
        ):
            from_json(sealed(fields))


@pytest.mark.parametrize("seed", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_manifests_of_before_are_written_again_byte_for_byte(seed: Path) -> None:
    text = sealed(json.loads(seed.read_text(encoding="utf-8")))
    assert to_json(from_json(text)) == text


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format":"stdo","version":1}',
     b'{"a":NaN}', b"1e999", b'{"format":"stdo","version":1,"scale":' + b"9" * 5000 + b"}",
     b" " * (2**24 + 1)],
)  # fmt: skip
def test_what_is_no_manifest_is_one_line(text: bytes) -> None:
    with pytest.raises(UserError, match=r"^manifest\.json: "):
        from_json(text)


def test_every_flipped_bit_is_found() -> None:
    text = to_json(manifest())
    for position in range(len(text) * 8):
        damaged = bytearray(text)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(UserError):
            from_json(bytes(damaged))


@pytest.mark.parametrize(
    "changes",
    [
        {"quantiser": Quantiser(7)},
        {"scale": 3},
        {"grid": Patches(0, 12, 0)},
        {"grid": Patches(1, 1, 4000)},
        {"source": replace(manifest().source, frames=2**24, width=69)},
        {"network": replace(manifest().network, networks=4096, params=(("a", (2**20,)),))},
        {"quality": Figures(Psnr(float("nan"), 1.0, 1.0), None)},
    ],
)
def test_the_writer_is_checked_as_well(changes: dict) -> None:
    with pytest.raises(UserError, match=r"manifest\.json: "):
        to_json(manifest(**changes))
