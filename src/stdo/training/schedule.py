"""How the learning rate moves over a fit."""

import math

import torch
from torch.optim.lr_scheduler import LambdaLR


def cosine(optimizer: torch.optim.Optimizer, steps: int, warmup: float = 0.0) -> LambdaLR:
    """Cosine decay to 0 over ``steps``, after a linear rise over the first ``warmup`` share of them.

    Networks that start as bicubic interpolation have something to lose: Adam's first steps are as large as the rate,
    whatever the gradient, so a short fit rises to the full rate instead of starting with it.
    """
    rise = max(1.0, warmup * steps)

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / rise) * 0.5 * (1 + math.cos(math.pi * step / steps))

    return LambdaLR(optimizer, factor)
