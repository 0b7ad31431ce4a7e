"""EDSR-baseline: residual blocks without batch norm."""

import torch
from torch import Tensor, nn

from stdo.models.common import Backbone, bicubic_kernels, gather, pass_through, silence, spread

BLOCKS = 16


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x)))."""

    def __init__(self, channels: int, activation: nn.Module) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.body = nn.Sequential(first, activation, second)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, channels, h, w) -> the same shape."""
        out_NCHW: Tensor = x_NCHW + self.body(x_NCHW)
        return out_NCHW


class EDSR(Backbone):
    """Enhanced deep super-resolution, baseline: 16 blocks of 64 channels, residual scale 1.

    https://arxiv.org/abs/1707.02921

        lr ─ −mean ─ conv 3→64 ─┬─ 16 × block ─ conv ─ + ─ upsampler ─ conv 64→3 ─ +mean ─ sr
                                └──────────────────────┘
        upsampler: conv 64→64r² ─ PixelShuffle(r), once with r = 2 or 3, twice with r = 2 for ×4

    Args:
        scale: 2, 3 or 4.
        init: ``bicubic``: the linear path head – skip – upsampler – last computes bicubic exactly
            at every scale, and the convolution that ends the body is zero. With
            ``residual=bicubic`` the last convolution is zero instead. ``paper``: PyTorch's default
            weights.
        residual: See `Backbone`; with ``residual=bicubic``, the mean is not added again.
        negative_slope: See `Backbone`.
        width: See `Backbone`.
    """

    BODY = tuple(f"body.{block}.body." for block in range(BLOCKS))
    BRANCHED = ("body.",)
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
        wide = self.channels(64)
        self.head = nn.Conv2d(3, wide, 3, padding=1, padding_mode="replicate")
        blocks = [ResidualBlock(wide, self.activation) for _ in range(BLOCKS)]
        self.body = nn.Sequential(*blocks, nn.Conv2d(wide, wide, 3, padding=1))
        steps = (2, 2) if scale == 4 else (scale,)
        upsampler: list[nn.Module] = []
        for r in steps:
            conv = nn.Conv2d(wide, wide * r * r, 3, padding=1, padding_mode="replicate")
            upsampler += [conv, nn.PixelShuffle(r)]
        self.upsampler = nn.Sequential(*upsampler)
        self.last = nn.Conv2d(wide, 3, 3, padding=1)
        if init == "bicubic" and self.residual == "bicubic":
            silence(self.last)
        elif init == "bicubic":
            self._start_bicubic()

    @torch.no_grad()
    def _start_bicubic(self) -> None:
        """Lay bicubic along the linear path.

        The head shifts the colours, the first upsampling filters them. At ×4 that step already
        computes all sixteen phases: four sub-phases wait side by side in its channels, and the
        second upsampling only puts them in place.
        """
        self.check_room(self.head)
        spread(self.head)
        tail = self.body[-1]
        assert isinstance(tail, nn.Conv2d)
        silence(tail)
        first = self.upsampler[0]
        assert isinstance(first, nn.Conv2d)
        kernels = bicubic_kernels(self.scale)
        step = 2 if self.scale == 4 else self.scale
        inner = self.scale // step
        for phase in range(self.scale**2):
            y, x = divmod(phase, self.scale)
            for colour in range(3):
                channel = colour * inner**2 + (y % inner) * inner + x % inner
                row = channel * step**2 + (y // inner) * step + x // inner
                gather(first, row, colour, kernels[phase])
        if self.scale == 4:
            second = self.upsampler[2]
            assert isinstance(second, nn.Conv2d)
            pass_through(second, 12)
        pass_through(self.last, 3)

    @property
    def receptive_radius(self) -> int:
        """See `Backbone.receptive_radius`."""
        return 36

    def predict(self, x_NCHW: Tensor) -> Tensor:
        """See `Backbone.predict`."""
        x_NCHW = self.head(x_NCHW - self.MEAN)
        x_NCHW = x_NCHW + self.body(x_NCHW)
        out_NCHW: Tensor = self.last(self.upsampler(x_NCHW))
        return out_NCHW
