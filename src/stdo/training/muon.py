"""Muon: an optimizer whose steps have equal singular values."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the iteration, chosen by Muon's author to be steep at zero: singular values end
near 1."""

ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Muon for the filters of convolutions, Adam for everything else.

    https://kellerjordan.github.io/posts/muon/

    Adam makes each weight's step as large as the rate, so where a layer's gradients are alike,
    which they are in pictures, all its filters move together. Muon makes the singular values of a
    layer's step equal: what a layer could learn beside the common direction is learned as fast. A
    filter bank (out, in, h, w) is a matrix (out, in·h·w).

    Equal banks of several networks go through the iteration together. `torch.optim.Muon` takes
    matrices alone.

    Args:
        params: Parameter groups; those with ``filters=True`` hold filter banks.
        lr: Learning rate of the filters: the singular values of a step. For a matrix that is higher
            than wide they are multiplied by the root of height over width.
        adam_lr: Adam's learning rate for the other parameters.
        momentum: Nesterov momentum of the gradient.
        betas: Adam's.
        eps: Adam's.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        adam_lr: float,
        momentum: float = 0.9,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        assert lr >= 0 and adam_lr >= 0 and 0 <= momentum < 1, (lr, adam_lr, momentum)
        groups = [{"lr": lr if group.get("filters") else adam_lr, **group} for group in params]
        super().__init__(
            groups, {"lr": lr, "filters": False, "momentum": momentum, "betas": betas, "eps": eps}
        )

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            (self._muon if group["filters"] else self._adam)(params, group)
        return loss

    def _muon(self, params: list[nn.Parameter], group: dict[str, Any]) -> None:
        alike: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
        for p in params:
            assert p.grad is not None
            mean = self.state[p].setdefault("mean", torch.zeros_like(p))
            mean.lerp_(p.grad, 1 - group["momentum"])
            alike[p.shape].append((p, p.grad.lerp(mean, group["momentum"])))
        for shape, pairs in alike.items():
            steps = orthogonal(torch.stack([direction.flatten(1) for _, direction in pairs]))
            rows, cols = steps.shape[1:]
            for (p, _), step in zip(pairs, steps.unbind(), strict=True):
                p.add_(step.view(shape), alpha=-group["lr"] * max(1.0, rows / cols) ** 0.5)

    def _adam(self, params: list[nn.Parameter], group: dict[str, Any]) -> None:
        first, second = group["betas"]
        for p in params:
            assert p.grad is not None
            state = self.state[p]
            if not state:
                state |= {"step": 0, "mean": torch.zeros_like(p), "square": torch.zeros_like(p)}
            state["step"] += 1
            mean = state["mean"].lerp_(p.grad, 1 - first) / (1 - first ** state["step"])
            square = state["square"].lerp_(p.grad.square(), 1 - second) / (
                1 - second ** state["step"]
            )
            p.addcdiv_(mean, square.sqrt_().add_(group["eps"]), value=-group["lr"])


def orthogonal(matrices_NRC: Tensor) -> Tensor:
    """Matrices (N, rows, columns) with about the same singular vectors, and singular values of
    about 1.

    Newton and Schulz's iteration: products only, so that it is quick, and exact in nothing; zero
    stays zero.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices_NRC.shape[1] > matrices_NRC.shape[2]
    x = matrices_NRC.mT if tall else matrices_NRC
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-12)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    result: Tensor = x.mT if tall else x
    return result
