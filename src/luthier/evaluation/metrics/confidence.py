"""The confidence of answers that are chosen by likelihood."""

from __future__ import annotations

import numpy as np

from luthier.core.errors import DataError
from luthier.core.probability import softmax
from luthier.records.evaluation import SampleRecord


def has_confidence(sample: SampleRecord) -> bool:
    """Whether the answer is one of at least two choices that all have a likelihood."""
    choices = sample.choices
    scored = len(sample.likelihoods) == len(choices) > 1
    return scored and sample.prediction in choices


def confidence(sample: SampleRecord, name: str) -> tuple[float, bool]:
    """The probability of the answer among the choices, and whether the answer is right.

    If the prediction is no choice, as in a rating, the likeliest choice is the answer.

    Args:
        sample: the sample.
        name: the name of the figure that needs it.

    Raises:
        DataError: the choices were not scored.
    """
    logprobs = likelihoods(sample, name)
    if sample.prediction in sample.choices:
        place = sample.choices.index(sample.prediction)
    else:
        place = int(np.argmax(logprobs))
    return softmax(logprobs)[place], sample.choices[place] in sample.references


def likelihoods(sample: SampleRecord, name: str) -> tuple[float, ...]:
    """The log-probabilities of a sample's choices, in nats.

    Args:
        sample: the sample.
        name: the name of the figure that needs them.

    Raises:
        DataError: its choices were not scored.
    """
    if not sample.likelihoods or len(sample.likelihoods) != len(sample.choices):
        raise DataError(
            f"{name} needs the likelihood of each choice, but this sample has none",
            where=f"sample {sample.id!r}",
            fix="use it with tasks of the kind choices or candidates",
        )
    return sample.likelihoods
