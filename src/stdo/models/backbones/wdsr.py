"""WDSR: the strongest backbone of the paper."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from stdo.models.common import Backbone, bicubic_kernels

BLOCKS = 16


def _conv(inputs: int, outputs: int, size: int, gain: float) -> nn.Conv2d:
    """A weight-normalised convolution whose filters all have norm ``gain``; biases 0."""
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    weight_norm(conv)
    nn.init.constant_(_gain(conv), gain)
    return conv


def _gain(conv: nn.Conv2d) -> Tensor:
    """The gain g of a weight-normalised convolution, (outputs, 1, 1, 1)."""
    return cast(Tensor, conv.parametrizations.weight.original0)  # type: ignore[union-attr]


class WideBlock(nn.Module):
    """x + conv(ReLU(conv(x))), with four times as many channels inside."""

    def __init__(self, channels: int, activation: nn.Module) -> None:
        super().__init__()
        inside = 4 * channels
        self.body = nn.Sequential(
            _conv(channels, inside, 3, 2.0), activation, _conv(inside, channels, 3, BLOCKS**-0.5)
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, channels, h, w) -> the same shape."""
        out_NCHW: Tensor = x_NCHW + self.body(x_NCHW)
        return out_NCHW


class WDSR(Backbone):
    """Wide-activation super-resolution with weight norm: 16 blocks of 32 channels, 4 times as wide
    inside.

    https://arxiv.org/abs/1808.08718

        lr ─ −mean ─┬─ conv 3→32 ─ 16 × block ─ conv 32→3s² ─ + ─ PixelShuffle ─ +mean ─ sr
                    └─ conv5 3→3s² ───────────────────────────┘

    The 5x5 skip repeats the edge instead of padding with zeros, so a patch's border does not see a
    frame of grey.

    Args:
        scale: 2, 3 or 4.
        init: ``bicubic``: the skip computes bicubic exactly and the gain of the convolution after
            the blocks is 0. With ``residual=bicubic`` the skip's gain is 0 as well. ``paper``:
            random directions with gains 2 and 1/√16 in the blocks and 1 elsewhere.
        residual: See `Backbone`; with ``residual=bicubic``, the mean is not added again.
        negative_slope: See `Backbone`.
        width: See `Backbone`.
    """

    BODY = ("body.",)
    SHUFFLED = True
    MEAN = 0.5

    def __init__(
        self,
        scale: int,
        init: str = "bicubic",
        residual: str | None = None,
        negative_slope: float = 0.0,
        width: float = 1.0,
    ) -> None:
        super().__init__(scale, init, residual, negative_slope, width)
        outputs = 3 * scale * scale
        wide = self.channels(32)
        self.head = _conv(3, wide, 3, 1.0)
        self.body = nn.Sequential(*[WideBlock(wide, self.activation) for _ in range(BLOCKS)])
        self.tail = _conv(wide, outputs, 3, 1.0)
        self.skip = _conv(3, outputs, 5, 1.0)
        self.skip.padding_mode = "replicate"
        if init == "bicubic":
            self._start_bicubic()

    @torch.no_grad()
    def _start_bicubic(self) -> None:
        nn.init.zeros_(_gain(self.tail))
        if self.residual == "bicubic":
            nn.init.zeros_(_gain(self.skip))
            return
        weight = torch.zeros(3, self.scale**2, 3, 5, 5)
        for colour in range(3):
            weight[colour, :, colour] = bicubic_kernels(self.scale)
        self.skip.weight = weight.flatten(0, 1)

    @property
    def receptive_radius(self) -> int:
        """See `Backbone.receptive_radius`."""
        return 2 * BLOCKS + 2

    def predict(self, x_NCHW: Tensor) -> Tensor:
        """See `Backbone.predict`."""
        x_NCHW = x_NCHW - self.MEAN
        out_NCHW: Tensor = self.tail(self.body(self.head(x_NCHW))) + self.skip(x_NCHW)
        return out_NCHW
