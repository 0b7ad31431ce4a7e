"""Manifests that say what cannot be, with every digest right, as viewers meet them: one line, exit
code 2, no file."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_package import make

from stdo.cli.play import main
from stdo.package.container import _info


def set_to(place: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(fields: dict[str, Any]) -> None:
        *parents, last = place.split("/")
        for part in parents:
            fields = fields[part]
        fields[last] = value

    return change


def in_parts(
    *parts: tuple[int, int, int], network_of: tuple[int, ...] | list[int] = (0, 1)
) -> Callable[[dict[str, Any]], None]:
    """Version 2, with the first frame, networks and chunks of each part."""

    def change(fields: dict[str, Any]) -> None:
        fields["version"], fields["network"]["network_of"] = 2, network_of
        fields["parts"] = [
            dict(zip(("first", "networks", "chunks"), p, strict=True)) for p in parts
        ]

    return change


BAD = {
    "a version to come": (set_to("version", 3), "this player reads versions 1 and 2"),
    "parts that are not there": (set_to("version", 2), "version=2: must be 2 where there"),
    "parts in the version before them": (
        set_to("parts", [{"first": 0, "networks": 1, "chunks": 1}] * 2),
        "version=1: must be 2 where there are parts",
    ),
    "one part": (in_parts((0, 2, 2)), "parts=[{'first': 0, "),
    "a part behind the end": (in_parts((0, 1, 1), (3, 1, 1)), "parts.first=[0, 3]: must be rising"),
    "parts that overlap": (in_parts((0, 1, 1), (0, 1, 1)), "parts.first=[0, 0]: must be rising"),
    "parts with other networks": (in_parts((0, 1, 1), (1, 2, 1)), "parts.networks=3: must be 2"),
    "parts with other chunks": (in_parts((0, 1, 2), (1, 1, 1)), "parts.chunks=3: must be 2"),
    "parts whose networks are swapped": (
        in_parts((0, 1, 1), (1, 1, 1), network_of=[1, 0]), "network_of=[1]: must be networks of",
    ),
    "a part of nothing": (in_parts((0, 1, 1), (1, 0, 1)), "parts[1].networks=0: must be"),
    "members that are not in parts": (in_parts((0, 1, 1), (1, 1, 1)), "weights.bin: damaged"),
    "no version": (lambda fields: fields.pop("version"), "version"),
    "an absurd width": (set_to("source/width", 10**9), "source.width=1000000000: must be"),
    "an absurd area": (lambda f: f["source"].update(width=16384, height=16384), "width·height"),
    "no frames": (set_to("source/frames", 0), "source.frames=0: must be"),
    "a negative count": (set_to("source/frames", -6), "source.frames=-6: must be"),
    "a count beyond all": (set_to("source/frames", 10**18), "source.frames="),
    "more frames than there are": (set_to("source/frames", 7), "it holds 3 frames"),
    "negative networks": (set_to("network/networks", -1), "network.networks=-1: must be"),
    "networks without end": (
        set_to("network/networks", 10**6), "network.networks=1000000: must be",
    ),
    "weights without end": (
        set_to("network/params", [["w", [2**20, 2**20]]]), "network.params=2199023255552: must be",
    ),
    "a halo without end": (set_to("grid/halo", 16_000), "grid.halo=16000: must be smaller"),
    "a patch of nothing": (set_to("grid/patch_h", 0), "grid.patch_h=0: must be"),
    "a chunk whose network is not there": (set_to("network/network_of", [0, 2]), "network_of"),
    "a network below none": (set_to("network/network_of", [0, -2]), "network_of"),
    "a path that climbs": (
        set_to("lr/member", "../../lr.mp4"), "lr.member='../../lr.mp4': must be one of",
    ),
    "an absolute path": (
        set_to("lr/member", "/etc/passwd"), "lr.member='/etc/passwd': must be one of",
    ),
    "a member of another path": (
        set_to("members/..~1lr.mp4", {"bytes": 1, "sha256": "0" * 64}), "must be one of",
    ),
    "a negative size": (set_to("members/lr.mp4/bytes", -1), "bytes=-1: must be"),
    "an absurd size": (set_to("members/lr.mp4/bytes", 2**60), "bytes=1152921504606846976: must be"),
    "time that runs back": (
        set_to("source/times", {"time_base": [1, 25], "ticks": [0, 2, 1]}),
        "times.ticks=(0, 2, 1): must be rising",
    ),
    "bits that are none": (set_to("quantiser/bits", 3), "quantiser.bits=3: must be one of"),
    "not a number": (
        set_to("quality", {"psnr": {"frame": float("nan"), "pooled": 1, "y": 1}, "ssim": 1}),
        "not JSON",
    ),
    "a field more": (set_to("run", "rm -rf /"), "no such field"),
}  # fmt: skip


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    with zipfile.ZipFile(make(tmp_path_factory.mktemp("made"), frames=3).path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("kind", BAD)
def test_a_manifest_that_cannot_be_is_one_line(
    kind: str, members: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, said = BAD[kind]
    fields = json.loads(members["manifest.json"])
    del fields["sha256"]
    change(fields)
    text = json.dumps(fields, separators=(",", ":")).replace("..~1lr", "../lr").encode()
    text = b'%b,"sha256":"%b"}' % (text[:-1], hashlib.sha256(text).hexdigest().encode())
    refused(text, said, members, tmp_path, capsys)


def test_a_key_that_is_there_twice_is_one_line(
    members: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = json.dumps(
        json.loads(members["manifest.json"]) | {"sha256": None}, separators=(",", ":")
    ).encode()
    text = text.replace(b'"scale":2', b'"scale":2,"scale":4').replace(b',"sha256":null', b"")
    assert text.count(b'"scale"') == 2
    text = b'%b,"sha256":"%b"}' % (text[:-1], hashlib.sha256(text).hexdigest().encode())
    refused(text, "'scale' is there twice", members, tmp_path, capsys)


def refused(
    text: bytes,
    said: str,
    members: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Play a package with this manifest; assert that it is one line and leaves nothing."""
    bad, out = tmp_path / "bad.stdo", tmp_path / "out"
    with zipfile.ZipFile(bad, "w") as archive:
        for name, content in (members | {"manifest.json": text}).items():
            archive.writestr(_info(name, len(content)), content)
    out.mkdir()
    with pytest.raises(SystemExit) as stopped:
        main([str(bad), str(out / "out.mp4"), "--threads", "1"])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"stdo: {bad}: ") and said in line and len(line) < 500 + len(str(bad))
    assert not list(out.iterdir())
