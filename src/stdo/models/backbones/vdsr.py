"""VDSR: twenty layers that correct the bicubic picture."""

from torch import Tensor, nn

from stdo.models.common import Backbone


class VDSR(Backbone):
    """Very deep super-resolution: 20 convolutions 3x3 of 64 channels at the high resolution.

    https://arxiv.org/abs/1511.04587

        lr ─ bicubic ×s ─┬─ conv 3→64 ─ ReLU ─ 18 × (conv 64→64 ─ ReLU) ─ conv 64→3 ─ + ─ sr
                         └────────────────────────────────────────────────────────────┘

    Args:
        scale: 2, 3 or 4.
        init: ``bicubic``: He et al.'s weights, and zeros in the last layer. ``paper``: He et al.'s
            throughout.
        residual: ``bicubic`` alone: it was the first to predict the residual.
        negative_slope: See `Backbone`.
        width: See `Backbone`.
    """

    BODY = tuple(f"body.{digit}" for digit in range(1, 10))  # all but body.0
    RESIDUALS = ("bicubic",)
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
        layers: list[nn.Module] = []
        wide = self.channels(64)
        for inputs in (3, *[wide] * 18):
            layers += [nn.Conv2d(inputs, wide, 3, padding=1), self.activation]
        self.body = nn.Sequential(*layers)
        self.last = nn.Conv2d(wide, 3, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                assert module.bias is not None
                nn.init.kaiming_normal_(module.weight, a=negative_slope)
                nn.init.zeros_(module.bias)
        if init == "bicubic":
            nn.init.zeros_(self.last.weight)

    @property
    def receptive_radius(self) -> int:
        """See `Backbone.receptive_radius`."""
        return 2 + -(-20 // self.scale)

    def predict(self, x_NCHW: Tensor) -> Tensor:
        """See `Backbone.predict`."""
        out_NCHW: Tensor = self.last(self.body(x_NCHW))
        return out_NCHW
