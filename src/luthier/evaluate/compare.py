"""Compare systems that answered the same examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from luthier.core.errors import DataError
from luthier.core.records import Comparison, SampleRecord
from luthier.evaluate.metrics import Metric, get_metric
from luthier.evaluate.power import detectable_effect
from luthier.evaluate.significance import holm, paired_test
from luthier.evaluate.statistics import Resampling
from luthier.evaluate.task import Evaluation


def compare_evaluations(
    metric_name: str,
    baseline: Evaluation,
    candidate: Evaluation,
    over: str,
    resampling: Resampling,
) -> Comparison:
    """Compare ``candidate`` with ``baseline``, paired by example.

    The metric is computed from the stored predictions and references, so it need not be one of
    those the evaluations were made with.

    Args:
        metric_name: the metric.
        baseline: the system to beat.
        candidate: the other one; a positive difference means that its figure is higher.
        over: what to call the baseline.
        resampling: draws, seed and level.

    Returns:
        ``p_holm`` equals ``p``: this is one comparison.

    Raises:
        DataError: the templates, the examples or their references differ.
    """
    _check_template(baseline, candidate)
    samples_a, samples_b = align_samples(baseline.samples, candidate.samples)
    metric = get_metric(metric_name)
    test = paired_test(
        metric,
        metric.measure(samples_a),
        metric.measure(samples_b),
        resampling,
        [sample.group for sample in samples_a],
    )
    return Comparison(
        over=over,
        difference=test.difference,
        low=test.low,
        high=test.high,
        p=test.p,
        p_holm=test.p,
        test=test.test,
        n=test.n,
        standard_error=test.standard_error,
        detectable=detectable_effect(test.standard_error),
    )


def compare_rungs(
    metric_name: str, rungs: Mapping[str, Evaluation], resampling: Resampling
) -> dict[str, Comparison]:
    """Compare every rung with the best cheaper one, with Holm's correction over all of them.

    The best cheaper rung is chosen on the same examples, which flatters it, so a gain over it is
    if anything understated.

    Args:
        metric_name: the metric that decides.
        rungs: evaluations by the name of the rung, cheapest first.
        resampling: draws, seed and level.

    Returns:
        A comparison for every rung but the first.

    Raises:
        DataError: as `compare_evaluations`.
    """
    comparisons: dict[str, Comparison] = {}
    best = ""
    for name, evaluation in rungs.items():
        if best:
            comparisons[name] = compare_evaluations(
                metric_name, rungs[best], evaluation, best, resampling
            )
        if not best or _is_better(metric_name, evaluation, rungs[best]):
            best = name
    return dict(zip(comparisons, with_holm(comparisons.values()), strict=True))


def with_holm(comparisons: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons, their p-values corrected for their number (Holm 1979)."""
    made = tuple(comparisons)
    adjusted = holm([comparison.p for comparison in made])
    return tuple(
        comparison.model_copy(update={"p_holm": p})
        for comparison, p in zip(made, adjusted, strict=True)
    )


def item_scores(metric: Metric, samples: Sequence[SampleRecord]) -> list[float]:
    """What a metric says of each sample alone."""
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


def _is_better(metric_name: str, evaluation: Evaluation, other: Evaluation) -> bool:
    mine, theirs = evaluation.record.metric(metric_name), other.record.metric(metric_name)
    return mine.value > theirs.value if mine.higher_is_better else mine.value < theirs.value
