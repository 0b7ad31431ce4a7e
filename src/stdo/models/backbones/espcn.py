"""ESPCN: the smallest of the paper's five."""

from torch import Tensor, nn

from stdo.core.networks import Delta
from stdo.models.common import (
    SHIFTS,
    Backbone,
    bicubic_kernels,
    gather,
    pass_through,
    silence,
    spread,
)

FAINT = 0.02
"""Weight of the channels that bicubic does not need, at first. Measured: learns a little faster
than 0 and 0.1."""


class ESPCN(Backbone):
    """Efficient sub-pixel convolution, 3x3 throughout, as the STDO and CaFM papers count it.

    https://arxiv.org/abs/1609.05158

        lr ─ conv 3→64 ─ ReLU ─ conv 64→64 ─ ReLU ─ conv 64→32 ─ ReLU ─ conv 32→3s²
           ─ PixelShuffle ─ sr

    The last two convolutions repeat the edge instead of padding with zeros.

    Args:
        scale: 2, 3 or 4.
        init: ``bicubic``: the colours (never negative, so ReLU leaves them alone) pass two layers
            in channels of their own, the third shifts them in nine ways, the last filters those and
            hardly hears the others (`FAINT`). With ``residual=bicubic`` the last is zero instead.
            ``paper``: orthogonal weights.
        residual: See `Backbone`.
        negative_slope: See `Backbone`.
        width: See `Backbone`.
    """

    BODY = ("second", "third", "last")
    MODULATION = Delta.INPUTS
    SHUFFLED = True

    def __init__(
        self,
        scale: int,
        init: str = "bicubic",
        residual: str | None = None,
        negative_slope: float = 0.0,
        width: float = 1.0,
    ) -> None:
        super().__init__(scale, init, residual, negative_slope, width)
        wide, half = self.channels(64), self.channels(32)
        self.first = nn.Conv2d(3, wide, 3, padding=1)
        self.second = nn.Conv2d(wide, wide, 3, padding=1)
        self.third = nn.Conv2d(wide, half, 3, padding=1, padding_mode="replicate")
        self.last = nn.Conv2d(half, 3 * scale * scale, 3, padding=1, padding_mode="replicate")
        for conv in (self.first, self.second, self.third, self.last):
            gain = 1.0 if conv is self.last else nn.init.calculate_gain("relu")
            nn.init.orthogonal_(conv.weight, gain)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
        if init == "bicubic" and self.residual == "bicubic":
            silence(self.last)
        elif init == "bicubic":
            self._start_bicubic()

    def _start_bicubic(self) -> None:
        self.check_room(self.third)
        pass_through(self.first, 3)
        pass_through(self.second, 3)
        spread(self.third)
        others = self.last.weight[:, 3 * len(SHIFTS) :].detach() * FAINT
        kernels = bicubic_kernels(self.scale)
        for row in range(self.last.out_channels):
            colour, phase = divmod(row, self.scale**2)
            gather(self.last, row, colour, kernels[phase])
        self.last.weight.data[:, 3 * len(SHIFTS) :] = others

    @property
    def receptive_radius(self) -> int:
        """See `Backbone.receptive_radius`."""
        return 4

    def predict(self, x_NCHW: Tensor) -> Tensor:
        """See `Backbone.predict`."""
        x_NCHW = self.activation(self.first(x_NCHW))
        x_NCHW = self.activation(self.second(x_NCHW))
        x_NCHW = self.activation(self.third(x_NCHW))
        out_NCHW: Tensor = self.last(x_NCHW)
        return out_NCHW
