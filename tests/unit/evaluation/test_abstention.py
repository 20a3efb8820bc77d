"""A model that abstains below a confidence."""

from __future__ import annotations

import math

import pytest

from luthier.core.errors import DataError
from luthier.core.probability import softmax
from luthier.evaluation.abstention import THRESHOLDS, abstention
from luthier.evaluation.metrics.confidence import confidence
from luthier.evaluation.reliability import reliability
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.records.evaluation import SampleRecord


def chosen(sure: float, *, right: bool, **more: object) -> SampleRecord:
    """A sample whose answer "a" has the probability ``sure`` of two choices."""
    sample = SampleRecord(
        id="1", prompt="", prediction="a", references=("a" if right else "b",),
        choices=("a", "b"), words=("x", "y"), likelihoods=(math.log(sure), math.log(1 - sure)),
        scores={}, finish="stop",
    )  # fmt: skip
    return sample.model_copy(update=more)


SAMPLES = [
    *(chosen(0.97, right=True) for _ in range(9)),
    chosen(0.97, right=False),
    *(chosen(0.75, right=n < 5) for n in range(10)),
    *(chosen(0.55, right=n < 2) for n in range(10)),
]


@pytest.mark.parametrize(
    ("threshold", "coverage", "accuracy"),
    [(0.01, 1, 16 / 30), (0.6, 20 / 30, 14 / 20), (0.9, 10 / 30, 9 / 10), (0.99, 0, 0)],
)
def test_fewer_answers_are_more_often_right(
    threshold: float, coverage: float, accuracy: float, resampling: Resampling
) -> None:
    found = abstention(SAMPLES, threshold, resampling)
    assert found.coverage.value == pytest.approx(coverage)
    assert found.accuracy.value == pytest.approx(accuracy)
    assert found.coverage.low <= coverage <= found.coverage.high
    if coverage:
        assert found.accuracy.low < accuracy < found.accuracy.high
    else:
        assert found.accuracy.no_interval


def test_the_answer_at_the_threshold_is_given(resampling: Resampling) -> None:
    half = chosen(0.5, right=True)
    assert confidence(half, "it") == (0.5, True)
    assert abstention([half], 0.5, resampling).coverage.value == 1


def test_grouped_examples_tell_less(resampling: Resampling) -> None:
    grouped = [each.model_copy(update={"group": str(n // 5)}) for n, each in enumerate(SAMPLES)]
    alone, together = (abstention(some, 0.6, resampling) for some in (SAMPLES, grouped))
    for one, other in ((alone.coverage, together.coverage), (alone.accuracy, together.accuracy)):
        assert one.value == other.value
        assert other.high - other.low > one.high - one.low


def test_the_usual_thresholds_are_reported(resampling: Resampling) -> None:
    found = reliability(SAMPLES, resampling)
    assert found is not None
    assert tuple(point.threshold for point in found.abstention) == THRESHOLDS
    assert found.abstention[4] == abstention(SAMPLES, 0.9, resampling)
    coverages = [point.coverage.value for point in found.abstention]
    assert coverages == sorted(coverages, reverse=True)


def test_the_confidence_is_that_of_the_answer() -> None:
    """Also where it is not the likeliest, as after a correction of the likelihoods."""
    assert confidence(chosen(0.2, right=True), "it") == (pytest.approx(0.2), True)
    rating = chosen(0.2, right=False, prediction="3.5")
    assert confidence(rating, "it") == (pytest.approx(0.8), True)


def test_log_probabilities_of_any_size_are_probabilities() -> None:
    for scores in ((-1e4, -1e4 - 1), (-3.0,), (0.0, -800.0, -1.0)):
        shares = softmax(scores)
        assert sum(shares) == pytest.approx(1)
        assert min(shares) >= 0
    assert softmax(()) == ()


def test_without_likelihoods_there_is_no_reliability(resampling: Resampling) -> None:
    generated = chosen(0.5, right=True, likelihoods=())
    assert reliability([*SAMPLES, generated], resampling) is None
    assert reliability([chosen(0.5, right=True, prediction="c")], resampling) is None
    with pytest.raises(DataError, match="abstention needs the likelihood"):
        abstention([generated], 0.5, resampling)
