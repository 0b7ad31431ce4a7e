"""Raw frames in a file, read through a memory map."""

import mmap
from pathlib import Path

import numpy as np

from stdo.core.types import I64, U8

RESIDENT = 256 << 20
"""Bytes of the memory map that may stay in this process before they are handed back to the page
cache."""


class FrameStore:
    """Frames uint8 (T, H, W, 3) in a raw file, memory-mapped read-only.

    Reading maps pages into this process; `RESIDENT` bounds them, so that memory does not grow with
    the video.
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
        """Rectangles given by the rows and columns of their pixels, which may repeat: uint8 (N, H,
        W, 3)."""
        self._touch(rows_NH.size * self._all.strides[1])
        return self._all[t_N[:, None, None], rows_NH[:, :, None], cols_NW[:, None, :]]

    def _touch(self, size: int) -> None:
        self._touched += size
        if self._touched > RESIDENT:
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched = 0
