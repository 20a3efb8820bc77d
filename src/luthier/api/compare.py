"""Compare runs: `luthier compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from luthier.api.results import CompareResult
from luthier.config.stored import described_config
from luthier.context.run_or_model import open_runs
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.names import listed
from luthier.records.comparison import (
    SuiteComparison,
    TaskComparison,
)
from luthier.records.evaluation import SuiteRecord
from luthier.records.run_directory import RunDirectory

if TYPE_CHECKING:
    from luthier.evaluation import Evaluation, Resampling

_Compared = TypeVar("_Compared", TaskComparison, SuiteComparison)


def compare(
    runs: Sequence[str | Path],
    metric: str | None = None,
    task: str | None = None,
    console: Console | None = None,
    *,
    num_items: int = 0,
    html: str | Path | None = None,
) -> CompareResult:
    """Compare runs with the first one, paired by example, on every task that all of them have.

    P-values are corrected for the number of comparisons (Holm).

    Args:
        runs: run directories evaluated on the same examples; an adapt run stands for its
            recommended rung.
        metric: the metric's name; None: the first of each task in the first run.
        task: one of the runs' tasks; None: all shared tasks.
        console: shows progress.
        num_items: number of examples with differing scores to list per task.
        html: a file for a page with the comparison and the answers side by side.

    Raises:
        UsageError: fewer than two runs, or an unknown metric.
        DataError: a run has no evaluation, or the examples differ.
        ResourceError: the page is not writable.

    Example:
        >>> import luthier
        >>> result = luthier.compare(["runs/untuned", "runs/tuned"])
        >>> result.to_pandas()["run"].item()
        'tuned'
    """
    from luthier.evaluation import Resampling
    from luthier.reports import write_comparison

    if len(runs) < 2:
        raise UsageError("there is nothing to compare", fix="name at least two runs")
    console = console or Console()
    opened = open_runs(runs, console)
    config = described_config(opened[0])
    resampling = Resampling.of(config.evaluate, config.seed)
    measured = _evaluations(opened, task)
    tasks = _compare_tasks(measured, metric, resampling, console, num_items)
    whole = task is None and metric is None
    comparison = CompareResult(
        names=tuple(measured),
        tasks=tasks,
        suites=_compare_suites(opened, measured, resampling, console) if whole else (),
        of_ladder=_ladder_of(opened),
    )
    if html:
        write_comparison(opened, comparison, Path(html))
    return comparison


def _evaluations(
    runs: Sequence[RunDirectory], task: str | None
) -> dict[str, dict[str, Evaluation]]:
    """The shared evaluations by task, for each run by name."""
    from luthier.evaluation import evaluated_tasks, load_evaluation

    for run in runs:
        if not evaluated_tasks(run):
            raise DataError(
                "this run has no evaluation",
                where=str(run.path),
                fix=f"evaluate it first: luthier evaluate {run.path}",
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
    """The runs' names, or their paths where names collide.

    Raises:
        UsageError: a run is named twice.
    """
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise UsageError("a run is named twice", fix="name different runs")
    names = [run.name for run in runs]
    return names if len({*names}) == len(names) else [str(run.path) for run in runs]


def _ladder_of(runs: Sequence[RunDirectory]) -> str:
    """The adapt run whose rungs all of these are; otherwise empty."""
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
    """The comparison of each task, with Holm's correction over all tasks and runs."""
    from luthier.evaluation import compare_systems

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
    """The comparison of suites that all runs have over the same tasks, corrected separately."""
    from luthier.evaluation.asking import load_task
    from luthier.evaluation.comparison.suites import compare_suite
    from luthier.tasks.load import task_names
    from luthier.tasks.suite import Suite

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
                f"{record.suite} is not compared as a whole: the runs' scores cover different tasks"
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
    """Comparisons with Holm's correction over all tasks and runs."""
    from luthier.evaluation import with_holm

    corrected = iter(with_holm(one for each in made for one in each.comparisons))
    return tuple(
        each.model_copy(update={"comparisons": tuple(next(corrected) for _ in each.comparisons)})
        for each in made
    )
