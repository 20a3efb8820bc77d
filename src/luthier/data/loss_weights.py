"""The weight of each training example in the loss: by tokens, by examples or by sources.

The loss of a step is the weighted mean over its trained tokens. An example's weight multiplies each
of its tokens, so weights divided by numbers of tokens turn it into another mean, whatever the
micro-batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from luthier.core.choices import LossWeight
from luthier.prompts.training_example import TrainingExample


def with_loss_weights(
    examples: Sequence[TrainingExample], by: LossWeight
) -> tuple[TrainingExample, ...]:
    """The examples with their weights multiplied so that the loss is the wanted mean.

    Args:
        examples: training examples, each with at least one trained token.
        by: ``token``: each trained token counts the same; ``example``: each example does, whatever
            its length; ``source``: each draw counts, on average over its source, as one of any
            other source, so a source's share of the gradient is its share of the draws.

    Returns:
        The examples. The mean over all of weight times trained tokens stays as it is without
        weights, so that a learning rate means the same.
    """
    if by == "token" or not examples:
        return tuple(examples)
    mean = sum(one.num_trained for one in examples) / len(examples)
    if by == "example":
        return tuple(replace(one, weight=one.weight * mean / one.num_trained) for one in examples)
    sizes = Counter(one.source for one in examples)
    trained: Counter[str] = Counter()
    for one in examples:
        trained[one.source] += one.num_trained
    factors = {source: mean * sizes[source] / trained[source] for source in sizes}
    return tuple(replace(one, weight=one.weight * factors[one.source]) for one in examples)
