"""Metrics of classes, confusion and calibration give scikit-learn's numbers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
)

from luthier.core.probability import softmax
from luthier.evaluation.class_report import class_report
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.reliability import reliability
from luthier.evaluation.statistics.bootstrap import Resampling, bootstrap_interval
from luthier.records.evaluation import SampleRecord

LABELS = ("a", "b", "c", "d")
NONE = "none"
RESAMPLING = Resampling(0, 200, 0.95)


def samples(predicted: Sequence[str], true: Sequence[str]) -> list[SampleRecord]:
    return [
        SampleRecord(
            id=str(index), prompt="", prediction=said, references=(gold,), choices=LABELS,
            scores={}, finish="stop",
        )
        for index, (said, gold) in enumerate(zip(predicted, true, strict=True))
    ]  # fmt: skip


def cases() -> list[tuple[list[str], list[str]]]:
    """Answers and labels of all sizes, with classes that are never right, never said, or absent."""
    generator = np.random.default_rng(0)
    found = []
    for number in range(200):
        n = int(generator.integers(1, 40))
        seen = LABELS[: int(generator.integers(1, 5))]
        said = (*LABELS[int(generator.integers(0, 4)) :], *([NONE] if number % 2 else []))
        true = list(generator.choice(seen, n))
        guessed = generator.choice(said, n)
        keep = generator.random(n) < generator.random()
        predicted = [t if k else str(g) for t, g, k in zip(true, guessed, keep, strict=True)]
        found.append((predicted, [str(label) for label in true]))
    return found


CASES = cases()


def value(name: str, answered: list[SampleRecord]) -> float:
    metric = get_metric(name)
    return float(metric.aggregate(metric.measure(answered).sum(axis=0), np.float64(len(answered))))


@pytest.mark.parametrize("number", range(len(CASES)))
@pytest.mark.filterwarnings("ignore")  # of scikit-learn, about classes without examples
def test_metrics_of_classes(number: int) -> None:
    predicted, true = CASES[number]
    answered = samples(predicted, true)
    assert value("accuracy", answered) == pytest.approx(accuracy_score(true, predicted))
    expected = balanced_accuracy_score(true, predicted)
    assert value("balanced_accuracy", answered) == pytest.approx(expected)
    every = {"labels": LABELS, "zero_division": 0}
    macro = f1_score(true, predicted, average="macro", **every)
    assert value("macro_f1", answered) == pytest.approx(macro)
    assert value("matthews", answered) == pytest.approx(matthews_corrcoef(true, predicted))
    for name, reference in (
        ("precision", precision_score), ("recall", recall_score), ("f1", f1_score),
    ):  # fmt: skip
        each = reference(true, predicted, average=None, **every)
        found = [value(f"{name}:{label}", answered) for label in LABELS]
        assert found == pytest.approx(list(each)), name


@pytest.mark.parametrize("number", range(0, len(CASES), 20))
@pytest.mark.filterwarnings("ignore")
def test_the_confusion_matrix(number: int) -> None:
    predicted, true = CASES[number]
    report = class_report(samples(predicted, true), RESAMPLING)
    assert report is not None
    whole = confusion_matrix(true, predicted, labels=[*LABELS, NONE])
    assert [list(row) for row in report.confusion] == whole[:-1].tolist()
    assert [each.n for each in report.classes] == whole[:-1].sum(axis=1).tolist()
    assert [each.predicted for each in report.classes] == whole.sum(axis=0)[:-1].tolist()


@pytest.mark.parametrize(("kind", "column"), [("recall", 1), ("precision", 0)])
def test_the_interval_of_a_share_of_single_examples_is_wilsons(kind: str, column: int) -> None:
    predicted, true = CASES[5]
    answered = samples(predicted, true)
    for label in LABELS:
        metric = get_metric(f"{kind}:{label}")
        estimate = bootstrap_interval(metric, metric.measure(answered), RESAMPLING)
        trials = (predicted, true)[column].count(label)
        if not trials:
            assert estimate.no_interval
            continue
        right = sum(a == b == label for a, b in zip(predicted, true, strict=True))
        known = binomtest(right, trials).proportion_ci(0.95, method="wilson")
        assert (estimate.low, estimate.high) == pytest.approx((known.low, known.high), abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_calibration(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n = int(generator.integers(1, 300))
    scores = generator.normal(scale=generator.uniform(0.1, 5), size=(n, len(LABELS)))
    places = scores.argmax(axis=1)
    true = [LABELS[p] if generator.random() < 0.6 else "a" for p in places]
    answered = [
        sample.model_copy(update={"likelihoods": tuple(row), "words": LABELS})
        for sample, row in zip(
            samples([LABELS[p] for p in places], true), scores.tolist(), strict=True
        )
    ]
    sure = np.array([max(softmax(row)) for row in scores.tolist()])
    right = np.array([LABELS[p] == gold for p, gold in zip(places, true, strict=True)])
    with warnings.catch_warnings(action="ignore"):
        accuracy, confidence = calibration_curve(right, sure, n_bins=10)
    found = reliability(answered, RESAMPLING)
    assert found is not None
    bins = [each for each in found.bins if each.n]
    assert [each.accuracy for each in bins] == pytest.approx(list(accuracy))
    assert [each.confidence for each in bins] == pytest.approx(list(confidence))
    counts = np.array([each.n for each in bins])
    error = float((counts * np.abs(accuracy - confidence)).sum() / n)
    assert found.ece.value == pytest.approx(error)
    assert value("ece", answered) == found.ece.value


def test_an_edge_belongs_to_the_bin_below_it() -> None:
    """As in Guo et al.'s ((m - 1) / M, m / M], whatever 0.7 * 10 rounds to."""
    metric = get_metric("ece")
    for tenth in range(6, 10):
        sure = tenth / 10
        (sample,) = samples(["a"], ["a"])
        two = {"choices": ("a", "b"), "likelihoods": (float(np.log(sure)), float(np.log1p(-sure)))}
        cells = metric.measure([sample.model_copy(update=two)]).reshape(10, 3)
        (place,) = np.flatnonzero(cells[:, 0])
        share = cells[place, 1]
        edges = np.linspace(0, 1, 11)
        assert edges[place] < share <= edges[place + 1]
