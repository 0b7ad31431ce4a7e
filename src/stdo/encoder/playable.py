"""Try before training whether players can compute a plugin's network.

Ours are tested. Those of a plugin may have steps that the player's runtime refuses, or tensors that
weights.bin cannot hold, and nobody should learn that after hours of training.
"""

import copy

import numpy as np
import torch

from stdo.core.networks import Networks
from stdo.core.types import U8, UserError
from stdo.encoder.graph import export_graph
from stdo.encoder.rounding import rounded
from stdo.models.common import Backbone, plain
from stdo.models.pixels import to_float, to_uint8
from stdo.models.registry import name_of
from stdo.package.weights import Stored, Tensors, encode, params_of
from stdo.player.runtime import Runtime

TOLERANCE = 2
"""Levels of 8 bits by which player and PyTorch may differ; one is usual."""

_ROUNDED = 8


def check_playable(network: Backbone, bits: int) -> None:
    """Pack a network with made-up weights, play a picture, and compare it with PyTorch's.

    Args:
        network: Of a run.
        bits: Of a weight in the package.

    Raises:
        UserError: Something on the way refuses it, or the picture is another one.
    """
    name = name_of(network)
    try:
        wrong = _difference(network, bits)
    except Exception as error:  # whatever PyTorch's exporter, ONNX or OpenVINO raise
        first = (str(error).splitlines() or [""])[0][:300]
        reason = first if isinstance(error, UserError) else f"{type(error).__name__}: {first}"
    else:
        if wrong <= TOLERANCE:
            return
        reason = f"its picture differs from PyTorch's by {wrong} of 255 levels"
    raise UserError(f"backbone={name}: players cannot compute it ({reason})")


def _difference(network: Backbone, bits: int) -> int:
    """The largest difference of a pixel between player and PyTorch, in 8-bit levels."""
    buffers = [name for name, _ in network.named_buffers() if name in network.state_dict()]
    if buffers:
        raise UserError(f"{buffers[0]} is a buffer: a package holds parameters alone")
    network, picture_NHWC = _disturbed(plain(network).cpu()), _noise()
    tensors = {name: np.asarray(tensor) for name, tensor in network.state_dict().items()}
    coded = Networks([tensors])
    if bits <= _ROUNDED:
        coded = rounded(coded, bits, network, [picture_NHWC])
    kept: Tensors = Stored(encode(coded, bits), params_of(tensors), 1, bits)[0]

    scale, (_, height, width, _) = network.scale, picture_NHWC.shape
    player = Runtime(export_graph(network), [kept], scale, threads=1)
    observed = player.observe()
    played_NHWC = np.empty((1, scale * height, scale * width, 3), np.uint8)
    player.run(0, picture_NHWC, played_NHWC, [0])
    observed.ranges(1, [key for key, tensor in kept.items() if tensor.ndim == 4])

    network.load_state_dict({key: torch.from_numpy(tensor) for key, tensor in kept.items()})
    with torch.inference_mode():
        made_NHWC = to_uint8(network(to_float(torch.from_numpy(picture_NHWC)))).numpy()
    return int(np.abs(made_NHWC.astype(int) - played_NHWC).max())


def _disturbed(network: Backbone) -> Backbone:
    """A copy with noise on its weights: many networks begin as bicubic, and hide what follows."""
    noisy = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in noisy.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return noisy


def _noise() -> U8:
    """A picture, uint8 (1, 20, 24, 3)."""
    return np.random.default_rng(0).integers(0, 256, (1, 20, 24, 3), np.uint8)
