"""Contamination of a run: overlap of its test examples with its training data."""

from __future__ import annotations

from collections.abc import Iterator

from luthier.context.run_context import RunContext
from luthier.core.console import Console
from luthier.evaluation import example_text, find_contamination
from luthier.records.contamination import Contamination
from luthier.records.run_directory import RunDirectory


def check_contamination(
    context: RunContext, run: RunDirectory, console: Console
) -> Contamination | None:
    """Search for test examples in the training data, and report and store the findings.

    None if ``evaluate.contamination_ngram`` is null.
    """
    words = context.config.evaluate.contamination_ngram
    if words is None:
        return None
    test = [(example.id, example_text(example)) for example in context.dataset.test]
    total = len(context.dataset.train) + len(context.replay)
    with console.progress("looking for test examples in the training data", total) as advance:
        found = find_contamination(_trained_on(context), test, words, advance)
    tell = console.warn if found.examples else console.say
    tell(found.sentence)
    found.write(run.contamination)
    return found


def _trained_on(context: RunContext) -> Iterator[tuple[str, str]]:
    """Place and text of all training data: the examples, and general texts."""
    for example in context.dataset.train:
        yield example.where or example.id, example_text(example)
    for general in context.replay:
        yield general.id, context.weights().tokenizer.decode(general.input_ids)
