"""Prepared videos: decoded once, kept as raw frames on disk, read through a memory map.

A video's folder in the cache is named by its fingerprint and holds ``hr.u8`` (frames padded by edge
replication to a multiple of 12, so that ×2, ×3 and ×4 share it) and one ``lr-….u8`` per
degradation. Beside each lies a JSON file that is written last: without it the frames do not count.

What is missing is made in one pass: a thread makes RGB, one writes HR, one degrades and writes LR,
one is the caller's.
"""

import contextlib
import errno
import io
import json
import math
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from stdo.core.files import atomic, atomic_stream, disk_error, sweep_up
from stdo.core.locks import exclusive
from stdo.core.types import (
    U8,
    Frame,
    FrameSource,
    Json,
    Pairs,
    Progress,
    UserError,
    VideoInfo,
    silent,
)
from stdo.video.ahead import ahead
from stdo.video.cache import Use, keep_below
from stdo.video.mapped import FrameStore
from stdo.video.ticks import Timeline

VERSION = 1
MULTIPLE = math.lcm(2, 3, 4)
LOCK_SECONDS = 6 * 3600.0


class Degradation(Protocol):
    """What `prepare` needs of `stdo.video.degrade.Degrade`; this module does without torch."""

    @property
    def scale(self) -> int: ...  # noqa: D102

    @property
    def live(self) -> bool: ...  # noqa: D102

    def key(self) -> str: ...  # noqa: D102

    def frames(  # noqa: D102
        self, hr: Iterable[Frame], info: VideoInfo, timeline: Timeline | None, video: Path
    ) -> Iterator[U8]: ...


@dataclass(frozen=True)
class Prepared:
    """A video ready for chunking and training.

    Attributes:
        hr: Frames padded to a multiple of ``scale`` (T, scale·h, scale·w, 3).
        lr: (T, h, w, 3).
        height, width: Native HR size; pixels beyond it are padding.
        pts: seconds.
        last: Seconds that the last frame is shown.
        folder: Where what is derived from the video may be cached.
        use: Keeps the frames from being evicted.
    """

    info: VideoInfo
    scale: int
    hr: FrameStore
    lr: FrameStore
    height: int
    width: int
    pts: list[Fraction]
    folder: Path
    degrade_key: str
    last: Fraction
    use: Use

    @property
    def timeline(self) -> Timeline:
        """When its frames are shown."""
        return Timeline.of(self.pts, self.last)

    @property
    def lr_video(self) -> Path:
        """Where the encoded LR video is kept when there is a codec."""
        return _lr_video(self.folder, self.degrade_key)


def prepare(
    source: FrameSource,
    cache: Path,
    degrade: Degradation,
    progress: Progress = silent,
    watch: Callable[[Pairs], None] | None = None,
    limit: float | None = None,
) -> Prepared:
    """Decode and degrade a video, or find it prepared already.

    Args:
        watch: Is given the frames while they are made, where anything is missing and the
            degradation is live. It takes them all.
        limit: Largest size of the cache in GB; videos that were not used for long are removed.

    Checks the disk before decoding. Raises UserError for a full disk, an unwritable cache, or a bad
    video.
    """
    folder = cache / source.fingerprint()
    with locked(folder):
        try:
            stored = _load(folder / "hr")
            if not (stored and _load(_lr(folder, degrade))):
                need = _need(source.info, degrade.scale, with_hr=stored is None)
                keep_below(cache, limit, need or 0, folder)
                _make(source, folder, degrade, progress, watch)
        except OSError as error:
            raise disk_error(error, folder) from error
        use = Use(folder)
        meta, lr_meta = _load(folder / "hr"), _load(_lr(folder, degrade))
    assert meta and lr_meta and meta["shape"][0] == lr_meta["shape"][0], (folder, meta, lr_meta)
    height, width, scale, lr_shape = meta["height"], meta["width"], degrade.scale, lr_meta["shape"]
    hr = FrameStore(folder / "hr.u8", tuple(meta["shape"])).crop(
        lr_shape[1] * scale, lr_shape[2] * scale
    )
    lr = FrameStore(_lr(folder, degrade).with_suffix(".u8"), tuple(lr_shape))
    pts, last = _times(meta)
    last = last or 1 / source.info.rate
    return Prepared(
        source.info, scale, hr, lr, height, width, pts, folder, degrade.key(), last, use
    )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time prepares a video; the others wait for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / ".lock", "is being prepared", LOCK_SECONDS) as outermost:
            if outermost:
                sweep_up(folder)
            yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR):
            raise UserError(
                f"paths.cache={folder.parent}: cannot be written ({error.strerror})"
            ) from error
        raise disk_error(error, folder) from error


