"""Files that may be a stranger's: only regular ones, below their folder, of bounded size."""

import os
import socket
from pathlib import Path

import pytest

from stdo.core.foreign import open_below, open_file, parse_json, read_below, read_file
from stdo.core.types import UserError

MOST = 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file, and beside it a secret."""
    (tmp_path / "run" / "crops").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "run" / "a.json").write_bytes(b"{}")
    (tmp_path / "run" / "crops" / "b.png").write_bytes(b"png")
    return tmp_path / "run"


def test_what_lies_in_the_folder_is_read(folder: Path) -> None:
    assert read_below(folder, "a.json", MOST) == b"{}"
    assert read_below(folder, "crops/b.png", MOST) == b"png"
    with open_below(folder, "a.json", 2) as file:
        assert file.read() == b"{}"


def test_the_folder_itself_may_be_a_link(folder: Path) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert read_below(link, "crops/b.png", MOST) == b"png"


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "crops/../../secret", "crops/../a.json", "", "a\0b", ".."]
)
def test_what_lies_elsewhere_is_refused(name: str, folder: Path) -> None:
    with pytest.raises(UserError, match=r"must lie in") as caught:
        read_below(folder, name, MOST)
    assert "\n" not in str(caught.value) and "\0" not in str(caught.value)


def test_what_is_no_regular_file_is_refused_at_once(folder: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "into").symlink_to(folder / "crops")
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)  # a socket's name is short
        server.bind("socket")
        os.chdir(here)
        for name in ("link", "linked/secret", "into/b.png", "fifo", "crops", "socket", "fifo/x"):
            with pytest.raises(UserError) as caught:
                read_below(folder, name, MOST)
            assert str(caught.value).startswith(f"{folder / name}: is ")


def test_what_is_not_there_is_said_as_such(folder: Path) -> None:
    for name in ("nothing", "crops/nothing", "nothing/at/all"):
        with pytest.raises(FileNotFoundError):
            read_below(folder, name, MOST)
    with pytest.raises(FileNotFoundError):
        read_file(folder / "nothing", MOST)


def test_sizes_are_bounded(folder: Path) -> None:
    (folder / "large").write_bytes(bytes(MOST + 1))
    with pytest.raises(UserError, match="has 101 bytes: must be at most 100"):
        read_below(folder, "large", MOST)
    with pytest.raises(UserError, match="has more than 10 bytes"):  # its size says 0
        read_file(Path("/proc/self/status"), 10)


def test_a_device_is_refused_where_the_user_names_it(folder: Path) -> None:
    for path in (Path("/dev/zero"), Path("/dev/null"), folder):
        with pytest.raises(UserError, match="is not a regular file"):
            open_file(path, MOST)


def test_a_link_that_the_user_names_is_followed(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "a.json")
    assert read_file(folder / "link", MOST) == b"{}"


def test_no_descriptor_is_left_open(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("fifo", "a.json/x", "crops", "nothing", "../secret"):
        with pytest.raises((UserError, FileNotFoundError)):
            read_below(folder, name, MOST)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_json_is_read_in_one_way_alone() -> None:
    assert parse_json('{"a": [1, "é", null]}'.encode(), "x.json") == {"a": [1, "é", None]}
    bad = [
        b'{"a": 1, "a": 2}',
        b"[" * 100_000,
        b"{",
        b"\xff",
        b"NaN",
        b'{"a": Infinity}',
        b"1" * 5000,
        b"",
    ]
    for text in bad:
        with pytest.raises(UserError, match=r"^x\.json: damaged \(it is not JSON\)") as caught:
            parse_json(text, "x.json")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="'a' is there twice"):
        parse_json(bad[0], "x.json")
    assert parse_json(b'{"a": Infinity}', "x.json", constants=True) == {"a": float("inf")}
