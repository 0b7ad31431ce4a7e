"""FSRCNN: small filters between a shrinking and an expanding layer, and a transposed convolution
that enlarges."""

from torch import Tensor, nn

from stdo.models.common import Backbone, silence

DEPTH = 4
KERNEL = 9


class FSRCNN(Backbone):
    """Fast super-resolution CNN (56, 12, 4), on colours.

    https://arxiv.org/abs/1608.00367

        lr ─┬─ conv5 3→56 ─ conv1 56→12 ─ 4 × conv3 12→12 ─ conv1 12→56 ─ transposed ─ + ─ sr
            └─ bicubic ────────────────────────────────────────────────────────────────┘

    where the transposed convolution is 9x9, 56→3, of stride s.

    Each convolution but the last is followed by a PReLU, with a slope for each channel. The
    transposed one's filters lie as near to the middle of the s x s pixels of their LR pixel as 9
    rows can, half a pixel off at ×2 and ×4.

    The paper predicts the picture itself; here it is the difference from the bicubic one, because
    twelve channels cannot carry what a start as bicubic needs up to the edge.

    Args:
        scale: 2, 3 or 4.
        init: ``bicubic``: He et al.'s weights, and zeros in the last layer. ``paper``: He et al.'s,
            and a Gaussian of standard deviation 0.001 in the last layer.
        residual: ``bicubic`` alone.
        negative_slope: Of all slopes at first; they are learned.
        width: See `Backbone`.
    """

    BODY = ("body.",)
    RESIDUALS = ("bicubic",)
    COLOUR = "ycbcr"

    def __init__(
        self,
        scale: int,
        init: str = "bicubic",
        residual: str | None = None,
        negative_slope: float = 0.25,
        width: float = 1.0,
    ) -> None:
        super().__init__(scale, init, residual, negative_slope, width)
        wide, narrow = self.channels(56), self.channels(12)
        sizes = [(3, wide, 5), (wide, narrow, 1), *[(narrow, narrow, 3)] * DEPTH, (narrow, wide, 1)]
        self.body = nn.Sequential()
        for inputs, outputs, size in sizes:
            conv = nn.Conv2d(inputs, outputs, size, padding=size // 2)
            nn.init.kaiming_normal_(conv.weight, a=negative_slope)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
            self.body.extend([conv, nn.PReLU(outputs, negative_slope)])
        padding = (KERNEL + 1 - scale) // 2
        surplus = scale + 2 * padding - KERNEL
        self.last = nn.ConvTranspose2d(wide, 3, KERNEL, scale, padding, surplus)
        silence(self.last)
        if init == "paper":
            nn.init.normal_(self.last.weight, std=0.001)

    @property
    def receptive_radius(self) -> int:
        """See `Backbone.receptive_radius`: two of the first layer, one of each in the middle, and
        the last's 9 rows over s."""
        return 2 + DEPTH + (2 if self.scale == 2 else 1)

    def predict(self, x_NCHW: Tensor) -> Tensor:
        """See `Backbone.predict`."""
        out_NCHW: Tensor = self.last(self.body(x_NCHW))
        return out_NCHW
