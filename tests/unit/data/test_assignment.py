from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.example import Example, Message
from luthier.data.assignment import HeldOut, Unit, hold_out, units_of

SEEDS = st.integers(0, 1000)


def units(sizes: dict[str, list[int]]) -> list[Unit]:
    return [
        Unit(f"{label} {number}", size, label)
        for label, own in sizes.items()
        for number, size in enumerate(own)
    ]


SIZES = st.dictionaries(
    st.sampled_from("abcd"), st.lists(st.integers(1, 9), min_size=3, max_size=30), min_size=2
)


@given(SIZES, SEEDS)
def test_every_class_is_in_every_split(sizes: dict[str, list[int]], seed: int) -> None:
    found = hold_out(units(sizes), 0.2, 0.1, seed)
    homes = Counter((unit.label, home(unit, found)) for unit in units(sizes))
    for label in sizes:
        assert all(homes[label, name] for name in ("train", "validation", "test"))


@given(SIZES, SEEDS)
def test_shares_of_classes_are_near_those_asked_for(sizes: dict[str, list[int]], seed: int) -> None:
    found = hold_out(units(sizes), 0.3, 0.1, seed)
    for label, own in sizes.items():
        for share, names in ((0.3, found.test), (0.1, found.validation)):
            taken = [u.size for u in units(sizes) if u.label == label and u.name in names]
            # Nearest in hash order: no further than half a unit, or the one that must be there.
            assert abs(sum(taken) - share * sum(own)) <= max(own) / 2 or len(taken) == 1


@given(SIZES, SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_units_does_not_matter(
    sizes: dict[str, list[int]], seed: int, shuffle: random.Random
) -> None:
    ordered = units(sizes)
    before = hold_out(ordered, 0.2, 0.1, seed)
    shuffle.shuffle(ordered)
    assert hold_out(ordered, 0.2, 0.1, seed) == before


@given(SIZES, SEEDS)
def test_other_classes_move_nothing(sizes: dict[str, list[int]], seed: int) -> None:
    before = hold_out(units(sizes), 0.2, 0.1, seed)
    after = hold_out(units({**sizes, "new": [1, 2, 3]}), 0.2, 0.1, seed)
    old = {unit.name for unit in units(sizes)}
    assert (after.test & old, after.validation & old) == before


@given(st.integers(20, 60), SEEDS)
def test_a_new_row_moves_few_others(count: int, seed: int) -> None:
    ones = {"a": [1] * count, "b": [1] * count}
    before = hold_out(units(ones), 0.3, 0.1, seed)
    after = hold_out([*units(ones), Unit("new", 1, "a")], 0.3, 0.1, seed)
    assert len(before.test ^ after.test - {"new"}) <= 1
    assert len(before.validation ^ after.validation - {"new"}) <= 3


def test_a_class_of_one_unit_is_for_training_and_one_of_two_for_the_test_as_well() -> None:
    found = hold_out(units({"a": [5], "b": [3, 3], "c": [2] * 10}), 0.2, 0.1, 0)
    assert "a 0" not in found.test | found.validation
    assert len(found.test & {"b 0", "b 1"}) == 1
    assert not found.validation & {"b 0", "b 1"}


def test_classes_of_one_unit_each_still_leave_a_test() -> None:
    found = hold_out(units({"a": [5], "b": [5], "c": [5]}), 0.2, 0.1, 0)
    assert (len(found.test), len(found.validation)) == (1, 1)


def home(unit: Unit, found: HeldOut) -> str:
    if unit.name in found.test:
        return "test"
    return "validation" if unit.name in found.validation else "train"


def examples(answers: list[str], choices: tuple[str, ...] = ()) -> list[Example]:
    turns = (Message("user", "?"),)
    return [Example(f"{n}", turns, (one,), choices) for n, one in enumerate(answers)]


@pytest.mark.parametrize(
    ("answers", "choices", "labels"),
    [
        (["yes", "no"] * 10, (), {"yes", "no"}),  # few answers, many times each
        (["yes", "no"] * 5, (), {""}),  # ten examples: chance
        ([f"{n}" for n in range(40)], (), {""}),
        (["yes", "no"], ("yes", "no"), {"yes", "no"}),
    ],
)
def test_classes_are_choices_or_few_answers(
    answers: list[str], choices: tuple[str, ...], labels: set[str]
) -> None:
    names = [f"{n}" for n in range(len(answers))]
    assert {unit.label for unit in units_of(names, examples(answers, choices))} == labels


def test_a_group_has_its_most_frequent_class() -> None:
    rows = examples(["no", "yes", "yes", "no", "no"], ("yes", "no"))
    assert units_of(["a", "a", "a", "b", "b"], rows) == [Unit("a", 3, "yes"), Unit("b", 2, "no")]
    assert units_of(["a", "a"], rows[:2]) == [Unit("a", 2, "no")]  # as often: the first by name


@given(st.lists(st.integers(1, 5), min_size=20, max_size=60), SEEDS)
def test_a_unit_larger_than_a_split_is_for_training(sizes: list[int], seed: int) -> None:
    total = sum(sizes)
    ordered = [*units({"": sizes}), Unit("huge", total // 2, ""), Unit("large", total // 3, "")]
    found = hold_out(ordered, 0.3, 0.1, seed)
    assert not {"huge", "large"} & (found.test | found.validation)
    assert found.test
    assert found.validation


def test_few_units_are_held_out_whatever_their_size() -> None:
    found = hold_out([Unit("a", 50, ""), Unit("b", 40, ""), Unit("c", 1, "")], 0.3, 0.1, 0)
    assert len(found.test) == len(found.validation) == 1
