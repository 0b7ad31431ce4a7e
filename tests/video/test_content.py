"""A video that changed is never taken for the one before, whatever its name, size and date say."""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image
from video_clips import encode, flat

from stdo.core.types import UserError
from stdo.video.degrade import Degrade
from stdo.video.images import ImageFolder
from stdo.video.joined import Joined
from stdo.video.reader import VideoFile
from stdo.video.store import prepare

RAW = {"codec": "rawvideo"}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Uncompressed, so that other pictures make a file of the same size."""
    return encode(tmp_path / "clip.avi", flat([50, 60, 70]), **RAW)


def replace(path: Path, levels: list[int]) -> None:
    """Other content of the same name, size and date."""
    before = path.stat()
    encode(path, flat(levels), **RAW)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_a_video_that_changed_is_prepared_anew(clip: Path, tmp_path: Path) -> None:
    before = prepare(VideoFile(clip), tmp_path / "cache", Degrade(2))
    replace(clip, [100, 110, 120])
    after = prepare(VideoFile(clip), tmp_path / "cache", Degrade(2))
    assert before.folder != after.folder
    assert [int(after.hr[t].mean() > before.hr[t].mean()) for t in range(3)] == [1, 1, 1]
    replace(clip, [50, 60, 70])
    assert prepare(VideoFile(clip), tmp_path / "cache", Degrade(2)).folder == before.folder


@pytest.mark.parametrize("when", ["before the first frame", "between two frames"])
def test_a_video_that_changes_while_it_is_prepared(clip: Path, tmp_path: Path, when: str) -> None:
    class Changing(VideoFile):
        def __iter__(self):
            if when == "before the first frame":
                replace(clip, [100, 110, 120])
            for frame in super().__iter__():
                yield frame
                replace(clip, [100, 110, 120])

    with pytest.raises(UserError, match=f"video.path={clip}: changed while it was in use"):
        prepare(Changing(clip), tmp_path / "cache", Degrade(2))
    assert {file.name for file in (tmp_path / "cache").rglob("*") if file.is_file()} == {".lock"}


def test_a_video_that_changes_between_two_uses(clip: Path) -> None:
    video, both = VideoFile(clip), Joined([clip, clip])
    first = video.fingerprint(), both.fingerprint()
    os.utime(clip)  # another date alone is no change
    assert (video.fingerprint(), both.fingerprint()) == first
    assert len(list(video)) == 3
    replace(clip, [100, 110, 120])
    for source in (video, both):
        for use in (source.fingerprint, lambda source=source: list(source)):
            with pytest.raises(UserError, match="changed while it was in use"):
                use()
    clip.unlink()
    with pytest.raises(UserError, match="can no longer be read"):
        video.fingerprint()


def test_a_picture_that_changes(tmp_path: Path) -> None:
    for name in "12":
        Image.fromarray(np.full((24, 32, 3), int(name), np.uint8)).save(tmp_path / f"{name}.bmp")
    video = ImageFolder(tmp_path)
    first = video.fingerprint()
    assert len(list(video)) == 2
    Image.fromarray(np.full((24, 32, 3), 9, np.uint8)).save(tmp_path / "2.bmp")
    with pytest.raises(UserError, match=f"{tmp_path}: changed while it was in use"):
        list(video)
    assert ImageFolder(tmp_path).fingerprint() != first


def test_nothing_is_fetched(tmp_path: Path) -> None:
    """A video at a URL, or a file that names one, makes no connection."""
    asked = []

    class Recorder(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with HTTPServer(("127.0.0.1", 0), Recorder) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/part.ts"
        lists = {
            "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
            "a.ffconcat": f"ffconcat version 1.0\nfile '{url}'\n",
            "a.mpd": (
                '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period>'
                f"<BaseURL>{url}</BaseURL></Period></MPD>"
            ),
        }
        for name, text in lists.items():
            (tmp_path / name).write_text(text)
        for path in (url, *(tmp_path / name for name in lists)):
            with pytest.raises(UserError):
                list(VideoFile(path))
        server.shutdown()
    assert asked == []
