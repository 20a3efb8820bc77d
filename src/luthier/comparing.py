"""Comparisons beyond one evaluation: how many examples a difference needs, what was forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from luthier.api import Configuration, Overrides, as_run, configure
from luthier.config import ModelConfig, load_config
from luthier.core.comparisons import ForgettingReport, Judgement, SampleSize
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.records import MetricResult
from luthier.core.run_directory import RunDirectory

_REFERENCES = "references"
"""What the accepted answers are called where they are what answers are compared with."""


def plan_examples(
    difference: float,
    run: str | Path | None = None,
    *,
    base_rate: float | None = None,
    metric: str | None = None,
) -> SampleSize:
    """How many examples show a difference between two systems, 8 times in 10 at the 5 % level.

    Args:
        difference: the true difference, in the metric's own unit.
        run: an evaluated run, whose scores say how much they spread.
        base_rate: without a run, the share of right answers that is expected of 0/1 scores.
        metric: which one of the run's; None: its first.

    Raises:
        UsageError: neither or both of a run and a base rate are given, or a value is out of range.
        DataError: the run has no evaluation.
    """
    from luthier.evaluate import bernoulli_error, plan_sample_size

    if (run is None) == (base_rate is None):
        raise UsageError(
            "the spread of the scores comes from an evaluated run or from an expected base rate",
            fix="name a run, or give --base-rate, such as 0.7",
        )
    if base_rate is not None:
        if difference >= 1:
            raise UsageError(
                f"shares of right answers never differ by {difference:g}",
                fix="give a difference below 1, such as 0.02 for two points in a hundred",
            )
        source = f"0/1 scores of which {base_rate:.0%} are right, independent of each other"
        return plan_sample_size(difference, bernoulli_error(base_rate), 1, source)
    opened = RunDirectory.open(Path(run or ""))
    result = _measured(opened, metric)
    if not result.standard_error:
        raise UsageError(
            f"the {result.name} of this run has no spread to plan with",
            where=str(opened.path),
            fix="evaluate it again, on more examples",
        )
    source = f"{result.name} of {opened.name}, {result.n:,} examples"
    return plan_sample_size(difference, result.standard_error, result.n, source)


def forgotten(
    after: str | Path, before: str | Path | None = None, console: Console | None = None
) -> ForgettingReport:
    """What a tuned run lost: on general text, and in every evaluation that both have.

    The outcome is stored in the run: ``forgetting.json``, and item by item in
    ``forgetting.items.jsonl``.

    Args:
        after: a tuned run, or a rung of an adapt run.
        before: the model, or an evaluated or tuned run; None: the base model of ``after``.
        console: shows progress.

    Raises:
        UsageError: the two have different tokenizers.
        DataError: ``after`` is no tuned run, or there is nothing to compare.
    """
    from luthier.adapt.forgetting import compare_with_before

    run = RunDirectory.open(Path(after))
    earlier: RunDirectory | ModelConfig | None = as_run(before)
    if before and earlier is None:
        earlier = load_config(run.config).model.model_copy(
            update={"id": str(before), "revision": None}
        )
    return compare_with_before(run, earlier, console or Console())


def judge(
    runs: Sequence[str | Path],
    config: Configuration = None,
    overrides: Overrides = None,
    console: Console | None = None,
    *,
    task: str | None = None,
    template: str | Path | None = None,
) -> tuple[Judgement, ...]:
    """Let a model judge the answers of runs against those of the first, each pair in both orders.

    The outcome is stored in each judged run, in ``judgements/``.

    Args:
        runs: evaluated runs; a single one is compared with the accepted answers.
        config: its model is the judge: in files, or on a server.
        overrides: changed values, such as ``{"model.id": "http://127.0.0.1:8000/v1"}``.
        console: shows progress.
        task: which of the runs' evaluations; None: the one of their own data.
        template: how the judge is asked; None: as Luthier asks.

    Raises:
        UsageError: no run is named, or the judge's settings are wrong.
        DataError: a run has no evaluation, or they are not of the same examples.
        ResourceError: a server is out of reach.
    """
    from luthier.adapt.judging import load_judge
    from luthier.evaluate import load_evaluation
    from luthier.evaluate.judge import paired_answers
    from luthier.report.content import compared_task

    if not runs:
        raise UsageError("there is nothing to judge", fix="name at least one evaluated run")
    console = console or Console()
    opened = [RunDirectory.open(Path(run)) for run in runs]
    tasks = [compared_task(run, task) for run in opened]
    answers = [load_evaluation(run, name) for run, name in zip(opened, tasks, strict=True)]
    baseline = answers[0] if len(runs) > 1 else None
    over = opened[0].name if baseline else _REFERENCES
    first = 1 if baseline else 0
    pairs = [paired_answers(baseline, candidate) for candidate in answers[first:]]
    judging = load_judge(configure(config, overrides), template, console)
    return tuple(
        judging.compare(run, name, over, paired, console)
        for run, name, paired in zip(opened[first:], tasks[first:], pairs, strict=True)
    )


def _measured(run: RunDirectory, metric: str | None) -> MetricResult:
    from luthier.evaluate import load_evaluation
    from luthier.report.content import compared_task

    record = load_evaluation(run, compared_task(run, None)).record
    return record.metric(metric) if metric else record.metrics[0]
