"""The container: what goes in comes out, and nothing that was touched is opened."""

import io
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from stdo.core.types import Colour, UserError
from stdo.package.container import Package, _write_zip, write_package
from stdo.package.limits import CHUNKS, GRAPH, MANIFEST, WEIGHTS
from stdo.package.manifest import Manifest, Network, Patches, Quantiser, Stream, from_json
from stdo.package.source import Source

STREAM = "lr.mp4"
MANIFEST_ = Manifest(
    "stdo 0.1.0", "clip", 2, Source.of(70, 50, 3, Fraction(25), Colour("bt709", "limited")),
    Stream(STREAM, 35, 25, "x264", None, None, 100), Patches(10, 12, 0),
    Network("espcn", (("a", (4,)),), 1, (0,), 4), Quantiser(8), None, None, {},
)  # fmt: skip
ORDER = [MANIFEST, GRAPH, WEIGHTS, CHUNKS, STREAM]


def contents(seed: int = 0) -> dict[str, bytes]:
    rng = np.random.default_rng(seed)
    sizes = {GRAPH: 300, WEIGHTS: 200, CHUNKS: 0 if seed else 50, STREAM: 700}
    return {name: rng.bytes(size) for name, size in sizes.items()}


@pytest.fixture(params=[False, True], ids=["zip", "folder"])
def package(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write_package(tmp_path / "movie.stdo", MANIFEST_, contents(), unpacked=request.param)
    return tmp_path / "movie.stdo"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    write_package(tmp_path / "movie.stdo", MANIFEST_, contents())
    return tmp_path / "movie.stdo"


def read_all(path: Path) -> dict[str, bytes]:
    package = Package.open(path)
    whole = {name: package.read(name) for name in package.manifest.names[1:]}
    with package.file(STREAM) as file:
        assert file.read() == whole[STREAM]
    return whole


def test_what_goes_in_comes_out(package: Path) -> None:
    assert read_all(package) == contents()
    assert replace(Package.open(package).manifest, members={}) == MANIFEST_


def test_other_tools_read_it(packed: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        assert archive.testzip() is None
        assert [info.filename for info in archive.infolist()] == ORDER
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {name: archive.read(name) for name in ORDER[1:]} == contents()
        assert from_json(archive.read(MANIFEST)) == Package.open(packed).manifest


def test_the_same_content_gives_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    write_package(tmp_path / "again.stdo", MANIFEST_, contents())
    assert (tmp_path / "again.stdo").read_bytes() == packed.read_bytes()


def test_sizes_add_up_to_the_file(package: Path) -> None:
    sizes = Package.open(package).sizes()
    files = [package] if package.is_file() else list(package.iterdir())
    assert (
        sizes["total"]
        == sum(file.stat().st_size for file in files)
        == sum(sizes.values()) - sizes["total"]
    )
    assert {key: sizes[key] for key in ("lr", "audio", "models", "chunks", "graph")} == {
        "lr": 600, "audio": 100, "models": 200, "chunks": 50, "graph": 300,
    }  # fmt: skip


def test_a_member_is_a_seekable_file(package: Path) -> None:
    whole = contents()[STREAM]
    with Package.open(package).file(STREAM) as file:
        assert file.seek(0, io.SEEK_END) == len(whole)
        assert file.read() == b""
        for start, count in ((650, 999), (0, 10), (299, 1), (5000, 5)):
            file.seek(start)
            assert file.read(count) == whole[start : start + count]
        with pytest.raises(OSError, match="before the beginning"):
            file.seek(-1)


def test_writing_again_replaces(package: Path) -> None:
    write_package(package, MANIFEST_, contents(1), unpacked=package.is_dir())
    assert read_all(package) == contents(1)
    assert [path.name for path in package.parent.iterdir()] == ["movie.stdo"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("keep")
    with pytest.raises(UserError, match="exists and is not an unpacked package"):
        write_package(tmp_path / "precious", MANIFEST_, contents(), unpacked=True)
    with pytest.raises(UserError, match="precious: "):
        write_package(tmp_path / "precious", MANIFEST_, contents())
    assert (tmp_path / "precious" / "file").read_text() == "keep"
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_failure_leaves_the_old_package(package: Path) -> None:
    with pytest.raises(UserError, match="quantiser.bits"):
        write_package(
            package,
            replace(MANIFEST_, quantiser=Quantiser(5)),
            contents(1),
            unpacked=package.is_dir(),
        )
    with pytest.raises(UserError, match="movie.stdo: "):
        write_package(
            package,
            MANIFEST_,
            contents(1) | {STREAM: package / "nothing"},
            unpacked=package.is_dir(),
        )
    assert read_all(package) == contents()


def refused(path: Path) -> str:
    with pytest.raises(UserError) as said:
        read_all(path)
    line = str(said.value)
    assert line.startswith(f"{path}: ") and "\n" not in line and len(line) < 400 + len(str(path))
    return line


def test_every_flipped_bit_of_the_file_is_found(packed: Path, tmp_path: Path) -> None:
    whole = packed.read_bytes()
    found = tmp_path / "flipped.stdo"
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        found.write_bytes(damaged)
        refused(found)


def test_every_truncation_is_found(packed: Path, tmp_path: Path) -> None:
    whole = packed.read_bytes()
    for length in {*range(0, len(whole), 37), len(whole) - 1, 21, 22}:
        (tmp_path / "short.stdo").write_bytes(whole[:length])
        refused(tmp_path / "short.stdo")
    (tmp_path / "short.stdo").write_bytes(whole + b"\0")
    refused(tmp_path / "short.stdo")


@pytest.mark.parametrize("name", ORDER)
@pytest.mark.parametrize(
    "harm", ["missing", "truncated", "longer", "flipped", "of another package", "a folder"]
)
def test_every_harm_to_every_member_is_found(name: str, harm: str, tmp_path: Path) -> None:
    path, other = tmp_path / "movie.stdo", tmp_path / "other.stdo"
    write_package(path, MANIFEST_, contents(), unpacked=True)
    write_package(other, MANIFEST_, contents(2), unpacked=True)
    file = path / name
    content = file.read_bytes()
    changed = {
        "truncated": content[:-1], "longer": content + b"\0",
        "flipped": bytes([content[0] ^ 1]) + content[1:],
        "of another package": (other / name).read_bytes(),
    }  # fmt: skip
    file.unlink()
    if harm == "a folder":
        file.mkdir()
    elif harm != "missing":
        file.write_bytes(changed[harm])
    line = refused(path)
    assert (
        harm == "missing"
        or name in line
        or MANIFEST in line
        or harm == "a folder"
        or name == MANIFEST
    )


def rezipped(
    path: Path,
    change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]],
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """The same package, put together by a tool that knows no rules."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in ORDER]
    found = path.with_name("rezipped.stdo")
    with zipfile.ZipFile(found, "w", compression) as archive:
        for name, content in change(members):
            archive.writestr(
                zipfile.ZipInfo(name) if name.endswith("/") else name, content, compression
            )
    return found


CHANGES = {
    "a name that climbs": lambda members: [*members[:4], ("../lr.mp4", members[4][1])],
    "an absolute name": lambda members: [*members[:4], ("/tmp/lr.mp4", members[4][1])],
    "a backslash": lambda members: [*members[:4], ("..\\lr.mp4", members[4][1])],
    "one more": lambda members: [*members, ("run.sh", b"rm")],
    "one twice": lambda members: [*members, members[1]],
    "one less": lambda members: members[:4],
    "another order": lambda members: members[::-1],
    "a folder": lambda members: [*members[:4], ("lr.mp4/", b"")],
    "nothing": lambda members: [],
    "its own dates": lambda members: members,
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("change", CHANGES)
def test_a_zip_of_other_making_is_refused(change: str, packed: Path) -> None:
    refused(rezipped(packed, CHANGES[change]))


def test_a_bomb_does_not_go_off(packed: Path) -> None:
    """1 GiB of zeros in a megabyte of ZIP; stored members that claim to be what they are not."""
    bomb = packed.with_name("bomb.stdo")
    with (
        zipfile.ZipFile(packed) as archive,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out,
    ):
        for name in ORDER[:2]:
            out.writestr(name, archive.read(name))
        with out.open(WEIGHTS, "w") as file:
            for _ in range(64):
                file.write(bytes(1 << 20))
        for name in ORDER[3:]:
            out.writestr(name, archive.read(name))
    tracemalloc.start()
    try:
        refused(bomb)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="needs sparse files")
@pytest.mark.parametrize("claim", ["directory", "member"])
def test_absurd_sizes_cost_no_memory(claim: str, packed: Path) -> None:
    """Directory and member sizes of gigabytes, in a sparse file that has them."""
    whole = packed.read_bytes()
    huge = packed.with_name("huge.stdo")
    with huge.open("wb") as file:
        if claim == "directory":
            file.truncate(3 << 30)
            file.seek(0, io.SEEK_END)
            file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 5, 5, 3 << 30, 0, 0))
        else:
            file.write(whole[:14] + struct.pack("<LLL", 0, 2**31 - 1, 2**31 - 1) + whole[26:])
    tracemalloc.start()
    try:
        refused(huge)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "kind", ["an MP4", "empty", "text", "missing", "an empty folder", "a device", "an empty ZIP"]
)
def test_what_is_no_package_is_one_line(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "movie.stdo"
    content = {
        "an MP4": b"\0\0\0\x20ftypisom" + bytes(1000), "empty": b"", "text": b"hello",
        "an empty ZIP": b"PK\5\6" + bytes(18),
    }  # fmt: skip
    if kind in content:
        path.write_bytes(content[kind])
    elif kind == "an empty folder":
        path.mkdir()
    refused(Path("/dev/null") if kind == "a device" else path)


def test_a_package_too_large_for_a_zip_says_what_to_do(tmp_path: Path) -> None:
    with (tmp_path / "lr").open("wb") as file:
        file.truncate((1 << 31) + 1)
    with pytest.raises(UserError, match="unpacked=true"):
        _write_zip(tmp_path / "movie.stdo", contents() | {STREAM: tmp_path / "lr"})
    assert [path.name for path in tmp_path.iterdir()] == ["lr"]
