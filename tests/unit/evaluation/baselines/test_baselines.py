"""Baselines answer as they say, and are stored without pickles."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.evaluation.baselines import fit_baseline, load_baseline
from luthier.evaluation.baselines.base import Frame, question_text
from luthier.evaluation.baselines.lead import first_sentence
from luthier.evaluation.predicting.base import Predictor
from luthier.records.evaluation import SampleRecord

CHOICES = ("up", "down", "left")
WORDS = {"up": "sky cloud bird", "down": "cave root mole", "left": "heart hand wing"}


def row(text: str, answer: str = "", choices: tuple[str, ...] = ()) -> Example:
    said = f"Where is it?\nThing: {text}\nAnswer:"
    return Example(text, (Message("user", said),), (answer,) if answer else (), choices=choices)


TRAIN = [
    row(f"a {word} of size {n}", answer, CHOICES)
    for n in range(8)
    for answer, words in WORDS.items()
    for word in words.split()
][:-4]


def answers(predictor: Predictor, *examples: Example) -> tuple[SampleRecord, ...]:
    return predictor.predict(examples, Console(quiet=True), "rows").samples


def test_majority_answers_the_most_frequent_choice_with_smoothed_shares() -> None:
    train = [*[row(str(n), "down", CHOICES) for n in range(3)], row("x", "up", CHOICES)]
    (sample,) = answers(fit_baseline("majority", train), row("anything", choices=CHOICES))
    assert sample.prediction == "down"
    shares = [math.exp(value) for value in sample.likelihoods]
    assert shares == pytest.approx([2 / 7, 4 / 7, 1 / 7])


@pytest.mark.parametrize("choices", [CHOICES, CHOICES[:2]])
def test_linear_is_scikit_learns_own(choices: tuple[str, ...]) -> None:
    """Two classes are stored in one row of coefficients there, and in two rows here."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train = [one for one in TRAIN if one.references[0] in choices]
    train = [row(one.id, one.references[0], choices) for one in train]
    asked = ["a cloud", "many moles", "wings and hands", "a stone"]
    peer = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        LogisticRegression(C=10.0, max_iter=1000),
    )
    baseline = fit_baseline("linear", train)
    content = [baseline.frame.content(question_text(one)) for one in train]
    peer.fit(content, [one.references[0] for one in train])
    rows = [row(text, choices=choices) for text in asked]
    texts = [baseline.frame.content(question_text(one)) for one in rows]
    expected = peer.predict_proba(texts)[:, [list(peer.classes_).index(c) for c in choices]]
    made = answers(baseline, *rows)
    found = np.exp([sample.likelihoods for sample in made])
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert [s.prediction for s in made] == [choices[i] for i in expected.argmax(axis=1)]


def test_linear_gives_a_choice_that_it_never_saw_almost_nothing() -> None:
    (sample,) = answers(fit_baseline("linear", TRAIN), row("a cloud", choices=(*CHOICES, "right")))
    assert sample.prediction == "up"
    assert math.exp(sample.likelihoods[-1]) == pytest.approx(1e-9)


def test_linear_needs_two_answers() -> None:
    with pytest.raises(DataError, match="all 2 training examples have the answer 'up'"):
        fit_baseline("linear", [row("a", "up", CHOICES), row("b", "up", CHOICES)])


def test_nearest_gives_the_answer_of_the_most_similar_question() -> None:
    train = [row("the red fox runs", "fox"), row("an old boat sinks", "boat")]
    nearest = fit_baseline("nearest", train)
    found = answers(nearest, row("old boats"), row("red foxes run"), row("an old boat sinks"))
    assert [sample.prediction for sample in found] == ["boat", "fox", "boat"]
    assert not any(sample.likelihoods for sample in found)


def test_lead_takes_the_first_sentence_of_the_rows_own_text() -> None:
    train = [row("One thing. More."), row("Another thing! More.")]
    (sample,) = answers(fit_baseline("lead", train), row("It rains today. We stay."))
    assert sample.prediction == "It rains today."


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two.", "One."),
        ("No end", "No end"),
        ('"Stop!" he said. Then', '"Stop!"'),
        ("A title\nThe text.", "A title"),
        ("雨です。行きません。", "雨です。"),
        ("Is 3.5 more? Yes.", "Is 3.5 more?"),
        ("", ""),
    ],
)
def test_sentences_end_where_their_marks_are(text: str, first: str) -> None:
    assert first_sentence(text) == first


@pytest.mark.parametrize("name", ["majority", "linear", "nearest", "lead"])
def test_a_stored_baseline_answers_the_same(tmp_path: Path, name: str) -> None:
    baseline = fit_baseline(name, TRAIN)
    baseline.save(tmp_path)
    loaded = load_baseline(name, tmp_path)
    asked = [row(text, choices=CHOICES) for text in ("a bird", "roots", "two hands")]
    assert answers(loaded, *asked) == answers(baseline, *asked)
    assert loaded.stamp(name) == baseline.stamp(name)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors"}


def test_damaged_arrays_are_refused(tmp_path: Path) -> None:
    fit_baseline("linear", TRAIN).save(tmp_path)
    path = tmp_path / "baseline.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError):
        load_baseline("linear", tmp_path)
    fit_baseline("linear", TRAIN[:20]).save(tmp_path / "other")
    (tmp_path / "other" / "baseline.safetensors").rename(path)
    with pytest.raises(DataError, match="do not fit"):
        load_baseline("linear", tmp_path)


def test_the_frame_is_removed_as_far_as_a_prompt_has_it() -> None:
    """All training rows begin with "a", which other rows need not."""
    frame = Frame.of([question_text(row("a fox")), question_text(row("a boat"))])
    assert frame.content(question_text(row("a heron"))) == "heron"
    assert frame.content(question_text(row("two herons"))) == "two herons"
    assert Frame().content(" as it is ") == "as it is"


@settings(max_examples=60)
@given(
    st.text("ab \n", max_size=6),
    st.text("xy \n", max_size=6),
    st.lists(st.text("uvw ", min_size=1, max_size=6), min_size=2, max_size=5, unique=True),
)
def test_a_frame_is_shared_by_all_and_cuts_no_word(
    before: str, after: str, cores: list[str]
) -> None:
    texts = [before + core + after for core in cores]
    frame = Frame.of(texts)
    for text in texts:
        assert text.startswith(frame.before)
        assert text.endswith(frame.after)
        assert len(frame.before) + len(frame.after) <= len(text)
    assert not frame.before or frame.before[-1].isspace()
    assert not frame.after or frame.after[0].isspace()
