"""The content of `luthier data mix`: how much of a training each source of a mixture is."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from luthier.data.mixture.order import Sources
from luthier.prompts.training_example import TrainingExample
from luthier.records.base import Count, Record


class SourceAccount(Record):
    """One source of a mixture, per epoch.

    Attributes:
        name: its name.
        examples: usable training examples.
        rate: its share of the draws.
        draws: its number of draws, rounded.
        passes: how often each of its examples is drawn, on average.
        tokens: its share of the processed tokens, prompts included, expected from its mean length.
        gradient: its share of the loss, likewise: of the trained tokens, each with its example's
            weight.
        left_out: examples that were left out before the rates were computed.
    """

    name: str
    examples: Count
    rate: float
    draws: Count
    passes: float
    tokens: float
    gradient: float
    left_out: Count = 0


class MixtureAccount(Record):
    """A mixture: its draws in an epoch, and its sources."""

    name: str
    draws: Count
    sources: tuple[SourceAccount, ...]


def account(
    name: str,
    sources: Sources,
    examples: Sequence[TrainingExample],
    left_out: Counter[str] | None = None,
) -> MixtureAccount:
    """How much of a training each source is.

    Args:
        name: the mixture's name.
        sources: its sources.
        examples: the usable training examples with their weights, source by source.
        left_out: the number of other examples by source.
    """
    tokens: Counter[str] = Counter()
    trained: defaultdict[str, float] = defaultdict(float)
    for example in examples:
        tokens[example.source] += example.length
        trained[example.source] += example.weight * example.num_trained
    found = [
        (rate, rate * tokens[one] / size, rate * trained[one] / size)
        for one, size, rate in zip(sources.names, sources.sizes, sources.rates, strict=True)
    ]
    all_tokens, all_trained = (math.fsum(column) for column in list(zip(*found, strict=True))[1:])
    others = left_out or Counter()
    return MixtureAccount(
        name=name,
        draws=sources.num_draws,
        sources=tuple(
            SourceAccount(
                name=one,
                examples=size,
                rate=rate,
                draws=round(rate * sources.num_draws),
                passes=rate * sources.num_draws / size,
                tokens=of_tokens / all_tokens,
                gradient=of_trained / all_trained,
                left_out=others[one],
            )
            for one, size, (rate, of_tokens, of_trained) in zip(
                sources.names, sources.sizes, found, strict=True
            )
        ),
    )
