"""The learning-rate schedule."""

import math

import torch
from torch.optim.lr_scheduler import LambdaLR


def cosine(
    optimizer: torch.optim.Optimizer,
    steps: int,
    warmup: float = 0.0,
    full_steps: int = 0,
    first: int = 0,
) -> LambdaLR:
    """Cosine decay to 0 over ``steps``, after a linear rise over the first ``warmup`` share of
    them.

    Networks that start as bicubic interpolation have something to lose, and Adam's first steps are
    as large as the rate, whatever the gradient. So a short fit rises to its rate instead of
    starting with it, and a fit of fewer than ``full_steps`` takes the rate times sqrt(steps /
    full_steps) (measured: docs/decisions/0005-budgets.md).

    Args:
        optimizer: Whose rate moves.
        steps: Of the whole fit, all phases together.
        warmup: Share of the steps in which the rate rises.
        full_steps: Shorter fits take less than the full rate.
        first: Steps of the phases before this one.
    """
    rise = max(1.0, warmup * steps)
    share = min(1.0, math.sqrt(steps / full_steps)) if full_steps else 1.0

    def factor(step: int) -> float:
        now = first + step
        return share * min(1.0, (now + 1) / rise) * 0.5 * (1 + math.cos(math.pi * now / steps))

    return LambdaLR(optimizer, factor)
