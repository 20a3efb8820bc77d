"""Comparisons beyond one evaluation: runs, how many examples a difference needs, forgetting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from luthier.api import Configuration, Overrides, as_run, configure
from luthier.config import ModelConfig
from luthier.config.stored import described_config, grants, stored_config
from luthier.core.comparisons import (
    ForgettingReport,
    Judgement,
    RunComparison,
    SampleSize,
    SuiteComparison,
    TaskComparison,
)
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.names import listed
from luthier.core.records import MetricResult, SuiteRecord
from luthier.core.run_directory import RunDirectory

if TYPE_CHECKING:
    from luthier.evaluate import Evaluation, Resampling

_Compared = TypeVar("_Compared", TaskComparison, SuiteComparison)
_REFERENCES = "references"
"""What the accepted answers are called where they are what answers are compared with."""


def compare(
    runs: Sequence[str | Path],
    metric: str | None = None,
    task: str | None = None,
    console: Console | None = None,
    *,
    num_items: int = 0,
    html: str | Path | None = None,
) -> RunComparison:
    """Compare runs with the first one, paired by example, on every task that all of them have.

    P-values are corrected for the number of comparisons (Holm).

    Args:
        runs: run directories (or rungs of an adapt run) that were evaluated on the same examples.
        metric: which metric; None: of each task the first one of the first run.
        task: one of the runs' tasks; None: all that they share.
        console: shows progress.
        num_items: how many of the examples on which scores differ are listed, for each task.
        html: a file for a page with all of it, and the answers side by side.

    Raises:
        UsageError: fewer than two runs, or no such metric.
        DataError: a run has no evaluation, or they are not of the same examples.
        ResourceError: the page cannot be written.
    """
    from luthier.evaluate import Resampling
    from luthier.report import write_comparison

    if len(runs) < 2:
        raise UsageError("there is nothing to compare", fix="name at least two runs")
    opened = [RunDirectory.open(Path(run)) for run in runs]
    config = described_config(opened[0])
    resampling = Resampling.of(config.evaluate, config.seed)
    measured = _evaluations(opened, task)
    console = console or Console()
    tasks = _compare_tasks(measured, metric, resampling, console, num_items)
    whole = task is None and metric is None
    comparison = RunComparison(
        names=tuple(measured),
        tasks=tasks,
        suites=_compare_suites(opened, measured, resampling, console) if whole else (),
        of_ladder=_ladder_of(opened),
    )
    if html:
        write_comparison(opened, comparison, Path(html))
    return comparison


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
    from luthier.evaluate import plan_sample_size, plan_shares

    if (run is None) == (base_rate is None):
        raise UsageError(
            "the spread of the scores comes from an evaluated run or from an expected base rate",
            fix="name a run, or give --base-rate, such as 0.7",
        )
    if base_rate is not None:
        source = f"0/1 scores of which {base_rate:.0%} are right, independent of each other"
        return plan_shares(difference, base_rate, source)
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
    after: str | Path,
    before: str | Path | None = None,
    console: Console | None = None,
    *,
    overrides: Overrides = None,
) -> ForgettingReport:
    """What a tuned run lost: on general text, and in every evaluation that both have.

    The outcome is stored in the run: ``forgetting.json``, and item by item in
    ``forgetting.items.jsonl``.

    Args:
        after: a tuned run, or a rung of an adapt run.
        before: the model, or an evaluated or tuned run; None: the base model of ``after``.
        console: shows progress.
        overrides: what a stored run may not decide by itself, such as
            ``{"model.trust_remote_code": True}``.

    Raises:
        UsageError: the two have different tokenizers, or a run asks for what was not given.
        DataError: ``after`` is no tuned run, or there is nothing to compare.
    """
    from luthier.adapt.forgetting import compare_with_before

    run = RunDirectory.open(Path(after))
    config = stored_config(run, grants(overrides or {}))
    earlier: RunDirectory | ModelConfig | None = as_run(before)
    if before and earlier is None:
        earlier = config.model.model_copy(update={"id": str(before), "revision": None})
    return compare_with_before(run, config, earlier, console or Console())


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


def _evaluations(
    runs: Sequence[RunDirectory], task: str | None
) -> dict[str, dict[str, Evaluation]]:
    """By the name of the run, what all of them have, by the name of the task."""
    from luthier.evaluate import evaluated_tasks, load_evaluation

    for run in runs:
        if not evaluated_tasks(run):
            raise DataError(
                "this run has no evaluation",
                where=str(run.path),
                fix="evaluate it first; of an adapt run, name its rungs (…/rungs/lora)",
            )
    has = [evaluated_tasks(run) for run in runs]
    shared = [task] if task else [name for name in has[0] if all(name in names for names in has)]
    if not shared:
        there = "; ".join(
            f"{run.name}: {listed(names)}" for run, names in zip(runs, has, strict=True)
        )
        raise DataError(
            f"these runs have no evaluation in common ({there})",
            fix="evaluate them on the same tasks",
        )
    found = {}
    for name, run in zip(_names(runs), runs, strict=True):
        loaded = [load_evaluation(run, each) for each in shared]
        found[name] = {evaluation.record.task: evaluation for evaluation in loaded}
    return found


def _names(runs: Sequence[RunDirectory]) -> list[str]:
    """The runs' own names, or their paths where two have one name.

    Raises:
        UsageError: a run is named twice.
    """
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise UsageError("a run is named twice", fix="name different runs")
    names = [run.name for run in runs]
    return names if len({*names}) == len(names) else [str(run.path) for run in runs]


def _ladder_of(runs: Sequence[RunDirectory]) -> str:
    """The adapt run whose rungs all of these are; empty where there is none."""
    above = [run.ladder_run for run in runs]
    first = above[0]
    same = first is not None and all(one and one.path == first.path for one in above)
    return first.name if first and same else ""


def _compare_tasks(
    measured: Mapping[str, Mapping[str, Evaluation]],
    metric: str | None,
    resampling: Resampling,
    console: Console,
    num_items: int,
) -> tuple[TaskComparison, ...]:
    """Each task, with Holm's correction over all of them and all runs."""
    from luthier.evaluate import compare_systems

    tasks = list(next(iter(measured.values())))
    made: list[TaskComparison] = []
    with console.progress("comparing", len(tasks)) as advance:
        for task in tasks:
            systems = {name: evaluations[task] for name, evaluations in measured.items()}
            made.append(compare_systems(systems, metric, resampling, num_items))
            advance()
    return _corrected(made)


