"""The learning rate by step."""

from __future__ import annotations

import math
from collections.abc import Callable

from luthier.config import TrainConfig

_DECAYS: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1 - progress,
    "constant": lambda _progress: 1.0,
}


def learning_rate_factor(step: int, total_steps: int, config: TrainConfig) -> float:
    """The share of the peak learning rate used in step ``step`` (counted from 0).

    It rises linearly over the warm-up, whose last step has the peak, then falls to zero after the
    last step (cosine: Loshchilov & Hutter 2017, arXiv 1608.03983, eq. 5 without restarts).
    """
    warmup = round(config.warmup_fraction * total_steps)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(total_steps - warmup, 1)
    return _DECAYS[config.schedule](progress)
