"""The statistical power of the test examples, reported before any measurement."""

from __future__ import annotations

from luthier.context.run_context import RunContext
from luthier.evaluation import power_notes


def notes_on_power(context: RunContext) -> tuple[str, ...]:
    """Notes on the differences that the test examples can detect."""
    test = context.dataset.test
    groups = {example.group or f"\x1f{example.id}" for example in test}
    # If all share one group, the examples are the units.
    units = len(groups) if len(groups) > 1 else len(test)
    return power_notes(len(test), units, context.config.adapt.alpha)
