"""Checks that stop a training before it does harm."""

from __future__ import annotations

import math
from collections.abc import Sequence

from luthier.core.errors import DivergedError


def require_finite(loss: float, gradient_norm: float, step: int, batch_ids: Sequence[str]) -> None:
    """Stop before the weights are touched if the loss or the gradient is not finite.

    Raises:
        DivergedError: it names the step and the examples of the batch.
    """
    if math.isfinite(loss) and math.isfinite(gradient_norm):
        return
    what = "loss" if not math.isfinite(loss) else "gradient"
    shown = ", ".join(batch_ids[:8]) + (", …" if len(batch_ids) > 8 else "")
    raise DivergedError(
        f"the {what} is not finite at step {step} (loss {loss}, gradient norm {gradient_norm}); "
        "the weights are as they were after the step before",
        where=f"examples {shown}",
        fix="lower the learning rate, or look at these examples with 'luthier data show'",
    )
