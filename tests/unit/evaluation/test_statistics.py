from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest, bootstrap, norm, sem, t

from luthier.config import EvaluateConfig
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.statistics import bootstrap as statistics
from luthier.evaluation.statistics.bootstrap import (
    Resampling,
    Units,
    bootstrap_interval,
    figure_interval,
    jackknife_error,
    standard_error,
)
from luthier.evaluation.statistics.proportions import proportion_interval

RESAMPLING = Resampling(seed=0, resamples=1000, confidence=0.95)
MEAN = get_metric("rougeL")
scores = arrays(np.float64, st.integers(2, 30), elements=st.floats(0, 1, width=32))


def draw_scores(generator: np.random.Generator, n: int) -> np.ndarray:
    """Skewed scores like those of ROUGE, with mean 1/6."""
    return generator.beta(0.8, 4.0, (n, 1))


def draw_clusters(generator: np.random.Generator, clusters: int) -> tuple[np.ndarray, list[str]]:
    """Scores with mean 0.3 that share an effect of their cluster."""
    sizes = generator.integers(1, 10, clusters)
    effects = np.repeat(generator.normal(0.3, 0.1, clusters), sizes)
    groups = [f"g{g}" for g in np.repeat(np.arange(clusters), sizes)]
    return (effects + generator.normal(0, 0.05, len(effects)))[:, None], groups


def covered(repeats: int, n: int) -> float:
    generator = np.random.default_rng(7)
    hits = 0
    for repeat in range(repeats):
        resampling = Resampling(seed=repeat, resamples=500, confidence=0.95)
        interval = bootstrap_interval(MEAN, draw_scores(generator, n), resampling)
        hits += interval.low <= 1 / 6 <= interval.high
    return hits / repeats


@pytest.mark.parametrize("n", [15, 50])
def test_coverage_of_skewed_scores(n: int) -> None:
    assert 0.91 <= covered(400, n) <= 0.985


@pytest.mark.long
@pytest.mark.parametrize("n", [50, 150])
def test_coverage_is_95_percent_within_two(n: int) -> None:
    assert covered(2000, n) == pytest.approx(0.95, abs=0.02)


def test_coverage_of_clusters_needs_the_groups() -> None:
    generator = np.random.default_rng(3)
    with_groups = without = 0
    for repeat in range(300):
        stats, groups = draw_clusters(generator, 30)
        resampling = Resampling(seed=repeat, resamples=400, confidence=0.95)
        clustered = bootstrap_interval(MEAN, stats, resampling, groups)
        naive = bootstrap_interval(MEAN, stats, resampling)
        with_groups += clustered.low <= 0.3 <= clustered.high
        without += naive.low <= 0.3 <= naive.high
    assert with_groups / 300 >= 0.9
    assert without / 300 < 0.8


@pytest.mark.long
def test_coverage_of_right_answers_is_95_percent_within_two() -> None:
    """Over many rates: at one of them, the steps of a count move it (Brown et al. 2001)."""
    generator = np.random.default_rng(9)
    hits = 0
    for rate in generator.uniform(0.1, 0.9, 2000):
        right = (generator.random(100) < rate).astype(float)
        interval = proportion_interval(right, np.ones(100), 0.95)
        hits += interval.low <= rate <= interval.high
    assert hits / 2000 == pytest.approx(0.95, abs=0.02)


@pytest.mark.long
def test_coverage_of_a_corpus_metric_is_95_percent_within_two() -> None:
    """A ratio of sums, as BLEU and nats per token are: its value over all of a population."""
    generator = np.random.default_rng(10)
    lengths = generator.integers(5, 100, 100_000)
    hit = generator.binomial(lengths, generator.beta(2, 3, 100_000))
    truth = hit.sum() / lengths.sum()

    def ratio(summed: np.ndarray, count: np.ndarray) -> np.ndarray:
        return summed[..., 0] / summed[..., 1]

    covered = 0
    for repeat in range(2000):
        chosen = generator.integers(100_000, size=80)
        units = Units.of(np.stack([hit[chosen], lengths[chosen]], axis=1).astype(float))
        low, high = figure_interval(units, ratio, Resampling(repeat, 500, 0.95))
        covered += low <= truth <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)


