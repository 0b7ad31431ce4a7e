"""What cannot be written is said before anything is played, in one line, and nothing is left
behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_package import make

from stdo.core.types import UserError
from stdo.package.container import Package
from stdo.player.target import check_target

BAD = {
    "folder.mp4": "is a folder",
    "/proc/out.mp4": "cannot be written",
    "/dev/full": "is not a regular file",
    "fifo.mp4": "is not a regular file",
    "dangling.mp4": "is a symbolic link that leads nowhere",
    "none/out.mp4": "there is no folder none",
    "file/out.mp4": "there is no folder file",
    "out.m3u8": "its ending means several files (hls); use .mp4 or .mkv",
    "out.mpd": "its ending means several files",
    "out.png": "its ending means several files",
    "out.webm": "is no video that can be written; use .mp4 or .mkv",
    "out.gif": "is no video that can be written",
    "out.yuv": "its ending means a file without times",
    "out.h264": "its ending means a file without times",
    "out.ffmeta": "its ending means a file without times",
    "out": "is no video that can be written",
    "x" * 252 + ".mp4": "a name of 256 bytes: must be at most 255",
    b"out\xff.mp4": "its name is no UTF-8",
    "some.stdo": "is the package itself",
    "link.mp4": "is the package itself",
    "u.stdo": "is a folder",
}
GOOD = ["out.mp4", "out.mkv", "out.mov", "out.nut", "old.mp4", "with space.mp4", "名.mp4"]
INSIDE = ["u.stdo/lr.mp4", "u.stdo/new.mp4", "linked/new.mp4"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("folder.mp4").mkdir()
    os.mkfifo("fifo.mp4")
    Path("dangling.mp4").symlink_to("nowhere")
    Path("file").write_text("a file", encoding="utf-8")
    Path("old.mp4").write_text("what was there before", encoding="utf-8")
    Path("some.stdo").write_text("a package", encoding="utf-8")
    Path("u.stdo").mkdir()
    Path("u.stdo/lr.mp4").write_text("a member", encoding="utf-8")
    Path("link.mp4").symlink_to("some.stdo")
    Path("linked").symlink_to("u.stdo")
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.mark.parametrize("name", BAD)
def test_a_target_that_cannot_be_written(name: str | bytes, folder: Path) -> None:
    before = files(folder)
    with pytest.raises(UserError) as caught:
        check_target(Path(os.fsdecode(name)), Path("some.stdo"))
    assert BAD[name] in str(caught.value) and "\n" not in str(caught.value)
    assert "partial" not in str(caught.value) and "trial" not in str(caught.value), (
        "a name that nobody typed"
    )
    assert files(folder) == before


@pytest.mark.parametrize("name", GOOD)
def test_a_target_that_can_be_written(name: str, folder: Path) -> None:
    before = files(folder)
    check_target(Path(name), Path("some.stdo"))
    assert files(folder) == before


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("pictures", [False, True])
def test_an_unpacked_package_is_never_written_to(name: str, pictures: bool, folder: Path) -> None:
    before = files(folder)
    with pytest.raises(UserError, match="lies in the package"):
        check_target(Path(name), Path("u.stdo"), pictures)
    assert files(folder) == before


@pytest.mark.parametrize(
    "name", ["u.stdo", "old.mp4", "fifo.mp4", "dangling.mp4", "/proc/out", "none/out"]
)
def test_pictures_go_into_a_new_or_empty_folder(name: str, folder: Path) -> None:
    check_target(Path("folder.mp4"), Path("some.stdo"), pictures=True)
    check_target(Path("new"), Path("some.stdo"), pictures=True)
    before = files(folder)
    with pytest.raises(UserError):
        check_target(Path(name), Path("some.stdo"), pictures=True)
    assert files(folder) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="changes its user")
def test_as_a_user_who_may_not_write_there(folder: Path) -> None:
    Path("ro").mkdir(mode=0o555)
    Path("locked.mp4").write_text("kept", encoding="utf-8")
    Path("locked.mp4").chmod(0o444)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom stdo.player.target import check_target\n"
        "from stdo.core.types import UserError\nos.setuid(65534)\n"
        "for name in ('ro/out.mp4', 'locked.mp4'):\n"
        "    try: check_target(Path(name), Path('some.stdo'))\n"
        "    except UserError as error: print(error)"
    )
    for each in (folder, *folder.parents[:3]):
        each.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert "ro/out.mp4: cannot be written (Permission denied)" in done.stdout
    assert "locked.mp4: is there already, and may not be written" in done.stdout


def test_the_command_says_so_at_once(tmp_path: Path) -> None:
    """Before it opens the package, which is none here."""
    (tmp_path / "no.stdo").write_text("no package")
    for name in ("folder.mp4", "/proc/out.mp4", "out.m3u8", os.fsdecode(b"out\xff.mp4")):
        (tmp_path / "folder.mp4").mkdir(exist_ok=True)
        began = time.monotonic()
        command = [sys.executable, "-m", "stdo.play", "no.stdo", name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
        assert (
            done.returncode == 2
            and done.stderr.startswith(b"stdo: ")
            and done.stderr.count(b"\n") == 1
        ), done.stderr
        assert b"no.stdo" not in done.stderr and time.monotonic() - began < 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.mp4", "no.stdo"]


def test_a_package_that_is_changed_while_it_plays_is_refused(tmp_path: Path) -> None:
    """Whoever can write to the file does so after the digest of the LR stream was compared."""
    package = Package.open(make(tmp_path, frames=4).path)
    member = package.manifest.lr.member
    good = package.file(member).read()
    whole = package.path.read_bytes()
    at = whole.index(good) + len(good) // 2
    with package.path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([whole[at] ^ 1]))
    with pytest.raises(OSError, match="was changed while it was read"):
        package.file(member).read()
    with package.path.open("r+b") as file:
        file.truncate(at)
    with pytest.raises(OSError, match="became shorter"):
        package.file(member).read()


def test_a_package_that_is_replaced_while_it_plays_goes_on(tmp_path: Path) -> None:
    package = Package.open(make(tmp_path, frames=4).path)
    member = package.manifest.lr.member
    good = package.file(member).read()
    package.path.unlink()
    package.path.write_bytes(b"another file")
    assert package.file(member).read() == good, "files are opened once"
