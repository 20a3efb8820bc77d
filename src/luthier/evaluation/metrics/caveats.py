"""Caveats shared by several metrics."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.records.evaluation import SampleRecord


def one_sided(
    metric: str, noun: str, samples: Sequence[SampleRecord], *, is_undefined: bool
) -> tuple[str, ...]:
    """A caveat if references or answers do not vary.

    Args:
        metric: the metric's name.
        noun: the word for an answer.
        samples: at least one, each with a reference.
        is_undefined: whether the metric's formula divides by zero if all answers are equal.
    """
    references = {sample.references[0] for sample in samples}
    predictions = {sample.prediction for sample in samples}
    if len(references) == 1:
        return (f"all examples have the {noun} {references.pop()!r}, so {metric} is uninformative",)
    if len(predictions) == 1:
        said = predictions.pop()
        then = f": {metric} is undefined there and given as 0" if is_undefined else ""
        return (f"every answer is the {noun} {said!r}{then}",)
    return ()
