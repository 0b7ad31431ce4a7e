"""Reptile: first-order meta-learning, as an optimizer."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch


class Reptile(torch.optim.Optimizer):
    """Adam for some steps on one task, then a share of the way that it went (Reptile,
    https://arxiv.org/abs/1803.02999).

        start ─ inner steps of Adam on a task ─► end        start += outer · (end - start)

    Then Adam goes on from the start, on another task: `stdo.chunks.tasks.Tasks` shows patches of
    one task for as many steps. Adam's momentum begins anew, its second moments do not, since its
    first steps with new ones would be as large as the rate, whatever the gradient. What is learned
    is a start from which a few steps lead far, on tasks like these. The gradient of EMT's own
    meta-learning goes through the inner steps; this one needs no second derivatives.

    Args:
        params: Parameters or groups of them.
        lr: Adam's learning rate.
        inner: Steps on one task, 1 or more.
        outer: Share of the way, above 0, up to 1.
        betas: Adam's.
        eps: Adam's.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        inner: int = 8,
        outer: float = 0.25,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        assert lr >= 0 and inner >= 1 and 0 < outer <= 1, (lr, inner, outer)
        super().__init__(
            params, {"lr": lr, "inner": inner, "outer": outer, "betas": betas, "eps": eps}
        )

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step on a task; the last of a task moves the start as well."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)
        return loss

    def _move(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        assert parameter.grad is not None
        state, (first, second) = self.state[parameter], group["betas"]
        if not state:
            state |= {"step": 0, "square": torch.zeros_like(parameter)}
        if state["step"] % group["inner"] == 0:  # a new task
            state |= {"start": parameter.clone(), "mean": torch.zeros_like(parameter)}
        state["step"] += 1
        own = (state["step"] - 1) % group["inner"] + 1
        mean = state["mean"].lerp_(parameter.grad, 1 - first) / (1 - first**own)
        square = state["square"].lerp_(parameter.grad.square(), 1 - second)
        square = square / (1 - second ** state["step"])
        parameter.addcdiv_(mean, square.sqrt_().add_(group["eps"]), value=-group["lr"])
        if own == group["inner"]:
            parameter.copy_(state["start"].lerp(parameter, group["outer"]))
