"""Metrics of answers that were chosen by likelihood, alone and in sets."""

from __future__ import annotations

import math

import numpy as np
import pytest

from luthier.core.errors import DataError, UsageError
from luthier.evaluation.metrics import get_metric
from luthier.records.evaluation import SampleRecord


def scored(likelihoods: tuple[float, ...], words: tuple[str, ...], right: str) -> SampleRecord:
    choices = tuple("abcd"[: len(words)])
    return SampleRecord(
        id="1",
        prompt="",
        prediction=choices[likelihoods.index(max(likelihoods))],
        references=(right,),
        choices=choices,
        words=words,
        likelihoods=likelihoods,
        scores={},
        finish="stop",
    )


def value(name: str, *samples: SampleRecord) -> float:
    metric = get_metric(name)
    return float(metric.aggregate(metric.measure(samples).sum(axis=0), np.float64(len(samples))))


def test_accuracies_differ_in_what_a_likelihood_is_divided_by() -> None:
    # Per character -1, -0.9 and -2; per byte -1, -0.9 and -0.5.
    sample = scored((-2.0, -4.5, -2.5), ("no", "maybe", "é€"), "b")
    assert value("acc", sample) == 0
    assert value("acc_norm", sample) == 1
    sample = scored((-3.0, -4.5, -2.1), ("yes", "maybe", "é€"), "c")
    assert value("acc_norm", sample) == 0
    assert value("acc_bytes", sample) == 1


def test_of_equally_likely_choices_the_first_counts() -> None:
    assert value("acc", scored((-1.0, -1.0), ("x", "y"), "a")) == 1
    assert value("acc", scored((-1.0, -1.0), ("x", "y"), "b")) == 0


def test_a_sample_without_likelihoods_is_refused() -> None:
    bare = scored((-1.0, -2.0), ("x", "y"), "a").model_copy(update={"likelihoods": ()})
    for name in ("acc", "acc_norm", "acc_bytes", "ece"):
        with pytest.raises(DataError, match="needs the likelihood"):
            get_metric(name).measure([bare])


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    sure = scored((math.log(0.95), math.log(0.05)), ("x", "y"), "a")
    wrong = scored((math.log(0.85), math.log(0.15)), ("x", "y"), "b")
    unsure = scored((math.log(0.55), math.log(0.45)), ("x", "y"), "a")
    assert value("ece", sure) == pytest.approx(0.05)
    assert value("ece", sure, wrong, unsure) == pytest.approx((0.05 + 0.85 + 0.45) / 3)
    # In one bin the errors of a confidence that is right on average cancel.
    half = [scored((math.log(0.55), math.log(0.45)), ("x", "y"), right) for right in "ab"]
    assert value("ece", *half) == pytest.approx(0.05)


def test_the_score_of_a_set_does_not_depend_on_its_size() -> None:
    def part(of: str, prediction: str, right: str) -> SampleRecord:
        sample = scored((-1.0, -2.0), ("x", "y"), right)
        return sample.model_copy(update={"question_id": of, "prediction": prediction})

    answers = [
        part("q1", "a", "a"),
        part("q1", "b", "b"),
        part("q1", "b", "b"),
        part("q2", "a", "a"),
        part("q2", "a", "b"),
        part("q3", "a", "b"),
    ]
    assert value("all_right", *answers) == pytest.approx(1 / 3)
    assert value("parity", *answers) == pytest.approx(2 / 3)
    metric = get_metric("all_right")
    assert metric.per_sample(metric.measure(answers)).tolist() == [1, 1, 1, 0, 0, 0]
    with pytest.raises(DataError, match="this one is single"):
        metric.measure([part("", "a", "a")])


def test_squads_scores_ignore_case_punctuation_and_articles() -> None:
    f1, em = get_metric("token_f1"), get_metric("em")
    assert em.statistics(["The Eiffel Tower!"], [["eiffel tower", "Paris"]])[0, 0] == 1
    assert f1.statistics(["a tower in Paris"], [["the Eiffel Tower"]])[0, 0] == pytest.approx(2 / 5)
    assert f1.statistics([""], [["the"]])[0, 0] == 1
    assert f1.statistics([""], [["tower"]])[0, 0] == 0


def test_a_metric_takes_the_argument_after_its_colon() -> None:
    assert get_metric("f1:duplicate").name == "f1:duplicate"
    assert get_metric("match:strict").name == "match:strict"
    with pytest.raises(UsageError, match="name of an extractor"):
        get_metric("match")
    with pytest.raises(UsageError, match="cannot be loaded") as caught:
        get_metric("acc:yes")
    assert "without ':yes'" in caught.value.fix
    with pytest.raises(UsageError, match="unknown metric 'acuracy:x'"):
        get_metric("acuracy:x")
