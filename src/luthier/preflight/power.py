"""The power of the test examples, told before anything is measured with them."""

from __future__ import annotations

from luthier.context.run_context import RunContext
from luthier.evaluation import power_notes


def notes_on_power(setup: RunContext) -> tuple[str, ...]:
    """What the test examples can show, to be said before anything is measured with them."""
    test = setup.dataset.test
    groups = {example.group or f"\x1f{example.id}" for example in test}
    # Where all share one group, the examples are the units.
    units = len(groups) if len(groups) > 1 else len(test)
    return power_notes(len(test), units, setup.config.adapt.alpha)
