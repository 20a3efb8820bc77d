"""Our metrics give the numbers of the libraries that define them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from luthier.evaluation.metrics import Metric, get_metric

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
SACREBLEU = {
    "bleu": BLEU,
    "chrf": CHRF,
    "chrf++": lambda: CHRF(word_order=2),
}

PREDICTIONS = [
    "Return the size of a file, reported by os.stat().",
    "",
    "Café Müller öffnet um 9 Uhr.",
    "Join two or more pathname components,\ninserting '/' as needed .",
    "the the the the the",
    "日本語のテキスト",
    "yes",
]
REFERENCES = [
    ["Return the size of a file, reported by os.stat().", "Give a file's size in bytes."],
    ["Test whether a path is absolute"],
    ["Das Café Müller öffnet um neun.", "Café Müller öffnet um 9 Uhr", "Geöffnet ab neun Uhr"],
    ["Join one or more path components intelligently.\nInsert '/' as needed."],
    ["the cat sat on the mat", ""],
    ["日本語の文章", "テキスト"],
    ["no", "Yes, it does."],
]

words = st.sampled_from(["the", "cat", "sat", "on", "mat", ".", "Ä", "9", "\n"])
texts = st.lists(words, max_size=12).map(" ".join)
corpora = st.lists(
    st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), min_size=1, max_size=5
)


def corpus(metric: Metric, predictions: list[str], references: list[list[str]]) -> float:
    stats = metric.statistics(predictions, references)
    return float(metric.aggregate(stats.sum(axis=0), np.float64(len(predictions))))


def streams(references: list[list[str]]) -> list[list[str | None]]:
    most = max(map(len, references))
    return [[row[i] if i < len(row) else None for row in references] for i in range(most)]


@pytest.mark.parametrize("name", ROUGE)
def test_rouge_equals_rouge_score(name: str) -> None:
    scorer = RougeScorer([name])
    expected = [
        max(scorer.score(reference, prediction)[name].fmeasure for reference in references)
        for prediction, references in zip(PREDICTIONS, REFERENCES, strict=True)
    ]
    metric = get_metric(name)
    assert metric.per_sample(metric.statistics(PREDICTIONS, REFERENCES)).tolist() == expected
    assert corpus(metric, PREDICTIONS, REFERENCES) == pytest.approx(np.mean(expected), abs=1e-15)


@pytest.mark.parametrize(
    ("name", "prediction", "reference", "expected"),
    [
        # Two of three words in common, both texts of three words: P = R = 2/3.
        ("rouge1", "the cat sat", "the cat ran", 2 / 3),
        # One of two bigrams in common.
        ("rouge2", "the cat sat", "the cat ran", 1 / 2),
        # "police ... the gunman" has length 3 of 4 (Lin 2004, section 3.1).
        ("rougeL", "police kill the gunman", "police killed the gunman", 3 / 4),
        # "the gunman" only (Lin 2004, section 3.1).
        ("rougeL", "the gunman kill police", "police killed the gunman", 2 / 4),
        # The union of w1 w2 and w1 w3 w5 is 4 of 5 (Lin 2004, section 3.2): R 4/5, P 4/10.
        ("rougeLsum", "w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", "w1 w2 w3 w4 w5", 2 * 0.4 * 0.8 / 1.2),
        # Without stemming, other forms of a word are other words.
        ("rouge1", "running cats", "run cat", 0.0),
        # Case and punctuation do not count.
        ("rouge1", "The CAT!", "(the) cat", 1.0),
    ],
)
def test_rouge_by_hand(name: str, prediction: str, reference: str, expected: float) -> None:
    assert corpus(get_metric(name), [prediction], [[reference]]) == pytest.approx(expected)


@pytest.mark.parametrize("name", SACREBLEU)
def test_corpus_score_and_signature_equal_sacrebleu(name: str) -> None:
    scorer = SACREBLEU[name]()
    expected = scorer.corpus_score(PREDICTIONS, streams(REFERENCES)).score
    metric = get_metric(name)
    assert corpus(metric, PREDICTIONS, REFERENCES) == expected
    assert metric.signature(REFERENCES) == str(scorer.get_signature())
    assert "nrefs:var" in metric.signature(REFERENCES)


@pytest.mark.parametrize("name", SACREBLEU)
@settings(deadline=None, max_examples=60)
@given(rows=corpora)
def test_any_corpus_equals_sacrebleu(name: str, rows: list[tuple[str, list[str]]]) -> None:
    predictions, references = [row[0] for row in rows], [row[1] for row in rows]
    expected = SACREBLEU[name]().corpus_score(predictions, streams(references)).score
    assert corpus(get_metric(name), predictions, references) == within(name, expected)


@pytest.mark.parametrize(("name", "settings_"), [("bleu", {"effective_order": True}), ("chrf", {})])
def test_sentence_scores_equal_sacrebleu(name: str, settings_: dict[str, bool]) -> None:
    scorer = {"bleu": BLEU, "chrf": CHRF}[name](**settings_)
    expected = [
        scorer.sentence_score(prediction, references).score
        for prediction, references in zip(PREDICTIONS, REFERENCES, strict=True)
    ]
    metric = get_metric(name)
    scores = metric.per_sample(metric.statistics(PREDICTIONS, REFERENCES)).tolist()
    assert scores == [within(name, score) for score in expected]


def within(name: str, score: float) -> float:
    """Sacrebleu's BLEU of a perfect answer is 100.00000000000004."""
    return min(score, get_metric(name).bounds[1])


def test_default_signatures() -> None:
    single = [["a"], ["b"]]
    bleu = get_metric("bleu").signature(single)
    assert bleu.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    chrf = get_metric("chrf").signature(single)
    assert chrf.startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    assert "|nw:2|" in get_metric("chrf++").signature(single)


def test_bleu_of_an_empty_prediction_is_zero() -> None:
    assert corpus(get_metric("bleu"), [""], [["a reference"]]) == 0.0


def test_dialogsum_with_three_references() -> None:
    """Real summaries: the first annotator is measured against the other two."""
    path = Path(os.environ.get("LUTHIER_DATA", "")) / "dialogsum" / "dialogsum.test.jsonl"
    if not path.is_file():
        pytest.skip("LUTHIER_DATA does not hold dialogsum")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:60]]
    predictions = [row["summary1"] for row in rows]
    references = [[row["summary2"], row["summary3"]] for row in rows]
    for name in ROUGE:
        scorer = RougeScorer([name])
        expected = [
            scorer.score_multi(refs, text)[name].fmeasure
            for text, refs in zip(predictions, references, strict=True)
        ]
        assert corpus(get_metric(name), predictions, references) == pytest.approx(np.mean(expected))
    for name, make in SACREBLEU.items():
        expected_score = make().corpus_score(predictions, streams(references)).score
        assert corpus(get_metric(name), predictions, references) == expected_score
