"""``luthier evaluate --tasks``."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.cli.output import print_json, print_result
from luthier.config import RunConfig
from luthier.core.errors import UsageError
from luthier.results import BenchmarkResult


def benchmark(
    targets: Sequence[str],
    tasks: Sequence[str],
    config: RunConfig,
    shots: int | None,
    limit: int | None,
    *,
    as_json: bool,
) -> None:
    """Measure models and runs on tasks, and print a table or one JSON document."""
    import luthier

    results = luthier.benchmark(targets, tasks, config, shots=shots, limit=limit)
    if as_json:
        print_json(
            [
                {
                    "run": str(result.run.path),
                    "suites": [suite.model_dump(mode="json") for suite in result.suites],
                    "tasks": [record.model_dump(mode="json") for record in result.evaluations],
                }
                for result in results
            ]
        )
        return
    from luthier.report.benchmarks import Benchmarked, benchmark_table, label_lines

    systems = [Benchmarked(_name(r), r.evaluations, r.suites) for r in results]
    print_result(benchmark_table(systems), "", *label_lines(systems))


def submit(
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
