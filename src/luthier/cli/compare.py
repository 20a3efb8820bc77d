"""``luthier compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from luthier.cli.flags import Json, Whole
from luthier.cli.output import print_json, print_result


def compare(
    *runs: str,
    metric: str | None = None,
    task: str | None = None,
    items: Annotated[Whole, Parameter(validator=Number(gte=0))] = 0,
    html: Path | None = None,
    json: Json = False,
) -> None:
    """Compare runs with the first one, paired by example, on every task that all of them have.

    Args:
        runs: Run directories. An adapt run stands for its recommended rung; any rung can be named,
            such as runs/NAME/rungs/lora.
        metric: The primary metric; default: each task's first.
        task: Compare only this task, such as glue/rte.
        items: Number of examples per task to list on which the runs' scores differ.
        html: Write a page with all answers side by side to this file.
    """
    import luthier

    comparison = luthier.compare(runs, metric, task, num_items=items, html=html)
    if json:
        print_json(comparison.model_dump(mode="json"))
        return
    from luthier.reports.comparisons import comparison_table, different_items

    print_result(comparison_table(comparison), *different_items(comparison))
    if html:
        print_result("", f"Side by side: {html}")