@pytest.mark.long
def test_coverage_of_clusters_is_95_percent_within_two() -> None:
    generator = np.random.default_rng(11)
    hits = 0
    for repeat in range(2000):
        stats, groups = draw_clusters(generator, 40)
        interval = bootstrap_interval(MEAN, stats, Resampling(repeat, 500, 0.95), groups)
        hits += interval.low <= 0.3 <= interval.high
    assert hits / 2000 == pytest.approx(0.95, abs=0.02)


def test_the_standard_error_of_single_examples_is_that_of_the_central_limit_theorem() -> None:
    stats = draw_scores(np.random.default_rng(0), 50)
    interval = bootstrap_interval(MEAN, stats, RESAMPLING)
    assert interval.standard_error == pytest.approx(sem(stats[:, 0]))
    assert jackknife_error(Units.of(stats), MEAN.aggregate) == pytest.approx(sem(stats[:, 0]))


def test_the_clustered_error_is_millers() -> None:
    """Equation 4: the squared error of the mean and the covariances within clusters, summed."""
    generator = np.random.default_rng(1)
    stats, groups = draw_clusters(generator, 12)
    scores, n, names = stats[:, 0], len(stats), np.array(groups)
    deviations = scores - scores.mean()
    squared = float((deviations**2).sum()) / n**2
    for name in dict.fromkeys(groups):
        inside = deviations[names == name]
        squared += float(np.outer(inside, inside).sum() - (inside**2).sum()) / n**2
    clustered = standard_error(MEAN, Units.of(stats, groups))
    assert clustered == pytest.approx(np.sqrt(squared * 12 / 11))
    assert clustered > 1.3 * sem(scores)


def test_the_error_of_a_corpus_metric_is_the_spread_of_its_resamples() -> None:
    metric = get_metric("bleu")
    words = [
        "the",
        "cat",
        "sat",
        "on",
        "a",
        "mat",
        "and",
        "a",
        "dog",
        "ran",
        "in",
        "the",
        "park",
        "on",
        "a",
        "fine",
        "day",
    ]
    generator = np.random.default_rng(2)
    references = [[" ".join(generator.choice(words, 9))] for _ in range(60)]
    predictions = [r[0].replace("c", "d").replace("a", "b") for r in references]
    units = Units.of(metric.statistics(predictions, references))
    draws = generator.multinomial(60, [1 / 60] * 60, 3000).astype(float)
    spread = units.resampled(metric.aggregate, draws).std(ddof=1)
    assert standard_error(metric, units) == pytest.approx(spread, rel=0.1)


def test_interval_is_scipys_bca_at_the_widened_level() -> None:
    scores = draw_scores(np.random.default_rng(12), 10)
    ours = bootstrap_interval(MEAN, scores, Resampling(0, 100_000, 0.95))
    reach = np.sqrt(10 / 9) * t.ppf(0.975, 9)
    theirs = bootstrap(
        (scores[:, 0],),
        np.mean,
        confidence_level=2 * norm.cdf(reach) - 1,
        n_resamples=100_000,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    error = scores.std(ddof=1) / np.sqrt(10)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.05 * error)


def test_interval_of_a_corpus_metric_recomputes_it_in_each_resample() -> None:
    metric = get_metric("bleu")
    predictions = ["the cat sat on the mat", "a dog ran in the park today", "it is a fine day"]
    references = [["the cat sat on a mat"], ["a dog ran in the park"], ["it was a fine day"]]
    stats = metric.statistics(predictions * 4, references * 4)
    interval = bootstrap_interval(metric, stats, RESAMPLING)
    singles = metric.per_sample(stats)
    assert interval.value != pytest.approx(singles.mean(), abs=0.1)
    assert singles.min() <= interval.low < interval.value < interval.high <= singles.max()


@given(scores=scores)
@settings(deadline=None, max_examples=50)
def test_interval_of_a_mean_lies_within_the_scores(scores: np.ndarray) -> None:
    interval = bootstrap_interval(MEAN, scores[:, None], RESAMPLING)
    assert interval.value == pytest.approx(scores.mean())
    assert 0 <= interval.low <= interval.value + 1e-9
    assert interval.value - 1e-9 <= interval.high <= 1
    assert interval.low < interval.high
    assert interval.n == len(scores)


