"""The number of steps, the steps with validations, and the learning rate by step."""

from __future__ import annotations

import math
from collections.abc import Callable

from luthier.config import MethodConfig, TrainConfig
from luthier.data.batches import BatchOrder

_DECAYS: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1 - progress,
    "constant": lambda _progress: 1.0,
}


def total_steps(order: BatchOrder, config: TrainConfig, method: MethodConfig) -> int:
    """Total optimizer steps: ``train.max_steps``, or the steps of its epochs."""
    return config.max_steps or order.total_steps(method.epochs or config.epochs)


def validation_steps(total_steps: int, config: TrainConfig) -> frozenset[int]:
    """The steps, counted from 1, after which a training validates, including the last.

    Either every ``validate_every_steps`` steps, or ``num_validations`` spread evenly.
    """
    if every := config.validate_every_steps:
        return frozenset((*range(every, total_steps, every), total_steps))
    count = config.num_validations
    return frozenset(max(1, round(total_steps * (i + 1) / count)) for i in range(count))


def learning_rate_factor(step: int, total_steps: int, config: TrainConfig) -> float:
    """The learning rate in step ``step`` (counted from 0), as a share of the peak.

    It rises linearly during the warm-up, whose last step has the peak, then decays to zero after
    the last step (cosine: Loshchilov & Hutter 2017, arXiv 1608.03983, eq. 5 without restarts).
    """
    warmup = round(config.warmup_fraction * total_steps)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(total_steps - warmup, 1)
    return _DECAYS[config.schedule](progress)
