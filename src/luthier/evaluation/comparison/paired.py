"""Paired comparison of systems on the same examples."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from luthier.core.errors import DataError
from luthier.evaluation.comparison.choice import choose_rung
from luthier.evaluation.metrics import Metric, get_metric
from luthier.evaluation.metrics.base import Floats
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.statistics.power import ALPHA, detectable_difference, detectable_share
from luthier.evaluation.statistics.significance import EXACT_MCNEMAR, PairedTest, holm, paired_test
from luthier.evaluation.statistics.stepdown import Pair, gain_p_values
from luthier.evaluation.task import Evaluation
from luthier.records.comparison import TWO_SIDED, Comparison
from luthier.records.evaluation import SampleRecord

_OF_GAINS = "one-sided, for a gain; corrected for all pairs of rungs (step-down)"


def compare_evaluations(
    metric_name: str,
    baseline: Evaluation,
    candidate: Evaluation,
    baseline_name: str,
    resampling: Resampling,
) -> Comparison:
    """The comparison of ``candidate`` with ``baseline``, paired by example.

    The metric is computed from the stored predictions and references, so it may differ from those
    of the evaluations.

    Args:
        metric_name: the metric.
        baseline: the system to beat.
        candidate: the other system; a positive difference means that its figure is higher.
        baseline_name: the name of the baseline.
        resampling: draws, seed and level.

    Returns:
        The comparison; ``p_adjusted`` equals ``p``, because it is a single one.

    Raises:
        DataError: the templates, the examples or their references differ.
    """
    _check_template(baseline, candidate)
    samples_a, samples_b = align_samples(baseline.samples, candidate.samples)
    metric = get_metric(metric_name)
    stats_a, stats_b = metric.measure(samples_a), metric.measure(samples_b)
    groups = [sample.group for sample in samples_a]
    test = paired_test(metric, stats_a, stats_b, resampling, groups)
    return Comparison(
        baseline=baseline_name,
        difference=test.difference,
        low=test.low,
        high=test.high,
        no_interval=test.no_interval,
        p=test.p,
        p_adjusted=test.p,
        test=test.test,
        n=test.n,
        units=test.units,
        standard_error=test.standard_error,
        detectable=_detectable(metric, test, stats_a, stats_b),
    )


def _detectable(metric: Metric, test: PairedTest, stats_a: Floats, stats_b: Floats) -> float | None:
    """The smallest difference that the test detects; None if even the largest is not."""
    if test.test == EXACT_MCNEMAR:
        return detectable_share(test.n, int(np.count_nonzero(stats_a != stats_b)))
    least = detectable_difference(test.standard_error, test.units)
    low, high = metric.bounds
    return least if least is None or least <= high - low else None


def compare_rungs(
    metric_name: str,
    rungs: Mapping[str, Evaluation],
    resampling: Resampling,
    alpha: float = ALPHA,
    unusable: Collection[str] = (),
) -> dict[str, Comparison]:
    """The comparison of every rung with the choice among the cheaper ones.

    Args:
        metric_name: the primary metric.
        rungs: evaluations by the name of the rung, cheapest first.
        resampling: draws, seed and level.
        alpha: the family-wise error rate of all steps.
        unusable: rungs that are compared but never chosen, whatever their score.

    Returns:
        A comparison for every rung except the first. ``p_adjusted`` is one-sided, for a gain, and
        corrected for all pairs of rungs. `luthier.evaluation.comparison.choice` derives the final
        choice.

    Raises:
        DataError: as in `compare_evaluations`.
    """
    if not rungs:
        return {}
    metric = get_metric(metric_name)
    adjusted = _adjusted(metric, rungs, resampling)

    def compare(cheaper: str, dearer: str) -> Comparison:
        compared = compare_evaluations(
            metric_name, rungs[cheaper], rungs[dearer], cheaper, resampling
        )
        update = {"p_adjusted": adjusted[cheaper, dearer], "adjustment": _OF_GAINS}
        return compared.model_copy(update=update)

    return choose_rung(tuple(rungs), metric, compare, alpha, unusable)[1]


def with_holm(comparisons: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons, with p-values corrected for their number (Holm 1979)."""
    made = tuple(comparisons)
    adjusted = holm([comparison.p for comparison in made])
    words = f"{TWO_SIDED}; corrected for {len(made)} comparisons (Holm)"
    told = {"adjustment": words} if len(made) > 1 else {}
    return tuple(
        comparison.model_copy(update={"p_adjusted": p, **told})
        for comparison, p in zip(made, adjusted, strict=True)
    )


def item_scores(metric: Metric, samples: Sequence[SampleRecord]) -> list[float]:
    """The metric of each sample separately."""
    scores: list[float] = metric.per_sample(metric.measure(samples)).tolist()
    return scores


def align_samples(
    samples_a: Sequence[SampleRecord], samples_b: Sequence[SampleRecord]
) -> tuple[list[SampleRecord], list[SampleRecord]]:
    """Both sets of samples in the order of the first, paired by id.

    Raises:
        DataError: one side has examples that the other lacks, or the references differ.
    """
    by_id = {sample.id: sample for sample in samples_b}
    lonely = by_id.keys() ^ {sample.id for sample in samples_a}
    if lonely or not samples_a:
        raise DataError(
            f"{len(lonely)} of the examples were answered by one system only "
            f"({len(samples_a)} and {len(samples_b)} examples)",
            fix="evaluate both on the same split and number of examples",
        )
    pairs = [(sample, by_id[sample.id]) for sample in samples_a]
    changed = sum(a.references != b.references for a, b in pairs)
    if changed:
        raise DataError(
            f"the references of {changed} examples differ: the data changed in between",
            fix="evaluate both on the same data",
        )
    return [a for a, _ in pairs], [b for _, b in pairs]


def _check_template(baseline: Evaluation, candidate: Evaluation) -> None:
    a, b = baseline.record.template, candidate.record.template
    if a.hash != b.hash:
        raise DataError(
            f"the prompts were rendered by different templates: {a.id} ({a.hash}) and "
            f"{b.id} ({b.hash})",
            fix="evaluate both with the same template",
        )


def _adjusted(
    metric: Metric, rungs: Mapping[str, Evaluation], resampling: Resampling
) -> dict[Pair, float]:
    if len(rungs) < 2:
        return {}
    first = next(iter(rungs.values())).samples
    aligned = {name: align_samples(first, rung.samples)[1] for name, rung in rungs.items()}
    stats = {name: metric.measure(samples) for name, samples in aligned.items()}
    return gain_p_values(metric, stats, resampling, [sample.group for sample in first])
