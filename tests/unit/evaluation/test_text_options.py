"""Options of metrics of texts: forms of Unicode, stemming; and TER."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.ter import TER

from luthier.core.errors import UsageError
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.metrics.base import MeanMetric
from luthier.evaluation.statistics.bootstrap import Units
from luthier.records.evaluation import SampleRecord

SAID = ["The cats were running quickly", "a dog barks", "", "Der Ärger über Öl"]
TRUE = ["The cat runs quick", "a dog barked loudly", "silence", "Der Ärger über das Öl"]
WRITTEN = ["exact_match", "em", "token_f1", "rouge1", "rougeLsum", "bleu", "chrf", "chrf++", "ter"]


def samples(said: Sequence[str], true: Sequence[Sequence[str]]) -> list[SampleRecord]:
    return [
        SampleRecord(
            id=str(n), prompt="", prediction=x, references=tuple(y), scores={}, finish="stop"
        )
        for n, (x, y) in enumerate(zip(said, true, strict=True))
    ]


def value(name: str, said: Sequence[str], true: Sequence[Sequence[str]]) -> float:
    metric = get_metric(name)
    return Units.of(metric.measure(samples(said, true))).figure(metric.aggregate)


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize(("option", "form"), [("nfc", "NFD"), ("nfkc", "NFKD"), ("nfkc", "NFKC")])
def test_forms_of_unicode_are_one_where_wanted(name: str, option: str, form: Any) -> None:
    texts = ["Café über 東京", "naïve ﬁle", "Ⅳ ½ Å"]
    said = [unicodedata.normalize(form, text) for text in texts]
    accepted = [[text] for text in texts]
    normal = [unicodedata.normalize("NFC" if option == "nfc" else "NFKC", t) for t in texts]
    best = value(name, normal, [[text] for text in normal])
    assert value(f"{name}:{option}", said, accepted) == pytest.approx(best)
    assert get_metric(f"{name}:{option}").signature(accepted).endswith(f"|unicode:{option.upper()}")
    assert isinstance(get_metric(f"{name}:{option}"), MeanMetric) is isinstance(
        get_metric(name), MeanMetric
    )


def test_a_form_that_matters_is_said() -> None:
    plain, apart = "Café", unicodedata.normalize("NFD", "Café")
    (caveat,) = get_metric("exact_match").caveats(samples([apart, "x"], [[plain], ["x"]]))
    assert "1 of 2 answers have words of their references only after" in caveat
    assert "(NFC)" in caveat
    (caveat,) = get_metric("chrf").caveats(samples(["ﬁle"], [["file"]]))
    assert "(NFKC)" in caveat
    assert not get_metric("exact_match").caveats(samples([plain, "tea"], [[plain], ["Tee"]]))
    assert not get_metric("exact_match:nfc").caveats(samples([apart], [[plain]]))


HIDDEN = ["\u200b", "\u2060", "\ufeff", "\u00ad", "\u200e"]


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_is_not_shown_is_left_out_where_wanted(name: str, hidden: str) -> None:
    said = [f"Par{hidden}is is{hidden} a city", f"{hidden}yes"]
    accepted = [["Paris is a city"], ["yes"]]
    best = value(name, [text.replace(hidden, "") for text in said], accepted)
    for option in ("visible", "nfc+visible", "visible+nfkc"):
        assert value(f"{name}:{option}", said, accepted) == pytest.approx(best)
        assert "|invisible:left-out" in get_metric(f"{name}:{option}").signature(accepted)
    (caveat,) = get_metric(name).caveats(samples(said, accepted))
    assert "2 of 2 answers have words of their references only without characters" in caveat
    assert ":visible" in caveat
    assert not get_metric(f"{name}:visible").caveats(samples(said, accepted))


def test_empty_references_are_said() -> None:
    for name in ("exact_match", "chrf", "bleu", "em"):
        caveats = get_metric(name).caveats(samples(["a", "b"], [[""], ["", "b"]]))
        assert "1 of 2 examples have only empty references" in caveats


@pytest.mark.parametrize("reference", ["A", "the", "?", "An."])
@pytest.mark.parametrize("name", ["em", "token_f1"])
def test_a_reference_of_which_squads_rules_leave_nothing_is_said(name: str, reference: str) -> None:
    caveats = get_metric(name).caveats(samples(["A", "b"], [[reference], ["b"]]))
    assert any("1 of 2 examples have a reference without words" in text for text in caveats)
    assert not get_metric(name).caveats(samples(["A b", "b"], [["A b"], ["b"]]))


@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL", "rougeLsum"])
def test_stemmed_rouge_is_the_reference_implementations(kind: str) -> None:
    scorer = RougeScorer([kind], use_stemmer=True)
    expected = [scorer.score(t, s)[kind].fmeasure for s, t in zip(SAID, TRUE, strict=True)]
    references = [[text] for text in TRUE]
    assert value(f"{kind}:stem", SAID, references) == pytest.approx(sum(expected) / len(SAID))
    assert "stemmer:porter" in get_metric(f"{kind}:stem").signature(references)
    assert "stemmer:no" in get_metric(kind).signature(references)
    stemmed = get_metric(f"{kind}:nfc+stem").measure(samples(SAID, references))
    assert (stemmed == get_metric(f"{kind}:stem").measure(samples(SAID, references))).all()


def test_ter_is_sacrebleus() -> None:
    references = [[a, b] for a, b in zip(TRUE, SAID[::-1], strict=True)]
    references[2] = ["silence", "none at all"]
    streams = [list(stream) for stream in zip(*references, strict=True)]
    metric = get_metric("ter")
    assert value("ter", SAID, references) == pytest.approx(TER().corpus_score(SAID, streams).score)
    assert value("ter", SAID, [[text] for text in TRUE]) == pytest.approx(
        TER().corpus_score(SAID, [TRUE]).score
    )
    assert not metric.higher_is_better
    assert metric.signature(references).startswith("nrefs:2|case:lc|tok:tercom")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("exact_match:stem", "exact_match has no option 'stem'"),
        ("rouge1:nfd", "rouge1 has no option 'nfd'"),
        ("bleu:nfc+nfkc", "two forms of Unicode"),
    ],
)
def test_an_unknown_option_is_refused(name: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        get_metric(name)
