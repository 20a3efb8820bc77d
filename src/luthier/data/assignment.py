"""Which groups of examples are held out: chosen by hash, with each class in proportion."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from luthier.core.example import Example
from luthier.core.seeds import derive

_HASH_RANGE = 2**63
_MOST_CLASSES = 20
_LEAST_PER_CLASS = 10


class Unit(NamedTuple):
    """Examples that stay in one split.

    Attributes:
        name: of the group.
        size: number of examples.
        label: the most frequent class of its examples; empty without classes.
    """

    name: str
    size: int
    label: str


class HeldOut(NamedTuple):
    """The names of the units for test and validation; all others are for training."""

    test: frozenset[str]
    validation: frozenset[str]


def units_of(names: Sequence[str], examples: Sequence[Example]) -> list[Unit]:
    """The units of examples, each with its size and its most frequent class.

    The class of an example is its answer, if all examples have the same choices, or if there are at
    most 20 different answers with ten examples each on average.

    Args:
        names: the name of the unit of each example.
        examples: the examples, in the same order.
    """
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    classes = _classes(examples)
    for name, label in zip(names, classes, strict=True):
        labels[name][label] += 1
    return [
        Unit(name, found.total(), min(found, key=lambda label: (-found[label], label)))
        for name, found in labels.items()
    ]


def hold_out(units: Iterable[Unit], test: float, validation: float, seed: int) -> HeldOut:
    """The units for test and validation, a function of seed and units, not of their order.

    Without classes, a unit's hash of (seed, name) decides: the lowest share is for the test, the
    next for validation, so other units do not move it. A unit with more examples than a split
    should have is for training. No split with a share is left empty, if there are enough units.

    With classes, each class is divided for itself: units in the order of their hashes are taken as
    long as they bring the number of examples nearer to the share. A class of three units or more is
    in every split, one of two in training and test (or validation). Other units of a class can move
    a unit, other classes cannot.

    Args:
        units: the units, with different names.
        test: the share for the test.
        validation: the share for validation.
        seed: the run's seed.
    """
    ordered = sorted(units, key=lambda unit: (derive(seed, "split", unit.name), unit.name))
    strata: dict[str, list[Unit]] = defaultdict(list)
    for unit in ordered:
        strata[unit.label].append(unit)
    if len(strata) > 1:
        parts = [_by_size(stratum, test, validation) for stratum in strata.values()]
        found = HeldOut(*(frozenset().union(*names) for names in zip(*parts, strict=True)))
        if bool(found.test) == bool(test) and bool(found.validation) == bool(validation):
            return found
    return _by_hash(
        [unit.name for unit in _small_enough(ordered, test, validation)], test, validation, seed
    )


def _classes(examples: Sequence[Example]) -> list[str]:
    """The class of each example; empty ones if the answers are open."""
    answers = ["\x1f".join(example.references[:1]) for example in examples]
    closed = {example.choices for example in examples}
    few = min(_MOST_CLASSES, len(examples) // _LEAST_PER_CLASS)
    if (len(closed) == 1 and closed != {()}) or len(set(answers)) <= few:
        return answers
    return [""] * len(examples)


def _small_enough(ordered: Sequence[Unit], test: float, validation: float) -> list[Unit]:
    """The units with at most the examples of the smaller split; all units if those are too few."""
    share = min(share for share in (test, validation, 1.0) if share)
    most = max(1.0, share * sum(unit.size for unit in ordered))
    small = [unit for unit in ordered if unit.size <= most]
    return small if len(small) > 2 else list(ordered)


def _by_hash(ordered: Sequence[str], test: float, validation: float, seed: int) -> HeldOut:
    """The lowest hashes for the test, the next for validation."""
    positions = [derive(seed, "split", name) / _HASH_RANGE for name in ordered]
    in_test = sum(position < test for position in positions)
    in_both = sum(position < test + validation for position in positions)
    room = len(ordered) - 1  # the last one is for training
    num_test = min(max(in_test, int(test > 0)), room - int(validation > 0))
    num_validation = min(max(in_both - in_test, int(validation > 0)), room - max(num_test, 0))
    num_test, num_validation = max(num_test, 0), max(num_validation, 0)
    both = num_test + num_validation
    return HeldOut(frozenset(ordered[:num_test]), frozenset(ordered[num_test:both]))


def _by_size(ordered: Sequence[Unit], test: float, validation: float) -> HeldOut:
    """Units until their examples are the share of all, at least one of each if there are enough."""
    total = sum(unit.size for unit in ordered)
    chosen: list[frozenset[str]] = []
    left = list(ordered)
    for share, later in ((test, validation), (validation, 0.0)):
        names: frozenset[str] = frozenset()
        if share and len(left) > 1:
            most = max(len(left) - 1 - int(later > 0), 1)  # others are for the later splits
            names = _nearest(left, share * total, most)
        left = [unit for unit in left if unit.name not in names]
        chosen.append(names)
    return HeldOut(*chosen)


def _nearest(ordered: Collection[Unit], wanted: float, most: int) -> frozenset[str]:
    """Units whose examples are about as many as wanted: at least one, and at most ``most``."""
    names: list[str] = []
    taken = 0
    for unit in ordered:
        if taken + unit.size / 2 <= wanted and len(names) < most:
            names.append(unit.name)
            taken += unit.size
    return frozenset(names or [min(ordered, key=lambda unit: unit.size).name])
