"""The statistical power of the test examples, reported before any measurement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from luthier.context.metrics import class_balance
from luthier.context.run_context import RunContext
from luthier.core.example import Example
from luthier.core.names import named
from luthier.core.units import counted
from luthier.evaluation import power_notes

_AVERAGED = ("balanced_accuracy", "macro_f1")
"""The metrics in which each class weighs the same, however few examples it has."""
_FEW_UNITS = 5
"""A class with fewer units has a recall that one unit more or less could change by a fifth."""


def notes_on_power(context: RunContext) -> tuple[str, ...]:
    """Notes on the differences that the test examples can detect."""
    test = context.dataset.test
    units = len(set(_units(test)))
    notes = power_notes(len(test), units, context.config.adapt.alpha)
    rare = notes_on_classes(test) if context.metrics[0] in _AVERAGED else ()
    return (*notes, *rare)


def notes_on_classes(test: Sequence[Example]) -> Iterator[str]:
    """Notes on the classes that too few units of the test examples have.

    Args:
        test: the test examples; those of one group are a unit.
    """
    if class_balance(test) is None:
        return
    found: dict[str, list[str]] = defaultdict(list)
    for example, unit in zip(test, _units(test), strict=True):
        (label,) = {*example.references} & {*example.choices}
        found[label].append(unit)
    for label, units in sorted(found.items()):
        if (distinct := len(set(units))) < _FEW_UNITS:
            groups = f" in {counted(distinct, 'group')}" if distinct < len(units) else ""
            yield (
                f"The class {named(label)} has only {counted(len(units), 'test example')}{groups}, "
                "and weighs as much as any other, so intervals are wide and small gains stay "
                "hidden: add rows of it that differ."
            )


def _units(test: Sequence[Example]) -> list[str]:
    """The unit of each example: its group, or itself; itself too if all share one group."""
    units = [example.group or f"\x1f{example.id}" for example in test]
    return units if len(set(units)) > 1 else [example.id for example in test]
