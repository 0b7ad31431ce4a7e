"""L1 and L2 losses on float predictions and 8-bit targets, with their gradients.

Values and gradients are those of `torch.nn.functional.l1_loss` and ``mse_loss`` on ``hr / 255``,
with a third of the passes over pixels: both come from one difference, and the gradient takes its
place in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from stdo.core.plugins import function
from stdo.core.types import UserError
from stdo.models.pixels import without_halo


@dataclass(frozen=True)
class Loss:
    """A mean over differences. gradient: makes them, in place, its gradient, times what comes from
    above, a scalar."""

    mean: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]


LOSSES = {
    "l1": Loss(
        lambda difference: difference.abs().mean(),
        lambda difference, above: difference.sign_().mul_(above / difference.numel()),
    ),
    "l2": Loss(
        lambda difference: difference.square().mean(),
        lambda difference, above: difference.mul_(2 / difference.numel()).mul_(above),
    ),
}
"""The mean absolute error (paper section 4.1), and the mean squared error, which PSNR measures."""


def loss_of(kind: str, sr_NCHW: Tensor, hr_NHWC: Tensor, border: int = 0) -> tuple[Tensor, Tensor]:
    """The loss, a scalar, and the differences ``sr - hr / 255`` that it comes from, float32, as
    ``hr`` lies.

    The backward pass overwrites the differences. Networks work channels-last: in that order both
    pictures are read straight through, four times as fast.

    Args:
        kind: A key of `LOSSES`, or ``package.module:function`` of a plugin: from SR and HR, float
            (N, 3, H, W) around and in [0, 1], to a mean over the patches, a scalar.
        sr_NCHW: A network's result, around [0, 1], any float type.
        hr_NHWC: uint8 (N, H, W, 3).
        border: Pixels on every side of ``sr`` that ``hr`` is without.
    """
    with torch.no_grad():
        difference_NHWC = hr_NHWC.float().div_(255)
        torch.sub(
            without_halo(sr_NCHW, border).permute(0, 2, 3, 1), difference_NHWC, out=difference_NHWC
        )
    if kind not in LOSSES:
        hr_NCHW = hr_NHWC.permute(0, 3, 1, 2).float().div_(255)
        return _function(kind)(without_halo(sr_NCHW, border).float(), hr_NCHW), difference_NHWC
    loss: Tensor = _Mean.apply(sr_NCHW, difference_NHWC, border, LOSSES[kind])  # type: ignore[no-untyped-call]
    return loss, difference_NHWC


@cache
def _function(place: str) -> Callable[[Tensor, Tensor], Tensor]:
    found: Callable[[Tensor, Tensor], Tensor] = function("optim.loss", place)
    return found


def check_loss(kind: str) -> None:
    """Raise UserError unless there is such a loss, and it makes a number that can be minimised."""
    if kind in LOSSES:
        return
    sr_NCHW = torch.full((2, 3, 8, 8), 0.5, requires_grad=True)
    try:
        loss = _function(kind)(sr_NCHW, torch.zeros(2, 3, 8, 8))
    except UserError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise UserError(f"optim.loss={kind}: cannot be computed ({said})") from error
    shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
    if shape != () or not loss.requires_grad:
        raise UserError(f"optim.loss={kind}: makes {shape}: must make a scalar with a gradient")


class _Mean(torch.autograd.Function):
    """The loss as a function of the network's result."""

    @staticmethod
    def forward(
        ctx: Any, sr_NCHW: Tensor, difference_NHWC: Tensor, border: int, loss: Loss
    ) -> Tensor:
        ctx.difference, ctx.border, ctx.loss = difference_NHWC, border, loss
        ctx.shape, ctx.dtype = sr_NCHW.shape, sr_NCHW.dtype
        return loss.mean(difference_NHWC)

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None, None]:
        inner_NCHW = ctx.loss.gradient(ctx.difference, above).permute(0, 3, 1, 2)
        if not ctx.border:
            return inner_NCHW, None, None, None
        samples, channels, height, width = ctx.shape
        whole_NHWC = torch.zeros(
            samples, height, width, channels, dtype=ctx.dtype, device=above.device
        )
        whole_NCHW = whole_NHWC.permute(0, 3, 1, 2)
        without_halo(whole_NCHW, ctx.border).copy_(inner_NCHW)
        return whole_NCHW, None, None, None
