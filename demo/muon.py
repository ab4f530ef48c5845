"""The Muon optimiser: momentum whose matrices are made orthogonal before each step."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


def orthogonalize(matrices: Tensor) -> Tensor:
    """Push all singular values of a stack of matrices towards one (Newton-Schulz)."""
    first, second, third = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    current: Tensor = (matrices.mT if tall else matrices).bfloat16()
    current = current / (current.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        square = current @ current.mT
        current = first * current + (second * square + third * square @ square) @ current
    current = current.mT if tall else current
    return current.float()


class Muon(torch.optim.Optimizer):
    """Muon for two-dimensional parameters; equal shapes are treated together."""

    def __init__(self, params: list[torch.nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step; a closure is not needed and not called."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for param in group["params"]:
                by_shape[param.shape].append(param)
            for params in by_shape.values():
                self._step_together(params, group["lr"], group["momentum"])

    def _step_together(self, params: list[Tensor], rate: float, momentum: float) -> None:
        directions = []
        for param in params:
            gradient = torch.zeros_like(param) if param.grad is None else param.grad
            average = self.state[param].setdefault("momentum", torch.zeros_like(param))
            average.lerp_(gradient, 1 - momentum)
            directions.append(gradient.lerp(average, momentum))
        scale = max(1.0, params[0].shape[0] / params[0].shape[1]) ** 0.5
        for param, update in zip(params, orthogonalize(torch.stack(directions)), strict=True):
            param.add_(update, alpha=-rate * scale)
