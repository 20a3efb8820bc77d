from __future__ import annotations

import pytest

from luthier.evaluation.metrics.registry import known_metrics
from luthier.records.evaluation import MetricResult
from luthier.reports.metric_words import right_count, words_of

# These come from judged samples or sets and have no usual name; they are shown as they are.
UNNAMED = {"pass@k", "majority", "all_right", "parity", "distinct", "words", "length_ratio"}


@pytest.mark.parametrize("name", sorted(set(known_metrics()) - UNNAMED))
def test_every_usual_metric_has_a_meaning(name: str) -> None:
    assert words_of(name).meaning


def test_an_unknown_metric_is_its_own_title() -> None:
    assert words_of("my_metric:x").title == "my_metric:x"
    assert words_of("rouge1:stem").title == "ROUGE-1 (stem)"


@pytest.mark.parametrize(
    ("name", "value", "n", "right"),
    [
        ("accuracy", 0.66, 100, 66),
        ("exact_match", 2 / 3, 3, 2),
        ("accuracy", 0.0, 7, 0),
        ("accuracy", 0.655, 100, None),  # a mean over groups
        ("rougeL", 0.5, 10, None),
        ("balanced_accuracy", 0.5, 10, None),
        ("macro_f1", 1.0, 10, None),
    ],
)
def test_right_answers_are_counted_where_there_are_some(
    name: str, value: float, n: int, right: int | None
) -> None:
    result = MetricResult(value=value, low=0, high=1, n=n, name=name, signature=name)
    assert right_count(result) == right
