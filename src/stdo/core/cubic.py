"""The bicubic kernel: degradation, enlargement and initial weights use this one."""

import numpy as np

from stdo.core.types import F64


def cubic(x: F64, a: float = -0.5) -> F64:
    """Keys' cubic convolution kernel (1981, equation 8).

    Args:
        x: Distances in pixels, 0 or more.
        a: Slope of the kernel at distance 1; -0.5 is MATLAB's ``imresize``, Pillow's and ours.

    Returns:
        The weights; 0 from distance 2 on.
    """
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))
