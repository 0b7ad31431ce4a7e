"""Parameters and multiply-accumulates (MACs) of a backbone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stdo.models.common import Backbone, Bicubic, Convolution, bicubic_kernels, plain
from stdo.models.registry import build


@dataclass(frozen=True, slots=True)
class Cost:
    """params: of the plain network (weight norm folded). macs: multiply-accumulates for one LR
    picture."""

    params: int
    macs: int


def count(backbone: str | Backbone, scale: int, height: int = 48, width: int = 48) -> Cost:
    """Cost of ``backbone`` (a name or a network built for ``scale``) for an LR picture of
    ``height`` x ``width``.

    Counts every convolution, the fixed one of bicubic upsampling among them, as (output values) ·
    (input channels per group) · (kernel area), as the paper's Table 3 does, a transposed one by its
    input values and output channels; biases, activations and additions are left out. The network is
    run on meta tensors: no arithmetic is done, so any size is quick.
    """
    if isinstance(backbone, str):
        with torch.random.fork_rng(devices=[]):
            backbone = build(backbone, scale)
    assert backbone.scale == scale, (backbone.scale, scale)
    network = plain(backbone).to("meta")
    macs = 0

    def add(conv: nn.Module, given: tuple[Tensor, ...], out_NCHW: Tensor) -> None:
        nonlocal macs
        assert isinstance(conv, Convolution | Bicubic)
        counted_NCHW = given[0] if isinstance(conv, nn.ConvTranspose2d) else out_NCHW
        macs += (
            counted_NCHW.numel()
            * (conv.kernels if isinstance(conv, Bicubic) else conv.weight)[0].numel()
        )

    for module in network.modules():
        if isinstance(module, Convolution | Bicubic):
            module.register_forward_hook(add)
    network(torch.empty(1, 3, height, width, device="meta"))
    return Cost(params=sum(p.numel() for p in network.parameters()), macs=macs)


def macs_per_patch(
    networks: Sequence[Backbone],
    network_of: Sequence[int],
    scale: int,
    padded_patch: tuple[int, int],
    patch: tuple[int, int],
) -> list[int]:
    """Multiply-accumulates for one patch of each chunk.

    Args:
        network_of: The chunks' networks, or `BICUBIC`, which is counted as `count` does, but has no
            halo.
        padded_patch: Height and width of a patch with its halo, in LR pixels.
        patch: Height and width of a patch without its halo, in LR pixels.
    """
    bicubic = 3 * patch[0] * patch[1] * bicubic_kernels(scale).numel()
    # `BICUBIC` is the last
    macs = [*(count(network, scale, *padded_patch).macs for network in networks), bicubic]
    return [macs[number] for number in network_of]
