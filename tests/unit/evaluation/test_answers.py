from __future__ import annotations

import pytest

from luthier.evaluation.metrics import get_metric
from luthier.evaluation.metrics.answers import chosen


@pytest.mark.parametrize(
    ("prediction", "choices", "expected"),
    [
        (" Positive\n", ("negative", "positive"), "positive"),
        ("Positive, because it shines.", ("negative", "positive"), "positive"),
        ("not sure, as nothing is said", ("no", "not sure"), "not sure"),
        ("nothing", ("no", "yes"), None),
        ("no", ("no", "not sure"), "no"),
        ("I think yes", ("no", "yes"), None),
        ("", ("no", "yes"), None),
        ("STRASSE.", ("straße", "weg"), "strasse"),
    ],
)
def test_a_text_means_a_choice(
    prediction: str, choices: tuple[str, ...], expected: str | None
) -> None:
    assert chosen(prediction, choices) == expected


def test_accuracy_counts_chosen_references() -> None:
    metric = get_metric("accuracy")
    choices = [("Yes", "No")] * 4
    predictions = ["yes", "No.", "perhaps", "Yes and no"]
    references = [("Yes",), ("Yes",), ("No",), ("Yes",)]
    assert metric.statistics(predictions, references, choices).tolist() == [[1], [0], [0], [1]]


def test_exact_match_ignores_only_surrounding_space() -> None:
    metric = get_metric("exact_match")
    stats = metric.statistics([" a b\n", "A b", "a  b"], [["x", "a b"]] * 3)
    assert metric.per_sample(stats).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "said",
    [
        "(B)",
        "[B]",
        "**B**",
        "*B*",
        "`B`",
        '"B"',
        "\u201cB\u201d",
        "- B",
        "$B$",
        "(b) iron",
        "**B.** iron",
    ],
)
def test_signs_around_a_choice_do_not_count(said: str) -> None:
    assert chosen(said, ("A", "B", "C")) == "b"


def test_signs_that_are_choices_do_count() -> None:
    assert chosen("-1", ("-1", "1")) == "-1"
    assert chosen("(B)", ("(B)", "B")) == "(b)"
    assert chosen("*", ("*", "+")) == "*"
    assert chosen("(D)", ("A", "B")) is None
    assert chosen("**", ("A", "B")) is None
