"""Prepared videos: decoded once, kept as raw frames on disk, read through a memory map.

A video's folder in the cache is named by its fingerprint and holds ``hr.u8`` (frames padded by edge replication to a
multiple of 12, so that ×2, ×3 and ×4 share it) and one ``lr-….u8`` per degradation. Beside each lies a JSON file
that is written last: without it the frames do not count.
"""

import contextlib
import json
import math
import mmap
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from stdo.files import atomic, disk_error, sweep_up
from stdo.locks import exclusive
from stdo.types import I64, U8, Colour, FrameSource, Json, Progress, UserError, VideoInfo, silent

VERSION = 1
MULTIPLE = math.lcm(2, 3, 4)
RESIDENT = 256 << 20
"""Bytes of the memory map that may stay in this process before they are handed back to the page cache."""
LOCK_SECONDS = 6 * 3600.0


class Degradation(Protocol):
    """What `prepare` needs of `stdo.video.degrade.Degrade`; this module does without torch."""

    scale: int

    def key(self) -> str: ...  # noqa: D102

    def frames(  # noqa: D102
        self, hr_THWC: Iterable[U8], pts: list[Fraction], rate: Fraction, colour: Colour, video: Path
    ) -> Iterator[U8]: ...


class FrameStore:
    """Frames uint8 (T, H, W, 3) in a raw file, memory-mapped read-only.

    Reading maps pages into this process; `RESIDENT` bounds them, so that memory does not grow with the video.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int, int]) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._all: U8 = np.frombuffer(self._map, np.uint8).reshape(shape)
        self._touched = 0
        self.shape = shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, t: int) -> U8:
        self._touch(self._all[t].nbytes)
        frame: U8 = self._all[t]
        return frame

    def crop(self, height: int, width: int) -> "FrameStore":
        """The same frames without their padding: a view that shares the map."""
        view = object.__new__(FrameStore)
        view._map, view._touched = self._map, 0
        view._all = self._all[:, :height, :width]
        view.shape = view._all.shape
        return view

    def gather(self, t_N: I64, top_N: I64, left_N: I64, height: int, width: int) -> U8:
        """Rectangles of equal size in one indexed read: uint8 (N, height, width, 3)."""
        frames, rows, cols, _ = self.shape
        per_frame, per_row, per_pixel, _ = self._all.strides
        windows = np.lib.stride_tricks.as_strided(
            self._all,
            (frames, rows - height + 1, cols - width + 1, height, width * 3),
            (per_frame, per_row, per_pixel, per_row, 1),
            writeable=False,
        )
        self._touch(len(t_N) * height * per_row)
        return windows[t_N, top_N, left_N].reshape(len(t_N), height, width, 3)

    def gather_pixels(self, t_N: I64, rows_NH: I64, cols_NW: I64) -> U8:
        """Rectangles given by the rows and columns of their pixels, which may repeat: uint8 (N, H, W, 3)."""
        self._touch(rows_NH.size * self._all.strides[1])
        return self._all[t_N[:, None, None], rows_NH[:, :, None], cols_NW[:, None, :]]

    def _touch(self, size: int) -> None:
        self._touched += size
        if self._touched > RESIDENT:
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched = 0


@dataclass(frozen=True)
class Prepared:
    """A video ready for chunking and training.

    hr: frames padded to a multiple of ``scale`` (T, scale·h, scale·w, 3). lr: (T, h, w, 3). height, width: native
    HR size; pixels beyond it are padding. pts: seconds. folder: where what is derived from the video may be cached.
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

    @property
    def lr_video(self) -> Path:
        """Where the encoded LR video is kept when there is a codec."""
        return _lr_video(self.folder, self.degrade_key)


