"""Metrics of labels and numbers, against formulas written out and against scipy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from luthier.core.errors import DataError, UsageError
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.statistics.bootstrap import Resampling, bootstrap_interval
from luthier.evaluation.statistics.significance import paired_test
from luthier.records.evaluation import SampleRecord

LABELS = ("yes", "no", "maybe")
TRUE = ["yes", "yes", "yes", "no", "no", "maybe", "maybe", "no"]
PREDICTED = ["yes", "no", "yes", "no", "yes", "maybe", "no", "neither"]


def samples(
    predicted: Sequence[str], true: Sequence[str], choices: tuple[str, ...] = LABELS
) -> list[SampleRecord]:
    return [
        SampleRecord(
            id=str(index),
            prompt="",
            prediction=prediction,
            references=(reference,),
            choices=choices,
            scores={},
            finish="stop",
        )
        for index, (prediction, reference) in enumerate(zip(predicted, true, strict=True))
    ]


def value(name: str, answered: list[SampleRecord]) -> float:
    metric = get_metric(name)
    stats_ = metric.measure(answered)
    return float(metric.aggregate(stats_.sum(axis=0), np.float64(len(answered))))


def f1(label: str) -> float:
    pairs = list(zip(PREDICTED, TRUE, strict=True))
    right = pairs.count((label, label))
    return 2 * right / (PREDICTED.count(label) + TRUE.count(label))


def test_f1_is_of_the_label_that_is_named() -> None:
    answered = samples(PREDICTED, TRUE)
    assert value("f1:yes", answered) == pytest.approx(f1("yes")) == pytest.approx(2 / 3)
    assert value("f1:no", answered) == pytest.approx(f1("no"))
    assert value("macro_f1", answered) == pytest.approx(np.mean([f1(label) for label in LABELS]))


def test_f1_of_a_label_that_never_occurs_is_zero() -> None:
    assert value("f1:maybe", samples(["yes", "no"], ["no", "no"])) == 0


def test_f1_needs_a_label_of_the_task() -> None:
    with pytest.raises(UsageError, match="needs the positive label"):
        get_metric("f1")
    with pytest.raises(DataError, match="does not have"):
        get_metric("f1:perhaps").measure(samples(PREDICTED, TRUE))


def test_matthews_of_two_labels_is_pearsons_correlation_of_zeros_and_ones() -> None:
    generator = np.random.default_rng(0)
    true = generator.integers(2, size=50)
    predicted = np.where(generator.random(50) < 0.7, true, 1 - true)
    answered = samples(list(map(str, predicted)), list(map(str, true)), ("0", "1"))
    assert value("matthews", answered) == pytest.approx(stats.pearsonr(predicted, true)[0])


def test_matthews_of_one_label_is_zero_and_warned_about() -> None:
    answered = samples(["0", "1"], ["1", "1"], ("0", "1"))
    metric = get_metric("matthews")
    assert value("matthews", answered) == 0
    assert "all examples have the label '1'" in metric.caveats(answered)[0]
    always = samples(["1", "1"], ["0", "1"], ("0", "1"))
    assert value("matthews", always) == 0
    assert metric.caveats(always) == (
        "every answer is the label '1': matthews is undefined there and given as 0",
    )
    f1 = get_metric("macro_f1")
    assert f1.caveats(always) == ("every answer is the label '1'",)
    assert value("macro_f1", always) > 0
    assert metric.caveats(samples(["0", "1"], ["0", "1"], ("0", "1"))) == ()


def test_labels_must_be_the_same_for_all() -> None:
    mixed = [*samples(["a"], ["a"], ("a", "b")), *samples(["a"], ["a"], ("a", "c"))]
    with pytest.raises(DataError, match="same labels"):
        get_metric("macro_f1").measure(mixed)


def test_a_sample_alone_is_right_or_wrong() -> None:
    metric = get_metric("macro_f1")
    per_sample = metric.per_sample(metric.measure(samples(PREDICTED, TRUE)))
    assert per_sample.tolist() == [float(a == b) for a, b in zip(PREDICTED, TRUE, strict=True)]


@pytest.mark.parametrize(
    ("name", "reference"), [("pearson", stats.pearsonr), ("spearman", stats.spearmanr)]
)
def test_correlations_are_scipys_in_every_resample(name: str, reference: object) -> None:
    generator = np.random.default_rng(1)
    true = generator.integers(6, size=30) / 2  # with ties
    predicted = np.round(true + generator.normal(size=30), 1)
    answered = samples(list(map(str, predicted)), list(map(str, true)), ())
    metric = get_metric(name)
    statistics = metric.measure(answered)
    weights = generator.multinomial(30, np.full(30, 1 / 30), size=4).astype(float)
    figures = metric.aggregate(weights @ statistics, weights.sum(axis=1))
    for row, figure in zip(weights.astype(int), figures, strict=True):
        expected = reference(np.repeat(predicted, row), np.repeat(true, row))[0]  # type: ignore[operator]
        assert figure == pytest.approx(expected)
    assert value(name, answered) == pytest.approx(reference(predicted, true)[0])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "reference"), [("pearson", stats.pearsonr), ("spearman", stats.spearmanr)]
)
@pytest.mark.parametrize("seed", range(3))
def test_correlations_of_swapped_answers_are_scipys(
    name: str, reference: object, seed: int
) -> None:
    """All 2^8 ways to swap the answers of two systems, each ranked anew."""
    generator = np.random.default_rng(seed)
    true = generator.integers(4, size=8).astype(float)
    a, b = (np.round(true + generator.normal(size=8), 1) for _ in range(2))
    metric = get_metric(name)
    answered = [samples(list(map(str, x)), list(map(str, true)), ()) for x in (a, b)]
    test = paired_test(metric, *map(metric.measure, answered), Resampling(0, 4000, 0.95))
    swaps = np.array(list(itertools.product((False, True), repeat=8)))
    drawn = [
        reference(np.where(swap, a, b), true)[0] - reference(np.where(swap, b, a), true)[0]  # type: ignore[operator]
        for swap in swaps
    ]
    assert test.difference == pytest.approx(drawn[0])
    exact = float(np.mean(np.abs(drawn) >= abs(drawn[0]) - 1e-12))
    assert test.p == pytest.approx(exact, abs=0.04)


def test_spearman_has_an_interval_around_it() -> None:
    generator = np.random.default_rng(2)
    true = generator.normal(size=60)
    answered = samples([f"{x:.3f}" for x in true + generator.normal(size=60)], list(map(str, true)))
    metric = get_metric("spearman")
    estimate = bootstrap_interval(metric, metric.measure(answered), Resampling(0, 300, 0.95))
    assert estimate.low < estimate.value < estimate.high
    assert estimate.high - estimate.low < 0.6


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_equal_numbers_have_no_correlation(name: str) -> None:
    for answered, said in (
        (samples(["1", "2"], ["3", "3"]), "every true value is 3"),
        (samples(["1", "1"], ["3", "4"]), "every answer is 1"),
    ):
        assert value(name, answered) == 0
        assert said in get_metric(name).caveats(answered)[0]


def test_words_are_no_numbers() -> None:
    with pytest.raises(DataError, match="needs numbers"):
        get_metric("pearson").measure(samples(["two"], ["2"]))


def test_spearman_refuses_what_would_fill_the_memory() -> None:
    with pytest.raises(UsageError, match="at most 4,000"):
        get_metric("spearman").measure(samples(["1"] * 4001, ["1"] * 4001))


def test_perplexities_share_the_nats_among_their_units() -> None:
    base = samples(["", ""], ["", ""])
    texts = [
        base[0].model_copy(
            update={"likelihoods": (-6.0,), "counts": {"words": 2, "bytes": 10, "tokens": 3}}
        ),
        base[1].model_copy(
            update={"likelihoods": (-2.0,), "counts": {"words": 2, "bytes": 6, "tokens": 5}}
        ),
    ]
    assert value("perplexity", texts) == pytest.approx(math.exp(8 / 2))
    assert value("word_perplexity", texts) == pytest.approx(math.exp(8 / 4))
    assert value("byte_perplexity", texts) == pytest.approx(math.exp(8 / 16))
    assert value("token_perplexity", texts) == pytest.approx(math.exp(1))
    assert value("bits_per_byte", texts) == pytest.approx(0.5 / math.log(2))
    with pytest.raises(DataError, match="likelihood of a text"):
        get_metric("word_perplexity").measure(base)
