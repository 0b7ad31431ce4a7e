"""Prepared videos: the same frames as the source, nothing half-written, the disk checked first."""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stdo.core.types import UserError
from stdo.video import mapped
from stdo.video.codecs import LOSSY
from stdo.video.degrade import Degrade, downscale
from stdo.video.mapped import FrameStore
from stdo.video.sample import GeneratedClip
from stdo.video.store import prepare


class Counting(GeneratedClip):
    """A clip that counts how often it was decoded, and can fail on the way."""

    decoded = 0
    fail_at: int | None = None

    def __iter__(self):
        type(self).decoded += 1
        for t, frame in enumerate(super().__iter__()):
            if t == self.fail_at:
                raise OSError(28, "No space left on device")
            yield frame


@pytest.fixture
def clip() -> Counting:
    Counting.decoded = 0
    return Counting(width=70, height=50, frames=6, rate=25, seed=1)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_store_holds_the_sources_frames_padded_by_their_edge(
    clip: Counting, tmp_path: Path, scale: int
) -> None:
    video = prepare(clip, tmp_path, Degrade(scale))
    height, width = -(-50 // scale) * scale, -(-70 // scale) * scale
    assert video.hr.shape == (6, height, width, 3)
    assert video.pts == [Fraction(t, 25) for t in range(6)]
    for t, frame in enumerate(clip):
        padded = np.pad(frame.rgb_HWC, ((0, height - 50), (0, width - 70), (0, 0)), mode="edge")
        assert np.array_equal(video.hr[t], padded)
        assert np.array_equal(video.lr[t], downscale(padded, scale))


def test_a_video_is_decoded_once_for_all_scales(clip: Counting, tmp_path: Path) -> None:
    for scale in (2, 3, 4, 4):
        prepare(clip, tmp_path, Degrade(scale))
    assert Counting.decoded == 1


@pytest.mark.parametrize("height", [50, 48])
def test_frames_are_watched_while_they_are_made(tmp_path: Path, height: int) -> None:
    """Padded and unpadded; when HR is there already; not again when all is there, nor when LR comes
    out of a codec."""
    clip, seen = Counting(width=70, height=height, frames=6, rate=25, seed=1), []
    for scale in (2, 4, 2):
        prepare(clip, tmp_path, Degrade(scale), watch=lambda pairs: seen.append(list(pairs)))
    prepare(
        clip,
        tmp_path,
        Degrade(2, "lossless"),
        watch=lambda _: pytest.fail("these LR frames come too late"),
    )
    assert len(seen) == 2
    for scale, pairs in zip((2, 4), seen, strict=True):
        video = prepare(clip, tmp_path, Degrade(scale))
        for t, (lr, hr) in enumerate(pairs):
            assert np.array_equal(lr, video.lr[t])
            assert np.array_equal(hr, video.hr[t])
        assert len(pairs) == 6


def test_who_watches_and_fails_leaves_nothing_half_made(tmp_path: Path) -> None:
    clip = Counting(width=70, height=50, frames=40, rate=25, seed=1)

    def watch(pairs) -> None:
        next(iter(pairs))
        raise ValueError("cannot score this")

    with pytest.raises(ValueError, match="cannot score this"):
        prepare(clip, tmp_path, Degrade(2), watch=watch)
    assert [
        path.name for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"
    ] == []


@pytest.mark.parametrize("codec", LOSSY)
def test_with_a_codec_lr_is_what_the_viewer_decodes(
    clip: Counting, tmp_path: Path, codec: str
) -> None:
    clip = Counting(width=128, height=96, frames=6, rate=25, seed=1)
    clean = prepare(clip, tmp_path, Degrade(2))
    fine, coarse = (
        prepare(clip, tmp_path, Degrade(2, codec, 18)),
        prepare(clip, tmp_path, Degrade(2, codec, 50)),
    )
    errors = [
        np.mean([(video.lr[t].astype(float) - clean.lr[t]) ** 2 for t in range(6)])
        for video in (clean, fine, coarse)
    ]
    assert len(fine.lr) == 6
    assert 0 == errors[0] < errors[1] < errors[2]
    assert errors[1] < 255**2 / 10**2.6, "crf 18 stays above 26 dB, chroma subsampling included"
    assert list(clean.folder.glob("lr-*.mp4")), "the encoded LR video is kept"


def test_gather_reads_the_rectangles_it_is_asked_for(clip: Counting, tmp_path: Path) -> None:
    video = prepare(clip, tmp_path, Degrade(2))
    frames = np.stack([video.hr[t] for t in range(6)])
    rng = np.random.default_rng(0)
    t, top, left = rng.integers(0, 6, 20), rng.integers(0, 50 - 13, 20), rng.integers(0, 70 - 9, 20)
    got = video.hr.gather(t, top, left, 13, 9)
    for n in range(20):
        assert np.array_equal(got[n], frames[t[n], top[n] : top[n] + 13, left[n] : left[n] + 9])
    rows, cols = rng.integers(0, 50, (20, 4)), rng.integers(0, 70, (20, 3))
    pixels = video.hr.gather_pixels(t, rows, cols)
    assert np.array_equal(pixels[7], frames[t[7]][rows[7][:, None], cols[7]])


def test_reading_stays_right_when_the_map_is_handed_back(
    clip: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = prepare(clip, tmp_path, Degrade(2))
    before = [video.hr[t].copy() for t in range(6)]
    monkeypatch.setattr(mapped, "RESIDENT", 1)
    assert all(np.array_equal(video.hr[t], before[t]) for t in range(6))


def test_a_failure_on_the_way_leaves_nothing_that_counts(clip: Counting, tmp_path: Path) -> None:
    clip.fail_at = 3
    with pytest.raises(UserError, match="the disk is full"):
        prepare(clip, tmp_path, Degrade(2))
    assert [
        path.name for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"
    ] == []
    clip.fail_at = None
    assert len(prepare(clip, tmp_path, Degrade(2)).hr) == 6


@pytest.mark.parametrize("damage", ["short", "no json", "half json", "other version"])
def test_a_damaged_video_is_prepared_again(clip: Counting, tmp_path: Path, damage: str) -> None:
    folder = prepare(clip, tmp_path, Degrade(2)).folder
    meta = folder / "hr.json"
    if damage == "short":
        (folder / "hr.u8").write_bytes((folder / "hr.u8").read_bytes()[:-1])
    elif damage == "no json":
        meta.unlink()
    elif damage == "half json":
        meta.write_text(meta.read_text()[:20])
    else:
        meta.write_text(json.dumps(json.loads(meta.read_text()) | {"version": -1}))
    assert len(prepare(clip, tmp_path, Degrade(2)).hr) == 6
    assert Counting.decoded == 2


def test_the_disk_is_checked_before_decoding(
    clip: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=6 * 60 * 72 * 3 // 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="needs 0.1 MB, 0.0 MB are free"):
        prepare(clip, tmp_path, Degrade(2))
    assert Counting.decoded == 0


def test_a_cache_that_cannot_be_written(clip: Counting, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="paths.cache=.*cannot be written"):
        prepare(clip, tmp_path / "file", Degrade(2))


def test_memory_does_not_grow_with_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    psutil = pytest.importorskip("psutil")
    path = tmp_path / "frames.u8"
    with path.open("wb") as file:
        file.truncate(600 << 20)
    monkeypatch.setattr(mapped, "RESIDENT", 32 << 20)
    frames = FrameStore(path, (200, 1024, 1024, 3))
    rng, process = np.random.default_rng(0), psutil.Process()
    before, peak = process.memory_info().rss, 0
    for _ in range(100):
        t, top, left = (rng.integers(0, most, 16) for most in (200, 800, 800))
        frames.gather(t, top, left, 216, 192)
        peak = max(peak, process.memory_info().rss)
    assert peak - before < 128 << 20