def prepare(source: FrameSource, cache: Path, degrade: Degradation, progress: Progress = silent) -> Prepared:
    """Decode and degrade a video, or find it prepared already.

    Checks the disk before decoding. Raises UserError for a full disk, an unwritable cache, or a bad video.
    """
    folder = cache / source.fingerprint()
    with locked(folder):
        try:
            meta = _load(folder / "hr") or _decode(source, folder, degrade, progress)
            lr_meta = _load(folder / f"lr-{degrade.key()}") or _degrade(source, folder, meta, degrade, progress)
        except OSError as error:
            raise disk_error(error, folder) from error
    height, width, scale = meta["height"], meta["width"], degrade.scale
    lr_shape = tuple(lr_meta["shape"])
    hr = FrameStore(folder / "hr.u8", tuple(meta["shape"])).crop(lr_shape[1] * scale, lr_shape[2] * scale)
    lr = FrameStore(folder / f"lr-{degrade.key()}.u8", lr_shape)
    pts = [Fraction(time) for time in meta["pts"]]
    return Prepared(source.info, scale, hr, lr, height, width, pts, folder, degrade.key())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time prepares a video; the others wait for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / ".lock", "is being prepared", LOCK_SECONDS) as outermost:
            if outermost:
                sweep_up(folder)
            yield
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise UserError(f"paths.cache={folder.parent}: cannot be written ({error.strerror})") from error
    except OSError as error:
        raise disk_error(error, folder) from error


def cached_array(path: Path, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """A small array kept as ``.npy`` in a prepared video's folder; computed once, and again where it is damaged."""
    with locked(path.parent):
        with contextlib.suppress(FileNotFoundError, ValueError, EOFError), path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
        array = compute()
        with atomic(path) as partial, partial.open("wb") as file:
            np.save(file, array)
        return array


def _load(stem: Path) -> Json | None:
    """The JSON beside a finished frame file, or None when it has to be made."""
    try:
        meta: Json = json.loads(stem.with_suffix(".json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    frames = stem.with_suffix(".u8")
    whole = frames.exists() and frames.stat().st_size == math.prod(meta["shape"])
    return meta if whole and meta["version"] == VERSION else None


def _padded(height: int, width: int, multiple: int) -> tuple[int, int]:
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def _check_disk(folder: Path, info: VideoInfo, scale: int, with_hr: bool) -> None:
    if info.frames is None:
        return
    height, width = _padded(info.height, info.width, MULTIPLE)
    frame = 3 * height * width
    need = info.frames * (frame * with_hr + frame // scale**2)
    free = shutil.disk_usage(folder).free
    if need > free:
        raise UserError(
            f"paths.cache={folder.parent}: preparing {info.frames} frames of {info.width}x{info.height} needs "
            f"{need / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free; set paths.cache, video.max_frames or video.height"
        )


def _lr_video(folder: Path, key: str) -> Path:
    return folder / f"lr-{key}.mp4"


def _write(stem: Path, frames: Iterable[U8], meta: Json) -> Json:
    """Write frames and then their JSON; both under a temporary name first."""
    shape: tuple[int, ...] = ()
    count = 0
    with atomic(stem.with_suffix(".u8")) as partial, partial.open("wb") as file:
        for frame_HWC in frames:
            shape = frame_HWC.shape
            file.write(np.ascontiguousarray(frame_HWC).data)
            count += 1
    meta |= {"version": VERSION, "shape": [count, *shape]}
    with atomic(stem.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(meta))
    return meta


def _decode(source: FrameSource, folder: Path, degrade: Degradation, progress: Progress) -> Json:
    info = source.info
    _check_disk(folder, info, degrade.scale, with_hr=True)
    height, width = _padded(info.height, info.width, MULTIPLE)
    padding = ((0, height - info.height), (0, width - info.width), (0, 0))
    pts: list[str] = []

    def frames() -> Iterator[U8]:
        for frame in progress(source, info.frames, "decode"):
            pts.append(str(frame.pts))
            yield np.pad(frame.rgb_HWC, padding, mode="edge") if any(map(any, padding)) else frame.rgb_HWC

    return _write(folder / "hr", frames(), {"height": info.height, "width": info.width, "pts": pts})


def _degrade(source: FrameSource, folder: Path, hr_meta: Json, degrade: Degradation, progress: Progress) -> Json:
    _check_disk(folder, source.info, degrade.scale, with_hr=False)
    hr = FrameStore(folder / "hr.u8", tuple(hr_meta["shape"]))
    hr = hr.crop(*_padded(hr_meta["height"], hr_meta["width"], degrade.scale))
    pts = [Fraction(time) for time in hr_meta["pts"]]
    lr_THWC = degrade.frames(
        progress((hr[t] for t in range(len(hr))), len(hr), "degrade"),
        pts,
        source.info.rate,
        source.info.colour,
        _lr_video(folder, degrade.key()),
    )
    meta = _write(folder / f"lr-{degrade.key()}", lr_THWC, {})
    assert meta["shape"][0] == len(hr), (meta["shape"], len(hr))
    return meta
