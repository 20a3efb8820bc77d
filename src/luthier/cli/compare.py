"""``luthier compare``."""

from __future__ import annotations

from pathlib import Path

from luthier.cli.flags import Json
from luthier.cli.output import print_json, print_result


def compare(
    *runs: Path, metric: str | None = None, task: str | None = None, json: Json = False
) -> None:
    """Compare runs with the first one, paired by example.

    Args:
        runs: Run directories; of an adapt run, its rungs, such as runs/NAME/rungs/lora.
        metric: Which metric decides.
        task: Which of the runs' tasks, such as glue/rte, where they were measured on several.
    """
    from luthier import api

    result = api.compare(runs, metric, task)
    if json:
        print_json(
            {
                "metric": result.metric,
                "baseline": result.names[0],
                "evaluations": {
                    name: evaluation.model_dump(mode="json")
                    for name, evaluation in zip(result.names, result.evaluations, strict=True)
                },
                "comparisons": {
                    name: comparison.model_dump(mode="json")
                    for name, comparison in zip(result.names[1:], result.comparisons, strict=True)
                },
            }
        )
        return
    from luthier.report import Compared, comparison_table

    comparisons = (None, *result.comparisons)
    rows = [
        Compared(name, evaluation.metric(result.metric), comparison)
        for name, evaluation, comparison in zip(
            result.names, result.evaluations, comparisons, strict=True
        )
    ]
    print_result(comparison_table(result.metric, rows))
