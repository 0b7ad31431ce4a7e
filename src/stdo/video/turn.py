"""Apply rotation and mirroring of the display matrix."""

import math
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type

from stdo.core.types import U8


@dataclass(frozen=True, slots=True)
class Turn:
    """A multiple of 90 degrees and mirrorings: rows and columns swapped first, then mirrored.

    Attributes:
        degrees: Counterclockwise, 0 to 359, as the file says.
        exact: The file's angle is a multiple of 90 degrees; any other is left alone.
    """

    swap: bool = False
    mirror_x: bool = False
    mirror_y: bool = False
    degrees: int = 0
    exact: bool = True

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after the turn; the same call takes them back."""
        return (height, width) if self.swap else (width, height)

    def __call__(self, rgb_HWC: U8) -> U8:
        """The picture upright, C-contiguous."""
        turned = rgb_HWC.swapaxes(0, 1) if self.swap else rgb_HWC
        turned = turned[:, ::-1] if self.mirror_x else turned
        turned = turned[::-1] if self.mirror_y else turned
        return np.ascontiguousarray(turned)


def turn_of(frame: av.VideoFrame) -> Turn:
    """What the display matrix of a decoded frame asks for.

    The matrix maps a pixel at (x, y) to (a·x + c·y, b·x + d·y), in 16.16 fixed point (ISO 14496-12,
    6.2.2).
    """
    degrees = frame.rotation % 360
    try:
        extras = cast(SideDataContainer, frame.side_data)
    except ValueError:
        # Beside the matrix lies data of a kind that PyAV has no name for, such as EXIF
        return _ROTATIONS.get(degrees, Turn(degrees=degrees, exact=False))
    if Type.DISPLAYMATRIX not in extras:
        return Turn()
    a, b, _, c, d = np.frombuffer(bytes(extras[Type.DISPLAYMATRIX]), np.int32)[:5].astype(int)
    if a and d and not b and not c:
        return Turn(False, a < 0, d < 0, degrees)
    if b and c and not a and not d:
        return Turn(True, c < 0, b < 0, degrees)
    return Turn(degrees=round(-math.degrees(math.atan2(b, a))) % 360, exact=False)


_ROTATIONS = {
    0: Turn(),
    90: Turn(True, False, True, 90),
    180: Turn(False, True, True, 180),
    270: Turn(True, True, False, 270),
}
