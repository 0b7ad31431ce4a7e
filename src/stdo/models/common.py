"""The base class of backbones, exact bicubic kernels, and initial weights built from them."""

import copy
from abc import ABC, abstractmethod
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, pad, pixel_shuffle
from torch.nn.utils import parametrize, skip_init

from stdo.core.cubic import cubic
from stdo.core.networks import Delta
from stdo.core.types import SCALES, UserError

INITS = ("bicubic", "paper")
"""``bicubic``: computes bicubic upsampling before its first step. ``paper``: as published."""

Convolution = nn.Conv2d | nn.ConvTranspose2d
"""What has filters. A transposed one keeps them as (inputs, outputs, rows, columns), an ordinary
one outputs first."""

SHIFTS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
"""Shifted in these nine ways by one 3x3 convolution, a colour shows the next one the 5x5 pixels
that bicubic needs."""


class Backbone(nn.Module, ABC):
    """A network that turns a low-resolution picture into one ``scale`` times as large.

        lr ─┬─ predict ─ + ─ sr      residual=bicubic: predict makes what bicubic lacks
            └─ bicubic ──┘

    Args:
        scale: 2, 3 or 4.
        init: ``bicubic`` or ``paper``; changes the first weights only, never the architecture.
        residual: ``none``: predicts the picture. ``bicubic``: predicts its difference from the
            bicubic one. None: as published, the first of `RESIDUALS`.
        negative_slope: Slope of the activations below zero, less than 1; 0 is ReLU, as published. A
            ReLU that is negative for every pixel of a video learns nothing more, and large steps
            can silence a whole layer so.
        width: Channels of the layers in between, as a share of the published ones: above 0, up to
            1.

    Raises UserError for any other value.
    """

    BODY: ClassVar[tuple[str, ...]]
    """What the names of the convolutions begin with that CaFM modulates."""

    MODULATION: ClassVar[Delta] = Delta.MODULATION
    """Whether CaFM modulates what they make, channel by channel, or in pairs of channels what they
    see, which is what the convolutions before them make after their activation."""

    BRANCHED: ClassVar[tuple[str, ...]] = ("",)
    """What the names of the convolutions begin with that RepCaM gives branches; all of them."""

    RESIDUALS: ClassVar[tuple[str, ...]] = ("none", "bicubic")
    """What it may predict, the published way first."""

    ENLARGED: ClassVar[bool] = False
    """Whether `predict` works on the bicubic picture rather than on the LR one."""

    SHUFFLED: ClassVar[bool] = False
    """Whether the pixels that `predict` makes of an LR pixel still lie in its channels, and
    `forward` shuffles them."""

    COLOUR: ClassVar[str] = "rgb"
    """What others' weights of this architecture are made for, ``rgb`` or ``ycbcr``, where nothing
    says so."""

    MEAN: ClassVar[float] = 0.0
    """Grey that `predict` takes from a picture before its layers, so that black is not the zero
    that padding shows."""

    def __init__(
        self,
        scale: int,
        init: str = "bicubic",
        residual: str | None = None,
        negative_slope: float = 0.0,
        width: float = 1.0,
    ) -> None:
        if scale not in SCALES:
            raise UserError(f"scale={scale}: must be one of {', '.join(map(str, SCALES))}")
        if init not in INITS:
            raise UserError(f"init={init}: must be one of {', '.join(INITS)}")
        residual = residual or self.RESIDUALS[0]
        if residual not in self.RESIDUALS:
            raise UserError(
                f"backbone.residual={residual}: must be {' or '.join(self.RESIDUALS)} with "
                f"{self.name()}"
            )
        if not 0 <= negative_slope < 1:
            raise UserError(
                f"backbone.negative_slope={negative_slope}: must be 0 or more, and less than 1"
            )
        if not 0 < width <= 1:
            raise UserError(f"backbone.width={width}: must be a number above 0, up to 1")
        super().__init__()
        self.scale, self.residual, self.negative_slope, self.width = (
            scale,
            residual,
            negative_slope,
            width,
        )
        self.activation = (
            nn.LeakyReLU(negative_slope, inplace=True) if negative_slope else nn.ReLU(inplace=True)
        )
        self.upsample = (
            Bicubic(scale, shuffled=not self.SHUFFLED)
            if self.ENLARGED or residual == "bicubic"
            else None
        )

    @classmethod
    def name(cls) -> str:
        """What the command line calls it: the class's name in small letters, which is its file's as
        well."""
        return cls.__name__.lower()

    @property
    def label(self) -> str:
        """What tables call it."""
        return self.name() if self.width == 1 else f"{self.name()}-{self.width:g}"

    @property
    def settings(self) -> dict[str, float]:
        """What makes this network another than the published one of its name and scale, but for
        ``residual``: the constructor's arguments. Kept with its weights."""
        return {"negative_slope": self.negative_slope, "width": self.width}

    def channels(self, published: int) -> int:
        """How many of a layer's published channels this network has: an even number, 4 or more."""
        return max(4, 2 * round(published * self.width / 2))

    def check_room(self, conv: nn.Conv2d) -> None:
        """Raise UserError where ``conv`` has too few outputs to begin as `spread` makes it."""
        if conv.out_channels < 3 * len(SHIFTS):
            raise UserError(
                f"backbone.width={self.width:g}: too narrow to begin as bicubic: use "
                "backbone.residual=bicubic"
            )

    @property
    @abstractmethod
    def receptive_radius(self) -> int:
        """How many LR pixels away an input pixel still changes an output pixel."""

    def forward(self, lr_NCHW: Tensor) -> Tensor:
        """LR (N, 3, h, w) float in [0, 1] -> SR (N, 3, scale·h, scale·w), not clamped. The input is
        left alone."""
        up_NCHW = lr_NCHW if self.upsample is None else self.upsample(lr_NCHW)
        out_NCHW = self.predict(up_NCHW if self.ENLARGED else lr_NCHW)
        if self.residual == "bicubic":  # before the shuffle: one of a sum is quicker than two
            out_NCHW = out_NCHW + up_NCHW
        elif self.MEAN:
            out_NCHW = out_NCHW + self.MEAN
        return pixel_shuffle(out_NCHW, self.scale) if self.SHUFFLED else out_NCHW

    @abstractmethod
    def predict(self, x_NCHW: Tensor) -> Tensor:
        """LR picture, or the bicubic one (`ENLARGED`) -> the SR picture without `MEAN`, or its
        difference from bicubic.

        Shapes: (N, 3, h, w) or (N, 3, scale·h, scale·w) -> (N, 3, scale·h, scale·w), or (N,
            3·scale², h, w) where it is to be `SHUFFLED`. The input is left alone.
        """