def test_deviations_whose_powers_vanish_have_an_interval() -> None:
    scores = np.array([[1e-130], [0.0], [0.0]])
    interval = bootstrap_interval(MEAN, scores, RESAMPLING)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1


@given(scores=scores)
@settings(deadline=None, max_examples=30)
def test_mirrored_scores_have_a_mirrored_interval(scores: np.ndarray) -> None:
    bounds = (-1.0, 1.0)
    one = figure_interval(Units.of(scores[:, None]), MEAN.aggregate, RESAMPLING, bounds)
    other = figure_interval(Units.of(-scores[:, None]), MEAN.aggregate, RESAMPLING, bounds)
    low, high = other
    assert tuple(one) == pytest.approx((-high, -low), abs=1e-9)
    assert bool(one.missing) == bool(other.missing)


def test_same_seed_same_interval_and_other_seed_another() -> None:
    stats = draw_scores(np.random.default_rng(0), 40)
    again = bootstrap_interval(MEAN, stats, RESAMPLING)
    assert bootstrap_interval(MEAN, stats, RESAMPLING) == again
    assert bootstrap_interval(MEAN, stats, Resampling(1, 1000, 0.95)).low != again.low


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = draw_scores(np.random.default_rng(0), 40)
    whole = bootstrap_interval(MEAN, stats, RESAMPLING)
    monkeypatch.setattr(statistics, "_CELLS_AT_ONCE", 333)
    cut = bootstrap_interval(MEAN, stats, RESAMPLING)
    assert (cut.low, cut.high) == pytest.approx((whole.low, whole.high), abs=1e-12)


def test_a_higher_level_gives_a_wider_interval() -> None:
    stats = draw_scores(np.random.default_rng(0), 40)
    wide = bootstrap_interval(MEAN, stats, Resampling(0, 1000, 0.99))
    narrow = bootstrap_interval(MEAN, stats, Resampling(0, 1000, 0.8))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


@pytest.mark.parametrize("right", [0, 1, 17, 40])
def test_zero_or_one_scores_have_wilsons_interval(right: int) -> None:
    stats = np.array([[1.0]] * right + [[0.0]] * (40 - right))
    interval = bootstrap_interval(MEAN, stats, RESAMPLING)
    expected = binomtest(right, 40).proportion_ci(0.95, method="wilson")
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_grouped_zero_or_one_scores_are_resampled_by_group() -> None:
    stats = np.array([[1.0]] * 20 + [[0.0]] * 20)
    groups = [f"g{index // 4}" for index in range(40)]
    clustered = bootstrap_interval(MEAN, stats, RESAMPLING, groups)
    single = bootstrap_interval(MEAN, stats, RESAMPLING, [""] * 40)
    assert clustered.high - clustered.low > 1.5 * (single.high - single.low)


def test_units_add_up_groups_and_keep_the_ungrouped_apart() -> None:
    units = Units.of(np.array([[1.0], [2.0], [4.0], [8.0], [16.0]]), ["a", "", "a", "b", ""])
    assert units.sums[:, 0].tolist() == [5.0, 2.0, 8.0, 16.0]
    assert units.counts.tolist() == [2, 1, 1, 1]


def test_one_group_only_falls_back_to_its_examples() -> None:
    units = Units.of(np.array([[1.0], [2.0]]), ["a", "a"])
    assert units.counts.tolist() == [1, 1]


def test_one_example_has_no_spread() -> None:
    interval = bootstrap_interval(MEAN, np.array([[0.4]]), RESAMPLING)
    assert (interval.low, interval.value, interval.high) == (0.4, 0.4, 0.4)
    assert interval.no_interval == "one unit has no spread"


def test_the_configuration_decides_the_draws() -> None:
    config = EvaluateConfig(resamples=123, confidence=0.9)
    assert Resampling.of(config, seed=5) == Resampling(seed=5, resamples=123, confidence=0.9)
