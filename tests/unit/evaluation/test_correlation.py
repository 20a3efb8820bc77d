"""Correlations are scipy's at any offset and scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from luthier.core.errors import DataError
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.metrics.base import Floats
from luthier.evaluation.statistics.bootstrap import Resampling, Units, bootstrap_interval
from luthier.evaluation.statistics.significance import paired_test
from luthier.records.evaluation import SampleRecord

PLACES = [
    (0.0, 1.0),
    (1e6, 1.0),
    (1e8, 1.0),
    (-1e8, 1e-3),
    (1.7e9, 10.0),
    (1.7e18, 1e6),
    (0.0, 1e-7),
    (0.0, 1e-160),
    (0.0, 1e-310),
    (0.0, 1e200),
    (1e300, 1e297),
    (273.15, 1e-5),
]


def samples_of(
    said: Sequence[float] | Floats, true: Sequence[float] | Floats
) -> list[SampleRecord]:
    return [
        SampleRecord(
            id=str(number),
            prompt="",
            prediction=repr(float(x)),
            references=(repr(float(y)),),
            scores={},
            finish="stop",
        )
        for number, (x, y) in enumerate(zip(said, true, strict=True))
    ]


def pair(offset: float, scale: float, seed: int = 0, n: int = 60) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    z = random.normal(0, 1, n)
    return offset + scale * z, offset + scale * (0.6 * z + random.normal(0, 1, n))


def value(name: str, said: Sequence[float] | Floats, true: Sequence[float] | Floats) -> float:
    metric = get_metric(name)
    return Units.of(metric.measure(samples_of(said, true))).figure(metric.aggregate)


@pytest.mark.parametrize(("offset", "scale"), PLACES)
def test_pearson_is_scipys(offset: float, scale: float) -> None:
    said, true = pair(offset, scale)
    # scipy squares, and so is asked on a scale on which squares exist; powers of 2 are exact.
    shift = -int(np.frexp(np.abs(said).max())[1])
    # Nor does it centre twice; differences from one of the numbers are exact.
    expected = pearsonr(np.ldexp(said - said[0], shift), np.ldexp(true - true[0], shift))[0]
    assert value("pearson", said, true) == pytest.approx(expected, rel=1e-9)
    other = np.arange(60) + np.random.default_rng(1).normal(0, 20, 60)
    assert value("pearson", said, other) == pytest.approx(
        pearsonr(np.ldexp(said - said[0], shift), other)[0], rel=1e-9
    )


@pytest.mark.parametrize(("offset", "scale"), PLACES)
def test_spearman_is_scipys(offset: float, scale: float) -> None:
    said, true = pair(offset, scale)
    said[3:6] = said[0]
    assert value("spearman", said, true) == pytest.approx(spearmanr(said, true)[0], rel=1e-9)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
@pytest.mark.parametrize(("offset", "scale"), PLACES)
def test_a_correlation_is_never_beyond_one(name: str, offset: float, scale: float) -> None:
    said, _ = pair(offset, scale)
    same, opposite = value(name, said, said), value(name, said, -said)
    assert 1.0 - 1e-12 < same <= 1.0
    assert -1.0 <= opposite < -1.0 + 1e-12


@pytest.mark.parametrize("name", ["pearson", "spearman"])
@pytest.mark.parametrize(("offset", "scale"), PLACES[:6])
def test_intervals_and_tests_do_not_depend_on_offset_and_scale(
    name: str, offset: float, scale: float
) -> None:
    metric, resampling = get_metric(name), Resampling(0, 200, 0.95)
    (said, true), (plain, plain_true) = pair(offset, scale), pair(0.0, 1.0)
    other = pair(0.0, 1.0, seed=5)[0]

    def measured(*answers: Floats) -> tuple[object, ...]:
        stats = [metric.measure(samples_of(x, answers[-1])) for x in answers[:-1]]
        interval = bootstrap_interval(metric, stats[0], resampling)
        tested = paired_test(metric, stats[0], stats[1], resampling)
        return interval.value, interval.low, interval.high, tested.difference, tested.p

    found = measured(said, offset + scale * other, true)
    assert found == pytest.approx(measured(plain, other, plain_true), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e8 + 0.1, -3e-300])
def test_equal_numbers_are_said(name: str, constant: float) -> None:
    metric = get_metric(name)
    varied, equal = list(pair(0.0, 1.0)[0]), [constant] * 60
    assert value(name, equal, varied) == value(name, varied, equal) == 0.0
    (caveat,) = metric.caveats(samples_of(equal, varied))
    assert f"every answer is {constant:g}: {name} is not defined" in caveat
    (caveat,) = metric.caveats(samples_of(varied, equal))
    assert "every true value is" in caveat
    assert not metric.caveats(samples_of(varied, varied))


@pytest.mark.parametrize("said", ["nan", "inf", "-inf", "1e999"])
def test_numbers_that_are_not_finite_are_refused(said: str) -> None:
    samples = samples_of([1.0, 2.0], [1.0, 2.0])
    samples[1] = samples[1].model_copy(update={"prediction": said})
    with pytest.raises(DataError, match="needs finite numbers") as caught:
        get_metric("pearson").measure(samples)
    assert caught.value.where == "sample '1'"