def bicubic_kernels(scale: int, a: float = -0.5) -> Tensor:
    """Bicubic upsampling (a = -0.5 is MATLAB's imresize) as a convolution: (scale², 5, 5) float32.

    Kernel ``py * scale + px`` gives output pixel (py, px) of each LR pixel's block from its 5x5
    neighbourhood, which is the order of `torch.nn.PixelShuffle`. Each kernel sums to 1. Keys 1981,
    equation 8.
    """
    phase = (np.arange(scale) + 0.5) / scale - 0.5
    taps = cubic(np.abs(np.arange(-2, 3) - phase[:, None]), a)
    kernels = np.einsum("yi,xj->yxij", taps, taps).reshape(scale * scale, 5, 5)
    return torch.from_numpy(kernels.astype(np.float32))


class Bicubic(nn.Module):
    """Fixed bicubic upsampling with the edge pixels repeated: (N, 3, h, w) -> (N, 3, scale·h,
    scale·w).

    The interior equals ``interpolate(mode="bicubic", antialias=True)``. As a grouped convolution it
    is several times faster, exports to any runtime, and repeats the edge as `PatchGrid` does
    instead of renormalising the kernel there. Never in half precision, not even under autocast: a
    picture would lose a quarter of a grey level.

    Args:
        shuffled: False leaves the pixels that an LR pixel becomes in its channels, (N, 3·scale², h,
            w).
    """

    kernels: Tensor

    def __init__(self, scale: int, a: float = -0.5, shuffled: bool = True) -> None:
        super().__init__()
        self.scale, self.shuffled = scale, shuffled
        kernels = bicubic_kernels(scale, a)[:, None].repeat(3, 1, 1, 1)
        self.register_buffer("kernels", kernels, persistent=False)

    def forward(self, lr_NCHW: Tensor) -> Tensor:
        """Upsample; see the class."""
        device = "cpu" if lr_NCHW.is_meta else lr_NCHW.device.type  # autocast knows no meta tensors
        with torch.autocast(device, enabled=False):
            padded_NCHW = pad(lr_NCHW.to(self.kernels.dtype), (2, 2, 2, 2), mode="replicate")
            blocks_NCHW = conv2d(padded_NCHW, self.kernels, groups=3)
            return pixel_shuffle(blocks_NCHW, self.scale) if self.shuffled else blocks_NCHW


