from __future__ import annotations

import numpy as np
import pytest

from luthier.evaluation.metrics import get_metric
from luthier.records.evaluation import SampleRecord


def answered(prediction: str, *references: str) -> SampleRecord:
    return SampleRecord(
        id="1", prompt="?", prediction=prediction, references=references, scores={}, finish="stop"
    )


def test_warns_of_text_that_rouge_cannot_see() -> None:
    metric = get_metric("rougeL")
    (caveat,) = metric.caveats([answered("a", "Привет, мир"), answered("b", "hello")])
    assert "rougeL ignores 64%" in caveat
    assert "chrf suits" in caveat


def test_does_not_warn_of_a_few_accents_or_of_no_text() -> None:
    metric = get_metric("rougeL")
    assert metric.caveats([answered("a", "A café in the middle of a long English sentence.")]) == ()
    assert metric.caveats([answered("a", "", "?!")]) == ()


@pytest.mark.parametrize("name", ["rouge1", "rougeL", "bleu", "chrf", "chrf++", "exact_match"])
def test_empty_answers_score_nothing_and_are_counted(name: str) -> None:
    metric = get_metric(name)
    samples = [answered("", "one two three four"), answered(" \n", "five six seven eight")]
    statistics = metric.measure(samples)
    assert metric.per_sample(statistics).tolist() == [0.0, 0.0]
    assert float(metric.aggregate(statistics.sum(axis=0), np.float64(2))) == 0.0
    assert metric.caveats(samples) == ("2 of 2 answers are empty",)
    assert metric.caveats([answered("one", "one")]) == ()


def test_what_rouge_cannot_see_scores_nothing_and_chrf_sees_it() -> None:
    same = [answered("Привет, мир", "Привет, мир")]
    scores = {}
    for name in ("rougeL", "chrf"):
        metric = get_metric(name)
        scores[name] = metric.per_sample(metric.measure(same)).tolist()
    assert scores == {"rougeL": [0.0], "chrf": [100.0]}


def test_signature_names_stemming_and_version() -> None:
    signature = get_metric("rouge2").signature([["a"]])
    assert signature.startswith("rouge2|measure:f|refs:best|stemmer:no|agg:mean|rouge_score:0.")
