"""Paired tests beside those of sacrebleu, on the same translations."""

from __future__ import annotations

import numpy as np
import pytest
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest

from luthier.evaluation.metrics import Metric, get_metric
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.statistics.significance import paired_test

RESAMPLING = Resampling(seed=0, resamples=4000, confidence=0.95)
WORDS = [f"w{number}" for number in range(200)]


def systems(harm: float) -> tuple[list[str], list[str], list[str]]:
    """References of real lengths, a system that gets a third of the words wrong, one that gets
    more of them wrong.
    """
    generator = np.random.default_rng(4)
    references = [generator.choice(WORDS, generator.integers(8, 25)) for _ in range(120)]

    def answers(share: float) -> list[str]:
        texts = []
        for words in references:
            wrong = generator.random(len(words)) < share
            texts.append(" ".join(np.where(wrong, generator.choice(WORDS, len(words)), words)))
        return texts

    return [" ".join(words) for words in references], answers(0.3), answers(0.3 + harm)


@pytest.mark.parametrize("harm", [0.01, 0.03, 0.08])
def test_bleu_beside_sacrebleu(harm: float) -> None:
    references, a, b = systems(harm)
    metric = get_metric("bleu")
    stats = [metric.statistics(side, [[r] for r in references]) for side in (a, b)]
    ours = paired_test(metric, *stats, RESAMPLING)
    results = {}
    for kind in ("ar", "bs"):
        test = PairedTest(
            [("a", a), ("b", b)], {"BLEU": BLEU(references=[references])}, None, kind, 4000
        )
        results[kind] = test()[1]["BLEU"]
    difference = results["ar"][1].score - results["ar"][0].score
    assert ours.difference == pytest.approx(difference, abs=1e-4)
    # Two shares of 4,000 draws differ by less in all but one of 10,000 pairs.
    assert ours.p == pytest.approx(results["ar"][1].p_value, abs=0.045)
    assert bootstrap_p(metric, *stats) == pytest.approx(results["bs"][1].p_value, abs=0.045)


def bootstrap_p(metric: Metric, stats_a: np.ndarray, stats_b: np.ndarray) -> float:
    """sacrebleu's paired bootstrap on our statistics: it centres the absolute differences, so its
    p-value is about half of a two-sided one.
    """
    n = len(stats_a)
    weights = np.random.default_rng(0).multinomial(n, [1 / n] * n, 4000).astype(float)
    counts = np.full(4000, float(n))
    drawn = np.abs(
        metric.aggregate(weights @ stats_b, counts) - metric.aggregate(weights @ stats_a, counts)
    )
    whole = (metric.aggregate(stats.sum(axis=0), np.float64(n)) for stats in (stats_a, stats_b))
    observed = abs(next(whole) - next(whole))
    return (np.count_nonzero(drawn - drawn.mean() > observed) + 1) / 4001