@torch.no_grad()
def silence(conv: Convolution) -> None:
    """Make ``conv`` put out zeros at first."""
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)


@torch.no_grad()
def pass_through(conv: nn.Conv2d, channels: int) -> None:
    """Make the first ``channels`` outputs of ``conv`` copies of the first ``channels`` inputs."""
    centre = conv.weight.shape[-1] // 2
    conv.weight[:channels] = 0
    for channel in range(channels):
        conv.weight[channel, channel, centre, centre] = 1
    _zero_bias(conv, slice(channels))


@torch.no_grad()
def spread(conv: nn.Conv2d) -> None:
    """Make the first outputs of a 3x3 ``conv`` shifted copies of its first 3 inputs, the colours.

    Output ``3 * i + colour`` at (y, x) is the colour at (y, x) + SHIFTS[i].
    """
    used = slice(3 * len(SHIFTS))
    conv.weight[used] = 0
    for i, (dy, dx) in enumerate(SHIFTS):
        for colour in range(3):
            conv.weight[3 * i + colour, colour, 1 + dy, 1 + dx] = 1
    _zero_bias(conv, used)


@torch.no_grad()
def gather(conv: nn.Conv2d, row: int, colour: int, kernel: Tensor) -> None:
    """Make output ``row`` of a 3x3 ``conv`` filter ``colour`` by a 5x5 ``kernel``, reading the
    channels `spread` made.

    A tap at (ty, tx), each -2…2, is read from the shift (sign ty, sign tx). So no step goes back
    over the edge that another one crossed, and with the edge repeated by both convolutions the
    result is exact up to the border.
    """
    conv.weight[row] = 0
    for ty in range(-2, 3):
        for tx in range(-2, 3):
            dy, dx = min(1, max(-1, ty)), min(1, max(-1, tx))
            channel = 3 * SHIFTS.index((dy, dx)) + colour
            conv.weight[row, channel, 1 + ty - dy, 1 + tx - dx] = kernel[ty + 2, tx + 2]
    _zero_bias(conv, slice(row, row + 1))


def _zero_bias(conv: nn.Conv2d, rows: slice) -> None:
    assert conv.bias is not None
    conv.bias[rows] = 0


def plain(backbone: Backbone) -> Backbone:
    """A copy for use rather than training: weight norm folded into the weights, no gradients,
    evaluation mode."""
    folded = copy.deepcopy(backbone)
    for parent in list(folded.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Convolution) and parametrize.is_parametrized(child, "weight"):
                assert child.bias is not None
                setattr(parent, name, ordinary(child, child.weight.detach(), child.bias.detach()))
    return folded.eval().requires_grad_(False)


def ordinary(conv: Convolution, weight: Tensor, bias: Tensor) -> Convolution:
    """A plain convolution like ``conv``, which may be weight-normalised, with these weights.

    Built anew, because `remove_parametrizations` on a deep copy also strips the original: both
    share one class.
    """
    transposed = isinstance(conv, nn.ConvTranspose2d)
    more = {"stride": conv.stride, "output_padding": conv.output_padding} if transposed else {}
    folded = skip_init(  # type: ignore[no-untyped-call]
        nn.ConvTranspose2d if transposed else nn.Conv2d,
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        padding=conv.padding,
        padding_mode=conv.padding_mode,
        device=weight.device,
        dtype=weight.dtype,
        **more,
    )
    folded.load_state_dict({"weight": weight, "bias": bias})
    return cast(Convolution, folded)


def convolved(conv: Convolution, x_NCHW: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """What ``conv`` would make of a picture with these weights."""
    assert not isinstance(conv.padding, str)
    if isinstance(conv, nn.ConvTranspose2d):
        return conv_transpose2d(
            x_NCHW, weight, bias, conv.stride, conv.padding, conv.output_padding
        )
    if conv.padding_mode == "zeros":
        return conv2d(x_NCHW, weight, bias, padding=conv.padding)
    rows, cols = conv.padding
    return conv2d(pad(x_NCHW, (cols, cols, rows, rows), mode=conv.padding_mode), weight, bias)


def replace(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the one of this name, ``body.0.first``."""
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, module)
