from __future__ import annotations

from luthier.evaluate.metrics import get_metric


def test_warns_of_text_that_rouge_cannot_see() -> None:
    metric = get_metric("rougeL")
    (caveat,) = metric.caveats([["Привет, мир"], ["hello"]])
    assert "64%" in caveat
    assert "chrf" in caveat


def test_does_not_warn_of_a_few_accents_or_of_no_text() -> None:
    metric = get_metric("rougeL")
    assert metric.caveats([["A café in the middle of a long English sentence."]]) == ()
    assert metric.caveats([["", "?!"]]) == ()


def test_signature_names_stemming_and_version() -> None:
    signature = get_metric("rouge2").signature([["a"]])
    assert signature.startswith("rouge2|measure:f|refs:best|stemmer:no|agg:mean|rouge_score:0.")
