"""``luthier compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from luthier.cli.flags import Json, Whole
from luthier.cli.judge import print_judgements
from luthier.cli.options import read_configuration
from luthier.cli.output import print_json, print_result
from luthier.core.errors import UsageError


def compare(
    *arguments: str,
    metric: str | None = None,
    task: str | None = None,
    items: Annotated[Whole, Parameter(validator=Number(gte=0))] = 0,
    html: Path | None = None,
    judge: str | None = None,
    judge_name: str | None = None,
    judge_template: str | None = None,
    json: Json = False,
) -> None:
    """Compare runs with the first one, paired by example, on every task that all of them have.

    Args:
        arguments: Run directories; an adapt run stands for the rung that it recommends, and any
            rung can be named, such as runs/NAME/rungs/lora. For a judge also its settings, such as
            model.endpoint.concurrency=4.
        metric: Which metric decides; without it, each task's first.
        task: One of the runs' tasks alone, such as glue/rte.
        items: Of each task, list so many examples on which the runs' scores differ.
        html: Write a page with all answers side by side into this file.
        judge: Let this model compare the answers, each pair in both orders: the URL of a server, or
            a model. A single run is compared with the accepted answers.
        judge_name: What the server calls the judge, where it has several models.
        judge_template: How the judge is asked: a YAML file.
    """
    settings = tuple(text for text in arguments if "=" in text)
    runs = [text for text in arguments if "=" not in text]
    if judge is None:
        if settings or judge_name or judge_template:
            raise UsageError(
                "settings, --judge-name and --judge-template are those of a judge",
                fix="name one with --judge, or leave them out",
            )
        _compare(runs, metric, task, items, html, as_json=json)
        return
    if metric or items or html:
        raise UsageError(
            "a judge needs no metric, and lists no items",
            fix="leave out --metric, --items and --html, or --judge",
        )
    named = {"model__id": judge, "model__endpoint__name": judge_name}
    config = read_configuration(settings, None, **named)
    print_judgements(runs, config, task, judge_template, as_json=json)


def _compare(
    runs: Sequence[str],
    metric: str | None,
    task: str | None,
    items: int,
    html: Path | None,
    *,
    as_json: bool,
) -> None:
    """By a metric, on the stored answers."""
    import luthier

    comparison = luthier.compare(runs, metric, task, num_items=items, html=html)
    if as_json:
        print_json(comparison.model_dump(mode="json"))
        return
    from luthier.reports.comparisons import comparison_table, different_items

    print_result(comparison_table(comparison), *different_items(comparison))
    if html:
        print_result("", f"Side by side: {html}")
