"""Loss scaling, which keeps gradients within the range of float16.

Float16 represents magnitudes from 6e-8 to 65,504. So the loss is multiplied by a scale before the
backward pass, and the gradient divided by it in float32 (Micikevicius et al. 2018, arXiv
1710.03740, section 3.2). As in torch's ``GradScaler``, the scale is halved when a gradient
overflows, and doubled after 2,000 steps without overflow; a step that overflows is skipped.
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
    """The state between steps, saved with every checkpoint."""

    scale: float = 1.0
    good_steps: int = 0
    overflows: int = 0


class LossScaling:
    """No scaling, for dtypes with the range of float32."""

    def __init__(self) -> None:
        self.state = ScaleState()

    @property
    def scale(self) -> float:
        """The factor of gradients before `unscale`; a power of two."""
        return self.state.scale

    def split(self, total: float) -> tuple[float, float]:
        """The factor of each token's loss, and the divisor of their sum afterwards.

        Together they scale the loss, and divide it by ``total``, the weight of all tokens.
        """
        return 1.0, total

    def unscale(self, masters: Iterable[Parameter]) -> None:
        """Divide the gradients by the scale."""

    def admit(self, step: int, loss: float, norm: float) -> bool:
        """Whether the gradient of ``step`` has not overflowed.

        Args:
            step: counted from 0.
            loss: the loss of the step. If it is not finite itself, the scale is not the cause.
            norm: the norm of the whole gradient, the same in every process.

        Raises:
            DivergedError: it overflows at the lowest scale too.
        """
        return True


class DynamicLossScaling(LossScaling):
    """Dynamic loss scaling for float16."""

    def __init__(self) -> None:
        super().__init__()
        self.state.scale = _FIRST

    def split(self, total: float) -> tuple[float, float]:
        """See `LossScaling.split`: all in the factor, since gradients are rounded to float16."""
        return self.scale / total, 1.0

    @torch.no_grad()
    def unscale(self, masters: Iterable[Parameter]) -> None:
        """See `LossScaling.unscale`; exact for float32 masters and a power of two."""
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
                f"the gradient of step {step + 1} exceeds the range of float16 even at the lowest "
                "loss scale",
                fix="lower the learning rate, or choose model.dtype=float32, or bfloat16 where the "
                "device multiplies it",
            )
        state.scale, state.good_steps = max(_LEAST, state.scale / 2), 0
        state.overflows += 1
        return False


def loss_scaling(model: Any) -> LossScaling:
    """The scaling that a model needs: dynamic if any weight is float16."""
    short = any(parameter.dtype == torch.float16 for parameter in model.parameters())
    return DynamicLossScaling() if short else LossScaling()
