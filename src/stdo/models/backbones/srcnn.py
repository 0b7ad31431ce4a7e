"""SRCNN: three wide convolutions on the bicubic picture."""

from torch import Tensor, nn

from stdo.core.networks import Delta
from stdo.models.common import Backbone, pass_through, silence


class SRCNN(Backbone):
    """Super-resolution CNN 9-5-5 with 64 and 32 channels.

    https://arxiv.org/abs/1501.00092

        lr ─ bicubic ×s ─ conv9 3→64 ─ ReLU ─ conv5 64→32 ─ ReLU ─ conv5 32→3 ─ sr

    Args:
        scale: 2, 3 or 4.
        init: ``bicubic``: the colours pass through three channels of their own; where bicubic
            overshoots below black, ReLU cuts it to black, as a picture must be anyway. With
            ``residual=bicubic`` the last convolution is zero instead. ``paper`` keeps PyTorch's
            default weights.
        residual: See `Backbone`.
        negative_slope: See `Backbone`.
        width: See `Backbone`.
    """

    BODY = ("second", "last")
    MODULATION = Delta.INPUTS
    ENLARGED = True
    COLOUR = "ycbcr"

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
        self.first = nn.Conv2d(3, wide, 9, padding=4, padding_mode="replicate")
        self.second = nn.Conv2d(wide, half, 5, padding=2, padding_mode="replicate")
        self.last = nn.Conv2d(half, 3, 5, padding=2, padding_mode="replicate")
        if init == "bicubic" and self.residual == "bicubic":
            silence(self.last)
        elif init == "bicubic":
            for conv in (self.first, self.second, self.last):
                pass_through(conv, 3)

    @property
    def receptive_radius(self) -> int:
        """See `Backbone.receptive_radius`."""
        return 2 + -(-8 // self.scale)

    def predict(self, x_NCHW: Tensor) -> Tensor:
        """See `Backbone.predict`."""
        x_NCHW = self.activation(self.first(x_NCHW))
        x_NCHW = self.activation(self.second(x_NCHW))
        out_NCHW: Tensor = self.last(x_NCHW)
        return out_NCHW
