"""Probabilities from log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence


def softmax(logprobs: Sequence[float]) -> tuple[float, ...]:
    """The probability of each alternative among all; empty without alternatives.

    Args:
        logprobs: log-probabilities in nats, ``[alternatives]``; any constant may be added.
    """
    highest = max(logprobs, default=0.0)
    weights = [math.exp(one - highest) for one in logprobs]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)
