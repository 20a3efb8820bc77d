"""Number of examples needed to detect a difference: `luthier sample-size`."""

from __future__ import annotations

from pathlib import Path

from luthier.api.results import SampleSizeResult
from luthier.context.run_or_model import open_runs
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.records.evaluation import MetricResult
from luthier.records.run_directory import RunDirectory


def required_sample_size(
    difference: float,
    run: str | Path | None = None,
    *,
    base_rate: float | None = None,
    metric: str | None = None,
    console: Console | None = None,
) -> SampleSizeResult:
    """The number of examples to detect a difference, with 80 % power at the 5 % level.

    Args:
        difference: the true difference, in the unit of the metric.
        run: an evaluated run, from whose scores the spread is taken.
        base_rate: without a run, the expected share of right answers, for 0/1 scores.
        metric: one of the run's metrics; None: the first.
        console: is told which rung an adapt run stands for.

    Raises:
        UsageError: neither or both of a run and a base rate are given, or a value is out of range.
        DataError: the run has no evaluation.

    Example:
        >>> import luthier
        >>> luthier.required_sample_size(0.05, base_rate=0.7)
        <SampleSizeResult: To detect a difference of 0.05: 280 to 1,354 examples.>
    """
    from luthier.evaluation import plan_sample_size, plan_shares

    if (run is None) == (base_rate is None):
        raise UsageError(
            "give either an evaluated run or an expected base rate, for the spread of the scores",
            fix="name a run, or set --base-rate, such as 0.7",
        )
    if base_rate is not None:
        source = f"independent 0/1 scores, {base_rate:.0%} of them right"
        return SampleSizeResult(**dict(plan_shares(difference, base_rate, source)))
    (opened,) = open_runs([run or ""], console or Console())
    result = _measured(opened, metric)
    if not result.standard_error:
        raise UsageError(
            f"the {result.name} of this run has no spread",
            where=str(opened.path),
            fix="evaluate it on more examples",
        )
    source = f"{result.name} of {opened.name}, {result.n:,} examples"
    found = plan_sample_size(difference, result.standard_error, result.n, source)
    return SampleSizeResult(**dict(found))


def _measured(run: RunDirectory, metric: str | None) -> MetricResult:
    from luthier.evaluation import load_evaluation
    from luthier.reports.content import compared_task

    record = load_evaluation(run, compared_task(run, None)).record
    return record.metric(metric) if metric else record.metrics[0]
