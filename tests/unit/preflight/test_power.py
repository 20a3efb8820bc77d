"""Notes on what the test examples can show."""

from __future__ import annotations

import pytest

from luthier.core.example import Example, Message
from luthier.preflight.power import notes_on_classes

CHOICES = ("good", "bad", "none")


def example(number: int, label: str, group: str = "") -> Example:
    return Example(
        id=f"e{number}",
        messages=(Message("user", f"It is {number}."), Message("assistant", label)),
        references=(label,),
        choices=CHOICES,
        group=group,
    )


def examples(*labels: tuple[str, int, str]) -> list[Example]:
    wanted = [(label, group) for label, count, group in labels for _ in range(count)]
    return [example(n, label, group) for n, (label, group) in enumerate(wanted)]


@pytest.mark.parametrize(
    ("rare", "said"),
    [
        (("none", 5, "one"), "'none' has only 5 test examples in 1 group,"),
        (("none", 4, ""), "'none' has only 4 test examples,"),
        (("none", 1, "one"), "'none' has only 1 test example,"),
    ],
)
def test_a_class_of_few_units_is_named(rare: tuple[str, int, str], said: str) -> None:
    (note,) = notes_on_classes(examples(("good", 70, ""), ("bad", 15, ""), rare))
    assert f"The class {said}" in note
    assert "add rows of it that differ" in note


def test_classes_of_enough_units_have_no_note() -> None:
    assert not list(notes_on_classes(examples(("good", 9, ""), ("bad", 5, ""))))


def test_open_answers_have_no_classes() -> None:
    open_answer = Example(id="e", messages=example(1, "good").messages, references=("good",))
    assert not list(notes_on_classes([open_answer]))