def cached_array(path: Path, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """A small array kept as ``.npy`` in a prepared video's folder; computed once, and again where
    it is damaged."""
    with locked(path.parent):
        with contextlib.suppress(FileNotFoundError, ValueError, EOFError), path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
        # Into a file, np.save hides why it could not write
        array, content = (compute(), io.BytesIO())
        np.save(content, array)
        with atomic(path) as partial:
            partial.write_bytes(content.getbuffer())
        return array


def _times(meta: Json) -> tuple[list[Fraction], Fraction | None]:
    """What the JSON of prepared frames says of their times; caches of before do not know how long
    the last is shown."""
    last = meta.get("last")
    return [Fraction(time) for time in meta["pts"]], None if last is None else Fraction(last)


def _load(stem: Path) -> Json | None:
    """The JSON beside a finished frame file, or None when it has to be made."""
    try:
        meta: Json = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    frames = stem.with_suffix(".u8")
    whole = frames.exists() and frames.stat().st_size == math.prod(meta["shape"])
    return meta if whole and meta["version"] == VERSION else None


def _padded(height: int, width: int, multiple: int) -> tuple[int, int]:
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def _need(info: VideoInfo, scale: int, with_hr: bool) -> int | None:
    """Bytes of a prepared video; None where its length is not known."""
    if info.frames is None:
        return None
    height, width = _padded(info.height, info.width, MULTIPLE)
    frame = 3 * height * width
    return info.frames * (frame * with_hr + frame // scale**2)


def _check_disk(folder: Path, info: VideoInfo, scale: int, with_hr: bool) -> None:
    need = _need(info, scale, with_hr)
    if need is None:
        return
    free = shutil.disk_usage(folder).free
    if need > free:
        raise UserError(
            f"paths.cache={folder.parent}: preparing {info.frames} frames of "
            f"{info.width}x{info.height} needs "
            f"{need / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free; set paths.cache, "
            "video.max_frames or video.height"
        )


def _lr_video(folder: Path, key: str) -> Path:
    return folder / f"lr-{key}.mp4"


def _lr(folder: Path, degrade: Degradation) -> Path:
    return folder / f"lr-{degrade.key()}"


def _make(
    source: FrameSource,
    folder: Path,
    degrade: Degradation,
    progress: Progress,
    watch: Callable[[Pairs], None] | None,
) -> None:
    """Make the LR frames, and the HR frames if they are missing.

    In one pass; but a codec has to know all times before the first frame, so that HR frames are all
    made before.
    """
    stored = _load(folder / "hr")
    _check_disk(folder, source.info, degrade.scale, with_hr=stored is None)
    if stored is None and not degrade.live:
        for _ in _decoded(source, folder, progress):
            pass
        stored = _load(folder / "hr")
    hr = _stored(folder, stored, progress) if stored else _decoded(source, folder, progress)
    pairs = _degraded(
        hr, source.info, Timeline.of(*_times(stored)) if stored else None, folder, degrade
    )
    if watch and degrade.live:
        with ahead(pairs) as made:
            watch(made)
    for _ in pairs:
        pass


def _degraded(
    hr: Iterator[Frame],
    info: VideoInfo,
    timeline: Timeline | None,
    folder: Path,
    degrade: Degradation,
) -> Iterator[tuple[U8, U8]]:
    """LR and HR frames while the LR frames are written; where degrading is not live, nothing."""
    waiting: deque[U8] = deque()
    height, width = _padded(info.height, info.width, degrade.scale)

    def cropped(frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            hr_HWC = frame.rgb_HWC[:height, :width]
            if degrade.live:
                waiting.append(hr_HWC)
            yield Frame(frame.pts, hr_HWC)

    with ahead(hr) as frames:
        video = _lr_video(folder, degrade.key())
        lr_THWC = degrade.frames(cropped(frames), info, timeline, video)
        for lr_HWC in _kept(_lr(folder, degrade), lr_THWC, dict):
            if waiting:
                yield lr_HWC, waiting.popleft()


def _decoded(source: FrameSource, folder: Path, progress: Progress) -> Iterator[Frame]:
    """The source's frames, padded, while they are written."""
    info = source.info
    height, width = _padded(info.height, info.width, MULTIPLE)
    padding = ((0, height - info.height), (0, width - info.width), (0, 0))
    pts: list[Fraction] = []
    last: list[Fraction | None] = [None]

    def padded(frames: Iterator[Frame]) -> Iterator[U8]:
        for frame in frames:
            pts.append(frame.pts)
            last[0] = frame.length
            yield (
                np.pad(frame.rgb_HWC, padding, mode="edge")
                if any(map(any, padding))
                else frame.rgb_HWC
            )

    def meta() -> Json:
        shown = None if last[0] is None else str(last[0])
        return {
            "height": info.height,
            "width": info.width,
            "pts": list(map(str, pts)),
            "last": shown,
        }

    with ahead(progress(source, info.frames, "decode")) as frames:
        for hr_HWC in _kept(folder / "hr", padded(frames), meta):
            yield Frame(pts[-1], hr_HWC)


def _stored(folder: Path, meta: Json, progress: Progress) -> Iterator[Frame]:
    """The frames that an earlier pass wrote."""
    hr = FrameStore(folder / "hr.u8", tuple(meta["shape"]))
    for t in progress(range(len(hr)), len(hr), "degrade"):
        yield Frame(Fraction(meta["pts"][t]), hr[t])


def _kept(stem: Path, frames: Iterable[U8], meta: Callable[[], Json]) -> Iterator[U8]:
    """The same frames while they are written; then their JSON. Both under a temporary name
    first."""
    shape: tuple[int, ...] = ()
    count = 0
    with atomic_stream(stem.with_suffix(".u8")) as append:
        for frame_HWC in frames:
            shape = frame_HWC.shape
            append(frame_HWC)
            count += 1
            yield frame_HWC
    with atomic(stem.with_suffix(".json")) as partial:
        partial.write_text(
            json.dumps(meta() | {"version": VERSION, "shape": [count, *shape]}), encoding="utf-8"
        )
