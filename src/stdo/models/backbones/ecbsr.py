"""ECBSR: a network for players, of which there is one in every size."""

from torch import Tensor, nn

from stdo.core.types import UserError
from stdo.models.common import Backbone, silence

DEPTHS = range(1, 17)
CHANNELS = range(4, 65, 2)


class ECBSR(Backbone):
    """A plain stack of 3x3 convolutions at the low resolution, in the form that the paper's network
    has in use.

    https://doi.org/10.1145/3474085.3475291 (section 3.1; M4C16 has ``depth=4`` and ``channels=16``)

        lr ─┬─ −mean ─ conv 3→c ─ LeakyReLU ─ body ─ conv c→3s² ─ PixelShuffle ─ + ─ sr
            └─ bicubic ──────────────────────────────────────────────────────────┘

    body: ``depth`` times conv c→c and LeakyReLU.

    The paper adds the nearest LR pixel; here it is the bicubic picture, as with every backbone. Its
    training-time edge branches, which fold into the same convolutions, are left out
    (docs/decisions/0016-small-backbones.md).

    Args:
        scale: 2, 3 or 4.
        init: ``bicubic``: He et al.'s weights, and zeros in the last layer. ``paper``: He et al.'s
            throughout.
        residual: ``bicubic`` alone.
        negative_slope: See `Backbone`; the paper learns a slope for each channel.
        depth: Convolutions between the first and the last, one of `DEPTHS`.
        channels: Of each, one of `CHANNELS`.
    """

    BODY = ("body.",)
    SHUFFLED = True
    RESIDUALS = ("bicubic",)
    MEAN = 0.5

    def __init__(
        self,
        scale: int,
        init: str = "bicubic",
        residual: str | None = None,
        negative_slope: float = 0.1,
        depth: int = 4,
        channels: int = 16,
    ) -> None:
        super().__init__(scale, init, residual, negative_slope)
        for name, value, allowed in (("depth", depth, DEPTHS), ("channels", channels, CHANNELS)):
            if not isinstance(value, int) or value not in allowed:
                kind = "even numbers" if allowed.step == 2 else "numbers"
                raise UserError(
                    f"backbone.{name}={value}: must be one of the {kind} {allowed[0]} to "
                    f"{allowed[-1]}"
                )
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential()
        for _ in range(depth):
            self.body.extend([nn.Conv2d(channels, channels, 3, padding=1), self.activation])
        self.last = nn.Conv2d(channels, 3 * scale * scale, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=negative_slope)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        if init == "bicubic":
            silence(self.last)

    @property
    def label(self) -> str:
        """The paper's name of a size: M for the blocks, C for their channels."""
        return "ecbsr-m{depth}c{channels}".format(**self.settings)

    @property
    def settings(self) -> dict[str, float]:
        """See `Backbone.settings`."""
        return {
            "negative_slope": self.negative_slope,
            "depth": len(self.body) // 2,
            "channels": self.first.out_channels,
        }

    @property
    def receptive_radius(self) -> int:
        """See `Backbone.receptive_radius`."""
        return 2 + len(self.body) // 2

    def predict(self, x_NCHW: Tensor) -> Tensor:
        """See `Backbone.predict`."""
        out_NCHW: Tensor = self.last(self.body(self.activation(self.first(x_NCHW - self.MEAN))))
        return out_NCHW
