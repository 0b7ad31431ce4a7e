"""A backbone of three convolutions."""

from torch import Tensor, nn

from stdo.models.common import Backbone


class TinyNet(Backbone):
    """Two narrow convolutions with a way around the second, and one that makes the pixels.

        lr ─ conv 3→16 ─ ReLU ─┬─ conv 16→16 ─ ReLU ─ + ─ conv 16→3s² ─ PixelShuffle ─ sr
                               └──────────────────────┘

    It predicts what bicubic lacks, and begins as bicubic: the last convolution is zero at first.

    Args:
        scale: 2, 3 or 4.
        init: ``bicubic``; ``paper`` leaves the last convolution as PyTorch draws it.
        residual: ``bicubic`` alone.
        negative_slope: See `Backbone`.
        width: See `Backbone`.
    """

    BODY = ("first", "second")
    RESIDUALS = ("bicubic",)
    SHUFFLED = True

    def __init__(
        self,
        scale: int,
        init: str = "bicubic",
        residual: str | None = None,
        negative_slope: float = 0.1,
        width: float = 1.0,
    ) -> None:
        super().__init__(scale, init, residual, negative_slope, width)
        channels = self.channels(16)
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, 3 * scale * scale, 3, padding=1)
        if init == "bicubic":
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    @property
    def receptive_radius(self) -> int:
        """Three 3x3 convolutions see three LR pixels around."""
        return 3

    def predict(self, x_NCHW: Tensor) -> Tensor:
        """See `Backbone.predict`."""
        x_NCHW = self.activation(self.first(x_NCHW))
        x_NCHW = x_NCHW + self.activation(self.second(x_NCHW))
        out_NCHW: Tensor = self.last(x_NCHW)
        return out_NCHW
