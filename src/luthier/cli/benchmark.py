"""``luthier evaluate --tasks``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from luthier.api.results import BenchmarkResult
from luthier.cli.flags import WholeOrNone
from luthier.cli.groups import TASKS
from luthier.cli.options import names_of
from luthier.cli.output import print_json, print_result
from luthier.config import RunConfig


@Parameter(name="*", group=TASKS)
@dataclass(frozen=True)
class BenchmarkOptions:
    """Options for benchmark tasks."""

    tasks: str | None = None
    "Benchmark tasks, suites, and YAML files of your own, with commas between them."
    limit: Annotated[WholeOrNone, Parameter(validator=Number(gte=1))] = None
    "Maximum rows per task, sampled with the seed."
    chat_template: Annotated[bool | None, Parameter(negative="")] = None
    "Ask through the models' chat templates, with shots as turns."

    @property
    def names(self) -> tuple[str, ...]:
        """The names of tasks and suites."""
        return () if self.tasks is None else names_of(self.tasks)


def benchmark(
    targets: Sequence[str],
    tasks: Sequence[str],
    config: RunConfig,
    options: BenchmarkOptions,
    shots: int | None,
    *,
    as_json: bool,
) -> None:
    """Evaluate models and runs on tasks; print a table or one JSON document."""
    import luthier

    results = luthier.benchmark(
        targets,
        tasks,
        config,
        shots=shots,
        limit=options.limit,
        chat_template=options.chat_template,
    )
    if as_json:
        print_json([_document(result) for result in results])
        return
    from luthier.reports.benchmarks import Benchmarked, asked_lines, benchmark_table, label_lines
    from luthier.reports.classes import abstention_lines

    systems = [Benchmarked(_name(r), r.evaluations, r.suites) for r in results]
    measured = [(system.name, system.evaluations) for system in systems]
    labels = label_lines(record for result in results for record in result.evaluations)
    notes = (*asked_lines(measured), *labels, *abstention_lines(measured))
    reports = [f"Report: {result.report}" for result in results]
    print_result(benchmark_table(systems), "", *notes, *([""] if notes else []), *reports)
    if len(results) > 1:
        runs = " ".join(str(result.run.path) for result in results)
        print_result(f"Are the differences real? luthier compare {runs}")


def _document(result: BenchmarkResult) -> dict[str, Any]:
    return {
        "run": str(result.run.path),
        "report": str(result.report),
        "suites": [suite.model_dump(mode="json") for suite in result.suites],
        "tasks": [record.model_dump(mode="json") for record in result.evaluations],
    }


def _name(result: BenchmarkResult) -> str:
    """The name of a tuned run, otherwise that of its model."""
    model, adapter = result.evaluations[0].model, result.evaluations[0].adapter
    return result.run.name if adapter else model.id
