"""A disk that is full, read-only or emptied under a run: one line, and with room again the same
command goes on."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import TINY, left_over, results, run, write_clip

pytestmark = pytest.mark.slow

WORDS = [*TINY, "budget.passes=8"]
SIZE = 6_000_000
ROOM = (0, 200_000, 1_300_000, 3_600_000, 4_400_000, 5_000_000, SIZE)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of `SIZE` bytes."""
    where = tmp_path / "disk"
    where.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", where],
        capture_output=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip("may not mount a small file system here")
    yield where
    subprocess.run(["umount", "-l", where], check=True)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mkv")


@pytest.fixture(scope="module")
def expected(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("straight")
    done = run([*WORDS, f"video.path={clip}"], folder / "work")
    assert done.process.returncode == 0, done.text
    return results(folder / "work" / "outputs")


def fill(disk: Path, room: int) -> Path:
    """Leave so many bytes for all that a run has written and will write."""
    ballast, usage = disk / "ballast", shutil.disk_usage(disk)
    ballast.write_bytes(bytes(max(0, usage.free - max(0, room - usage.used))))
    return ballast


def test_wherever_the_disk_fills_the_same_command_goes_on_with_more_room(
    disk: Path, clip: Path, tmp_path: Path, expected: dict
) -> None:
    """Cache and run directory on one small disk, with ever more room for what a run writes."""
    said: list[str] = []
    words = [
        *WORDS,
        f"video.path={clip}",
        f"paths.cache={disk}/work/cache",
        f"paths.outputs={disk}/work/outputs",
    ]
    for room in ROOM:
        ballast = fill(disk, room)
        done = run(words, tmp_path / "here")
        ballast.unlink()
        assert left_over(disk) == [], done.text
        if done.process.returncode == 0:
            said.append("finished")
            break
        assert done.process.returncode == 2, done.text
        (line,) = done.last_lines()
        assert line.startswith("stdo: "), done.text
        assert "disk is full" in line or "are free; set paths.cache" in line, line
        assert "Traceback" not in done.text
        said.append(f"{done.phase}: {'full' if 'disk is full' in line else 'not begun'}")
    print(said)  # noqa: T201 - shown by -rP
    assert said[-1] == "finished"
    assert results(disk / "work" / "outputs") == expected
    assert len(set(said)) >= 5, said


@pytest.mark.parametrize("what", ["paths.cache", "paths.outputs"])
def test_a_read_only_disk_is_one_line(disk: Path, clip: Path, tmp_path: Path, what: str) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    done = run([*WORDS, f"video.path={clip}", f"{what}={disk}/folder"], tmp_path / "work")
    assert done.process.returncode == 2
    (line,) = done.last_lines()
    assert line.startswith("stdo: ") and f"{what}" in line and "Read-only file system" in line
    assert "train:" not in done.text


def test_a_cache_that_is_gone_damaged_or_of_another_version_is_made_again(
    clip: Path, tmp_path: Path, expected: dict
) -> None:
    words, work = [*WORDS, f"video.path={clip}"], tmp_path / "work"
    assert run(words, work).process.returncode == 0
    outputs, cache = work / "outputs", work / "cache"
    (folder,) = (path for path in cache.iterdir() if path.is_dir())

    def older() -> None:
        for path in folder.glob("*.json"):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 0}))

    def shorter() -> None:
        for path in folder.glob("*.u8"):
            os.truncate(path, path.stat().st_size // 2)

    def garbled() -> None:
        for path in folder.glob("*.json"):
            path.write_bytes(path.read_bytes()[:-5])

    for harm in (lambda: shutil.rmtree(cache), older, shorter, garbled):
        harm()
        shutil.rmtree(outputs)
        again = run(words, work)
        assert again.process.returncode == 0, again.text
        assert "decode: 100%" in again.text
        assert results(outputs) == expected


def test_a_video_that_has_changed_is_prepared_anew(
    clip: Path, tmp_path: Path, expected: dict
) -> None:
    """Same name, size and time, other content."""
    video, work = tmp_path / "clip.mkv", tmp_path / "work"
    shutil.copy(clip, video)
    words = [*WORDS, f"video.path={video}"]
    assert run(words, work).process.returncode == 0
    before = video.stat()
    video.unlink()
    write_clip(video, seed=1)
    with video.open("ab") as file:
        file.truncate(max(before.st_size, video.stat().st_size))
    os.utime(video, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = run(words, work)
    assert again.process.returncode == 0, again.text
    assert "decode: 100%" in again.text
    both = results(work / "outputs")
    assert len(both) == 2
    assert all(both[name] == result for name, result in expected.items())
