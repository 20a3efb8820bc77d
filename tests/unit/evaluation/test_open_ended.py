"""How long open answers are, and how much they repeat."""

from __future__ import annotations

import numpy as np
import pytest

from luthier.core.errors import UsageError
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.metrics.base import TextMetric


def figures(
    name: str, predictions: list[str], references: list[list[str]]
) -> tuple[list[float], float]:
    """The value of each answer, and of all."""
    metric = get_metric(name)
    assert isinstance(metric, TextMetric)
    stats = metric.statistics(predictions, references)
    whole = float(metric.aggregate(stats.sum(axis=0), np.array(float(len(stats)))))
    return metric.per_sample(stats).tolist(), whole


def test_repetition_lowers_distinct() -> None:
    answers = ["a b c d", "no no No no", "a b a b", "", "one"]
    each, whole = figures("distinct:2", answers, [["x"]] * 5)
    assert each == pytest.approx([1, 1 / 3, 2 / 3, 1, 1])
    assert whole == pytest.approx(4 / 5)
    assert figures("distinct:1", answers[:2], [["x"]] * 2)[0] == [1, 0.25]


@pytest.mark.parametrize("name", ["distinct", "distinct:0", "distinct:x", "distinct:-1"])
def test_distinct_needs_the_length_of_its_n_grams(name: str) -> None:
    with pytest.raises(UsageError, match="n-grams") as caught:
        get_metric(name)
    assert "distinct:2" in caught.value.fix


def test_words_are_counted() -> None:
    assert figures("words", ["a b  c\n", ""], [["x"], ["y"]]) == ([3, 0], 1.5)


def test_the_length_ratio_is_one_of_sums_with_the_closest_references() -> None:
    each, whole = figures(
        "length_ratio", ["a b c", "a", ""], [["a b", "a b c d e"], ["a b"], ["a b c d e f"]]
    )
    assert each == pytest.approx([1.5, 0.5, 0])
    assert whole == pytest.approx(4 / 10)
    assert figures("length_ratio", ["a"], [[]]) == ([0], 0)
