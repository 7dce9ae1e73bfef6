"""An optimizer: Lion, Chen et al. 2023, https://arxiv.org/abs/2302.06675, algorithm 2."""

from collections.abc import Callable, Iterable
from typing import Any

import torch


class Lion(torch.optim.Optimizer):
    """The sign of a moving mean of gradients, with weight decay apart from it."""

    def __init__(
        self, params: Iterable[Any], lr: float, beta: float = 0.9, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "beta": beta, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every weight by the learning rate."""
        for group in self.param_groups:
            for weight in (w for w in group["params"] if w.grad is not None):
                state = self.state[weight]
                mean = state.setdefault("mean", torch.zeros_like(weight))
                mean.lerp_(weight.grad, 1 - group["beta"])
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(mean.sign(), alpha=group["lr"])
