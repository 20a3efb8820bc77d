"""Predicted and true labels of samples with a closed set of answers, and their counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from luthier.core.errors import DataError
from luthier.evaluation.metrics.answers import chosen, normalised
from luthier.evaluation.metrics.base import Floats
from luthier.records.evaluation import SampleRecord

READING = "choice:equal,longest-prefix,unwrapped"
"""The reading of a generated text as a choice, in signatures; see `answers.chosen`."""


def predicted_label(sample: SampleRecord) -> str | None:
    """The choice that the prediction names, as accuracy reads it; None if it names none."""
    if sample.prediction in sample.choices:
        return sample.prediction
    return _spelled(chosen(sample.prediction, sample.choices), sample.choices)


def true_labels(sample: SampleRecord) -> frozenset[str]:
    """The choices that equal a reference, ignoring case and surrounding white space."""
    choices = sample.choices
    found = (
        reference if reference in choices else _spelled(normalised(reference), choices)
        for reference in sample.references
    )
    return frozenset(label for label in found if label is not None)


def shared_choices(samples: Sequence[SampleRecord], name: str) -> tuple[str, ...]:
    """The choices that all samples have.

    Args:
        samples: at least one.
        name: the name of the metric that needs them.

    Raises:
        DataError: samples have different choices.
    """
    choices = samples[0].choices
    for sample in samples:
        if sample.choices != choices:
            raise DataError(
                f"{name} needs the same labels for all examples",
                where=f"sample {sample.id!r}",
                fix="use acc or em if each example has its own choices",
            )
    return choices


def label_counts(samples: Sequence[SampleRecord], labels: Sequence[str]) -> Floats:
    """For each label whether it is predicted correctly, predicted, and true: ``[n, labels, 3]``."""
    places = {label: place for place, label in enumerate(labels)}
    cells = np.zeros((len(samples), len(labels), 3))
    for row, sample in enumerate(samples):
        predicted, true = predicted_label(sample), true_labels(sample)
        if predicted in places:
            cells[row, places[predicted], :2] = predicted in true, 1
        for label in true & places.keys():
            cells[row, places[label], 2] = 1
    return cells


def shares(right: Floats, of: Floats) -> Floats:
    """Correct predictions of each label over a count of it; 0 where the count is 0."""
    share: Floats = right / np.where(of > 0, of, 1.0)
    return share


def f_measures(right: Floats, predicted: Floats, true: Floats) -> Floats:
    """2 · right / (predicted + true) of each label; 0 for one that is neither."""
    both = predicted + true
    measures: Floats = 2 * right / np.where(both > 0, both, 1.0)
    return measures


def _spelled(folded: str | None, choices: Sequence[str]) -> str | None:
    """The choice whose normalised form is ``folded``."""
    if folded is None:
        return None
    return next((choice for choice in choices if normalised(choice) == folded), None)
