"""Loops over pixels, compiled by Numba.

They hold no lock of Python's, and each keeps to the thread that calls it: whoever has many frames
does several at once. A kernel is compiled when it is first called, and kept beside this file or in
the user's cache for the next process.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba.core.caching import FunctionCache

from stdo.core.types import F32, I64, U8

P = ParamSpec("P")
R = TypeVar("R")


class _Kept(FunctionCache):
    """Numba's files of machine code; a damaged one, or a disk that takes none, costs a compilation
    and nothing else."""

    def load_overload(self, *asked: Any) -> Any:
        """The code, or None where it has to be compiled."""
        try:
            return super().load_overload(*asked)  # type: ignore[no-untyped-call]
        except Exception:  # what pickle says of bytes that it did not write may be anything
            self._forget()  # or saving stumbles as well
            return None

    def save_overload(self, *made: Any) -> None:
        """Keep the code for the next process."""
        try:
            super().save_overload(*made)  # type: ignore[no-untyped-call]
        except OSError:
            self._forget()  # the index is written first: it might name a file that older code is in

    def _forget(self) -> None:
        with contextlib.suppress(OSError):
            Path(self._cache_file._index_path).unlink()


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Machine code of ``function``, kept between processes where there is a folder for it."""
    kernel: Any = numba.njit(nogil=True, error_model="numpy")(function)
    # Neither this folder nor the user's cache can be written
    with contextlib.suppress(RuntimeError):
        kernel._cache = _Kept(function)  # type: ignore[no-untyped-call]  # as Numba's own ``enable_caching`` does
    return cast("Callable[P, R]", kernel)


@compiled
def _whole(value: np.float32) -> np.uint8:
    """The nearest of 0..255, ties to even."""
    return np.uint8(min(max(np.rint(value), np.float32(0)), np.float32(255)))


@compiled
def _across(row_WC: F32, first_X: I64, weights_XK: F32, out_XC: F32) -> None:
    """Each of X pixels from K on of ``first``. Where W ends, weights are 0, but ``row_WC`` must go
    on."""
    for x in range(len(first_X)):
        red, green, blue = np.float32(0), np.float32(0), np.float32(0)
        for k in range(weights_XK.shape[1]):
            # Unsigned: a signed one might count from the end, which costs
            pixel = np.uintp(first_X[x] + k)
            weight = weights_XK[x, k]
            red += weight * row_WC[pixel, 0]
            green += weight * row_WC[pixel, 1]
            blue += weight * row_WC[pixel, 2]
        out_XC[x, 0], out_XC[x, 1], out_XC[x, 2] = red, green, blue


@compiled
def shrink(
    frame_HWC: U8, first_Y: I64, weights_YK: F32, first_X: I64, weights_XK: F32, out_YXC: U8
) -> None:
    """Resample a frame, first its columns, then its rows; K weights of each axis, from pixel
    ``first`` on."""
    height, width, channels = frame_HWC.shape
    samples_HS = frame_HWC.reshape(height, width * channels)
    row_WC = np.zeros((width + weights_XK.shape[1], channels), np.float32)
    row_S = row_WC.reshape(row_WC.size)
    out_XC = np.empty((len(first_X), channels), np.float32)
    for y in range(len(out_YXC)):
        row_S[:] = 0
        for k in range(min(weights_YK.shape[1], height - first_Y[y])):
            weight, samples_S = weights_YK[y, k], samples_HS[first_Y[y] + k]
            for s in range(len(samples_S)):
                row_S[s] += weight * np.float32(samples_S[s])
        _across(row_WC, first_X, weights_XK, out_XC)
        for x in range(len(first_X)):
            for channel in range(channels):
                out_YXC[y, x, channel] = _whole(out_XC[x, channel])


@compiled
def enlarge(
    frame_HWC: U8, first_Y: I64, weights_Y4: F32, first_X: I64, weights_XK: F32, out_YXC: U8
) -> None:
    """Resample a frame, first its rows, then its columns, which need four weights when they
    grow."""
    height, width, channels = frame_HWC.shape
    row_WC = np.zeros((width + weights_XK.shape[1], channels), np.float32)
    # The last four rows, row n at n mod 4
    wide_4XC = np.zeros((4, len(first_X), channels), np.float32)
    wide_4S = wide_4XC.reshape(4, -1)
    out_YS = out_YXC.reshape(len(out_YXC), -1)
    widened = 0
    for y in range(len(out_YS)):
        top = first_Y[y]
        while widened < min(top + 4, height):
            for x in range(width):
                for channel in range(channels):
                    row_WC[x, channel] = frame_HWC[widened, x, channel]
            _across(row_WC, first_X, weights_XK, wide_4XC[widened % 4])
            widened += 1
        a, b, c, d = weights_Y4[y]
        row_a, row_b = wide_4S[top % 4], wide_4S[(top + 1) % 4]
        row_c, row_d = wide_4S[(top + 2) % 4], wide_4S[(top + 3) % 4]
        for s in range(out_YS.shape[1]):
            out_YS[y, s] = _whole(a * row_a[s] + b * row_b[s] + c * row_c[s] + d * row_d[s])


@compiled
def energies(
    one_HWC: U8, other_HWC: U8, origin_N2: I64, height: int, width: int, out_N: I64
) -> None:
    """Sums of the squared differences within rectangles of equal size, given by their first row and
    column.

    Exact where they are at most 22,000 pixels wide.
    """
    channels = one_HWC.shape[2]
    one_HS, other_HS = one_HWC.reshape(len(one_HWC), -1), other_HWC.reshape(len(other_HWC), -1)
    for n in range(len(origin_N2)):
        top, first, last = (
            origin_N2[n, 0],
            origin_N2[n, 1] * channels,
            (origin_N2[n, 1] + width) * channels,
        )
        total = np.int64(0)
        for y in range(top, top + height):
            one_S, other_S = one_HS[y, first:last], other_HS[y, first:last]
            row = np.uint32(0)  # sums of 32 bits are twice as fast
            for s in range(len(one_S)):
                difference = np.int32(one_S[s]) - np.int32(other_S[s])
                row = np.uint32(row + np.uint32(difference * difference))
            total += row
        out_N[n] = total
