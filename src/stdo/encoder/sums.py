"""Convolutions as sums over weights and input positions.

An ordinary convolution makes one output of each channel at a position. A transposed one with a
stride s makes s x s, of different weights: output s·q + r along a side is the sum over j of x[q +
j] · weight[r + padding - s·j].
"""

import math

import numpy as np
from torch import nn

from stdo.core.types import I64
from stdo.models.common import Convolution


def surroundings(conv: Convolution) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """Sides of what all outputs at a position read together, and how far it goes beyond the edges
    of a picture.

    The first are (height, width), the others (left, right, above, below), as
    `torch.nn.functional.pad` takes them.
    """
    assert not isinstance(conv.padding, str)
    height, width = conv.kernel_size
    rows, cols = conv.padding
    if isinstance(conv, nn.Conv2d):
        return (height, width), (cols, cols, rows, rows)
    above, below = _span(height, conv.stride[0], rows)
    left, right = _span(width, conv.stride[1], cols)
    return (above + below + 1, left + right + 1), (left, right, above, below)


def sums_of(conv: Convolution) -> list[tuple[I64, I64]]:
    """For all outputs at a position that read the same numbers: flat indices of their weights, and
    of those numbers.

    The first are (outputs, n) into ``weight``, the second (n,) into the flattened (inputs, height,
    width) that `surroundings` describes.
    """
    at = np.arange(math.prod(conv.weight.shape)).reshape(conv.weight.shape)
    if isinstance(conv, nn.Conv2d):
        return [(at.reshape(len(at), -1), np.arange(at[0].size))]
    assert conv.groups == 1 and conv.dilation == (1, 1), conv
    assert not isinstance(conv.padding, str)
    (height, width), (left, _, above, _) = surroundings(conv)
    numbers = np.arange(conv.in_channels * height * width).reshape(conv.in_channels, height, width)
    found = []
    for row in range(conv.stride[0]):
        taps_y, places_y = _taps(conv.kernel_size[0], conv.stride[0], conv.padding[0], row, above)
        for col in range(conv.stride[1]):
            taps_x, places_x = _taps(
                conv.kernel_size[1], conv.stride[1], conv.padding[1], col, left
            )
            taps = at[:, :, taps_y][..., taps_x].swapaxes(0, 1)
            columns = numbers[:, places_y][..., places_x]
            found.append((taps.reshape(conv.out_channels, -1), columns.ravel()))
    return found


def _span(kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """How many numbers before and after a position outputs read along a side."""
    return (kernel - 1 - padding) // stride, (stride - 1 + padding) // stride


def _taps(kernel: int, stride: int, padding: int, phase: int, before: int) -> tuple[I64, I64]:
    """Along a side: the weights that make output ``phase`` of a position, and where the numbers lie
    that they read."""
    taps = np.arange((phase + padding) % stride, kernel, stride)
    return taps, (phase + padding - taps) // stride + before
