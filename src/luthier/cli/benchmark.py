"""``luthier evaluate --tasks``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from luthier.api.results import BenchmarkResult
from luthier.cli.flags import WholeOrNone
from luthier.cli.output import print_json, print_result
from luthier.config import RunConfig
from luthier.core.errors import UsageError


@Parameter(name="*")
@dataclass(frozen=True)
class BenchmarkOptions:
    """Which tasks are asked, and how."""

    tasks: str | None = None
    "Benchmark tasks, suites, and YAML files of your own, with commas between them."
    shots: WholeOrNone = None
    "Worked examples before each question."
    limit: Annotated[WholeOrNone, Parameter(validator=Number(gte=1))] = None
    "Of each task, at most so many rows, drawn with the seed."
    chat_template: Annotated[bool | None, Parameter(negative="")] = None
    "Ask through the models' chat templates, worked examples as turns."
    submission: str | None = None
    """Do not measure: predict the unlabelled split of each task, and write it into this folder as
    the leaderboard wants it."""

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks and suites that are named."""
        if self.tasks is None:
            return ()
        return tuple(name.strip() for name in self.tasks.split(","))


def benchmark(
    targets: Sequence[str],
    tasks: Sequence[str],
    config: RunConfig,
    options: BenchmarkOptions,
    *,
    as_json: bool,
) -> None:
    """Measure models and runs on tasks, or write predictions for leaderboards."""
    if options.submission:
        if options.limit:
            raise UsageError(
                "--limit has no effect on predictions for a leaderboard, which wants all of them",
                fix="leave it out",
            )
        _submit(targets, tasks, config, options.shots, options.submission, as_json=as_json)
    else:
        _measure(targets, tasks, config, options, as_json=as_json)


def _measure(
    targets: Sequence[str],
    tasks: Sequence[str],
    config: RunConfig,
    options: BenchmarkOptions,
    *,
    as_json: bool,
) -> None:
    """Print a table or one JSON document, and where the reports are."""
    import luthier

    results = luthier.benchmark(
        targets,
        tasks,
        config,
        shots=options.shots,
        limit=options.limit,
        chat_template=options.chat_template,
    )
    if as_json:
        print_json(
            [
                {
                    "run": str(result.run.path),
                    "report": str(result.report),
                    "suites": [suite.model_dump(mode="json") for suite in result.suites],
                    "tasks": [record.model_dump(mode="json") for record in result.evaluations],
                }
                for result in results
            ]
        )
        return
    from luthier.reports.benchmarks import Benchmarked, asked_lines, benchmark_table, label_lines

    systems = [Benchmarked(_name(r), r.evaluations, r.suites) for r in results]
    measured = [(system.name, system.evaluations) for system in systems]
    labels = label_lines(record for result in results for record in result.evaluations)
    notes = (*asked_lines(measured), *labels)
    reports = [f"Report: {result.report}" for result in results]
    print_result(benchmark_table(systems), "", *notes, *([""] if notes else []), *reports)
    if len(results) > 1:
        runs = " ".join(str(result.run.path) for result in results)
        print_result(f"Are the differences real? luthier compare {runs}")


def _submit(
    targets: Sequence[str],
    tasks: Sequence[str],
    config: RunConfig,
    shots: int | None,
    folder: str,
    *,
    as_json: bool,
) -> None:
    """Write predictions for leaderboards, and say where."""
    import luthier

    if len(targets) > 1:
        raise UsageError("predictions are of one model", fix="name one run or model")
    written = luthier.submit(targets[0] if targets else None, tasks, folder, config, shots=shots)
    if as_json:
        print_json({"files": [str(path) for path in written]})
    else:
        print_result(*map(str, written))


def _name(result: BenchmarkResult) -> str:
    """A tuned run by its own name, anything else by its model's."""
    model, adapter = result.evaluations[0].model, result.evaluations[0].adapter
    return result.run.name if adapter else model.id
