"""The Muon optimiser: momentum whose matrices are made orthogonal before each step."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


def orthogonalize(matrices: Tensor, precision: torch.dtype = torch.bfloat16) -> Tensor:
    """Push all singular values of a stack of matrices towards one (Newton-Schulz)."""
    first, second, third = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    current: Tensor = (matrices.mT if tall else matrices).to(precision)
    current = current / (current.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        square = current @ current.mT
        current = first * current + (second * square + third * square @ square) @ current
    current = current.mT if tall else current
    return current.float()


class Muon(torch.optim.Optimizer):
    """Muon for two-dimensional parameters that have a gradient; equal shapes go together.

    `precision` is what the matrices are made orthogonal in: bfloat16 is fast where a processor
    has it, and slow where it has not.
    """

    def __init__(
        self,
        params: list[torch.nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        precision: torch.dtype = torch.bfloat16,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self.precision = precision

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step; a closure is not needed and not called."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for param in group["params"]:
                if param.grad is not None:
                    by_shape[param.shape].append(param)
            for params in by_shape.values():
                self._step_together(params, group["lr"], group["momentum"])

    def _step_together(self, params: list[Tensor], rate: float, momentum: float) -> None:
        directions = []
        for param in params:
            gradient = param.grad
            assert gradient is not None
            average = self.state[param].setdefault("momentum", torch.zeros_like(param))
            average.lerp_(gradient, 1 - momentum)
            directions.append(gradient.lerp(average, momentum))
        scale = max(1.0, params[0].shape[0] / params[0].shape[1]) ** 0.5
        updates = orthogonalize(torch.stack(directions), self.precision)
        for param, update in zip(params, updates, strict=True):
            param.add_(update, alpha=-rate * scale)
