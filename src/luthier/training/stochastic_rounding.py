"""AdamW on bfloat16 weights with stochastic rounding, without float32 master copies.

A bfloat16 weight has 8 bits of precision. Rounded to nearest, an update below 1/512 of the weight
would vanish. Rounded up or down at random, with the correct expectation, many small updates add up
(Gupta et al. 2015, arXiv 1502.02551). Zamirai et al. 2020 (arXiv 2010.06192) show that this
suffices for training in pure bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_BETAS, _EPSILON = (0.9, 0.999), 1e-8
# Numbers updated at once, to limit float32 copies of large embeddings.
_AT_ONCE = 2**22


class StochasticAdamW(torch.optim.Optimizer):
    """AdamW with decoupled decay (Loshchilov & Hutter 2019, arXiv 1711.05101).

    The update is computed in float32. Moments have the weight's dtype; bfloat16 results are rounded
    stochastically with torch's generator. The second moment needs this most: a step changes it by
    1/1000 of the difference.

    Args:
        groups: parameter groups with their ``weight_decay``.
        lr: the learning rate.
        held: from a tensor to this process's part of it, sharing its memory.
    """

    def __init__(
        self, groups: list[dict[str, Any]], lr: float, held: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        self._held = held
        for group in self.param_groups:
            for weight in group["params"]:
                moments = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
                self.state[weight] = {"step": 0, **moments}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                state["step"] += 1
                whole = (weight, weight.grad, state["exp_avg"], state["exp_avg_sq"])
                parts = (torch.split(self._held(tensor).view(-1), _AT_ONCE) for tensor in whole)
                for part in zip(*parts, strict=True):
                    _update(part, state["step"], group["lr"], group["weight_decay"])


def _update(tensors: tuple[Tensor, ...], step: int, rate: float, decay: float) -> None:
    weight, gradient, first, second = tensors
    beta, beta_square = _BETAS
    gradient = gradient.float()
    mean = first.float().lerp_(gradient, 1 - beta)
    square = second.float().mul_(beta_square).addcmul_(gradient, gradient, value=1 - beta_square)
    size = (square / (1 - beta_square**step)).sqrt_().add_(_EPSILON)
    updated = weight.float().mul_(1 - rate * decay)
    updated.addcdiv_(mean, size, value=-rate / (1 - beta**step))
    for target, value in ((first, mean), (second, square), (weight, updated)):
        round_into(target, value)


def round_into(target: Tensor, value: Tensor) -> None:
    """Write float32 numbers into ``target``; for bfloat16, with E[target] = value.

    A bfloat16 is the upper half of a float32. 16 random bits are added to the lower half, which is
    then cut off, so the upper half is incremented with the right probability. ``value`` is
    overwritten.
    """
    if target.dtype == torch.bfloat16:
        bits = value.view(torch.int32)
        bits.add_(torch.randint_like(bits, 2**16)).bitwise_and_(-(2**16))
    target.copy_(value)
