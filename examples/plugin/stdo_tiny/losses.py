"""A loss: a function from SR and HR pictures, float (N, 3, H, W), to a mean over the patches."""

from torch import Tensor


def charbonnier(sr_NCHW: Tensor, hr_NCHW: Tensor) -> Tensor:
    """Between l1 and l2: ``mean(sqrt((sr - hr)² + 0.001²))``."""
    return ((sr_NCHW - hr_NCHW).square() + 1e-6).sqrt().mean()
