"""What several metrics warn of."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.records.evaluation import SampleRecord


def one_sided(metric: str, noun: str, samples: Sequence[SampleRecord]) -> tuple[str, ...]:
    """Says that a metric compares with what does not vary: its formula divides by zero there.

    Args:
        metric: its name.
        noun: what an answer is called.
        samples: at least one, each with a reference.
    """
    references = {sample.references[0] for sample in samples}
    predictions = {sample.prediction for sample in samples}
    if len(references) == 1:
        return (f"all examples have the {noun} {references.pop()!r}: {metric} says nothing",)
    if len(predictions) == 1:
        said = predictions.pop()
        return (f"every answer is the {noun} {said!r}: {metric} has no meaning there, and is 0",)
    return ()
