"""Loss scaling: what keeps gradients within the range of float16.

The smallest number of float16 is 6e-8 and the largest 65,504. So the loss is multiplied before the
backward pass, and the gradient divided by the same in float32 (Micikevicius et al. 2018, arXiv
1710.03740, section 3.2). As in torch's ``GradScaler``, the scale is halved when a gradient
overflows, and doubled when none has for 2,000 steps; a step that overflows is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import Parameter

from luthier.core.errors import DivergedError

_FIRST, _DOUBLE_AFTER = 2.0**16, 2000
_LEAST, _MOST = 1.0, 2.0**32


@dataclass(slots=True)
class ScaleState:
    """What is remembered between steps; it is saved with every checkpoint."""

    scale: float = 1.0
    good_steps: int = 0
    overflows: int = 0


class LossScaling:
    """No scaling, for types with the range of float32."""

    def __init__(self) -> None:
        self.state = ScaleState()

    @property
    def scale(self) -> float:
        """By what gradients are too large before `unscale`; a power of two."""
        return self.state.scale

    def split(self, total: float) -> tuple[float, float]:
        """By what each token's loss is multiplied, and by what their sum is divided after that.

        Both together scale the loss, and divide it by ``total``, the weight of all tokens.
        """
        return 1.0, total

    def unscale(self, masters: Iterable[Parameter]) -> None:
        """Divide the gradients by the scale."""

    def admit(self, step: int, loss: float, norm: float) -> bool:
        """Whether the gradient of ``step`` (from 0) has not overflowed.

        Args:
            step: counted from 0.
            loss: of the step. Where it is not finite itself, the scale is not why.
            norm: of the whole gradient, the same in every process.

        Raises:
            DivergedError: it overflows without a scale, too.
        """
        return True


class DynamicLossScaling(LossScaling):
    """For float16."""

    def __init__(self) -> None:
        super().__init__()
        self.state.scale = _FIRST

    def split(self, total: float) -> tuple[float, float]:
        """See `LossScaling.split`: all within the loss, whose slopes are rounded to float16."""
        return self.scale / total, 1.0

    @torch.no_grad()
    def unscale(self, masters: Iterable[Parameter]) -> None:
        """See `LossScaling.unscale`. They are float32, and the scale is a power of two."""
        for master in masters:
            if master.grad is not None:
                master.grad.mul_(1 / self.scale)

    def admit(self, step: int, loss: float, norm: float) -> bool:
        """See `LossScaling.admit`."""
        state = self.state
        if not math.isfinite(loss):
            return True
        if math.isfinite(norm):
            state.good_steps += 1
            if state.good_steps == _DOUBLE_AFTER:
                state.scale, state.good_steps = min(_MOST, state.scale * 2), 0
            return True
        if state.scale <= _LEAST:
            raise DivergedError(
                f"the gradient of step {step + 1} is beyond the range of float16, whose loss scale "
                "cannot be lowered any more",
                fix="lower the learning rate, or choose model.dtype=float32, or bfloat16 where the "
                "device multiplies it",
            )
        state.scale, state.good_steps = max(_LEAST, state.scale / 2), 0
        state.overflows += 1
        return False


def loss_scaling(model: Any) -> LossScaling:
    """The scaling that a model needs: dynamic where any of its weights are float16."""
    short = any(parameter.dtype == torch.float16 for parameter in model.parameters())
    return DynamicLossScaling() if short else LossScaling()
