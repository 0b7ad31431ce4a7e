"""An optimizer that moves nothing and adds up gradients: which weights matter to some patches."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn


class GradientSum(torch.optim.Optimizer):
    """Adds up the absolute gradients of every weight, step after step; no weight changes.

    Args:
        params: Parameter groups.
    """

    def __init__(self, params: Iterable[dict[str, Any]]) -> None:
        super().__init__(params, {"lr": 0.0})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Add the gradients that there are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state[parameter]
                    state.setdefault("sum", torch.zeros_like(parameter)).add_(parameter.grad.abs())
        return loss


def sums_of(optimizer: torch.optim.Optimizer, network: nn.Module) -> Tensor:
    """The sums of all weights of a plain network, one after another, on the CPU."""
    sums = [
        optimizer.state[parameter].get("sum", torch.zeros_like(parameter))
        for parameter in network.parameters()
    ]
    return torch.cat([each.detach().flatten().cpu() for each in sums])