def _compare_suites(
    runs: Sequence[RunDirectory],
    measured: Mapping[str, Mapping[str, Evaluation]],
    resampling: Resampling,
    console: Console,
) -> tuple[SuiteComparison, ...]:
    """The suites that all runs have, over the same tasks, with a correction of their own."""
    from luthier.evaluate.tasks import Suite, compare_suite, load_task, task_names

    made: list[SuiteComparison] = []
    for path in runs[0].suites():
        others = [run.path / "suites" / path.name for run in runs[1:]]
        if not all(other.exists() for other in others):
            continue
        record = SuiteRecord.read(path)
        alike = all(SuiteRecord.read(other).tasks == record.tasks for other in others)
        there = all({*record.tasks} <= found.keys() for found in measured.values())
        if not (alike and there):
            console.warn(
                f"{record.suite} is not compared as a whole: the runs' scores are of other tasks"
            )
            continue
        suite = load_task(record.suite) if record.suite in task_names() else None
        if isinstance(suite, Suite):
            systems = {
                name: {task: found[task] for task in record.tasks}
                for name, found in measured.items()
            }
            made += compare_suite(suite, systems, resampling)
    return _corrected(made)


def _corrected(made: Sequence[_Compared]) -> tuple[_Compared, ...]:
    """With Holm's correction over all of them and all runs."""
    from luthier.evaluate import with_holm

    corrected = iter(with_holm(one for each in made for one in each.comparisons))
    return tuple(
        each.model_copy(update={"comparisons": tuple(next(corrected) for _ in each.comparisons)})
        for each in made
    )
