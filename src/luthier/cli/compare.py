"""``luthier compare``."""

from __future__ import annotations

from luthier.cli.flags import Json
from luthier.cli.judge import print_judgements
from luthier.cli.options import read_configuration
from luthier.cli.output import print_json, print_result
from luthier.core.errors import UsageError


def compare(
    *arguments: str,
    metric: str | None = None,
    task: str | None = None,
    judge: str | None = None,
    judge_name: str | None = None,
    judge_template: str | None = None,
    json: Json = False,
) -> None:
    """Compare runs with the first one, paired by example.

    Args:
        arguments: Run directories; of an adapt run, its rungs, such as runs/NAME/rungs/lora. For a
            judge also its settings, such as model.endpoint.concurrency=4.
        metric: Which metric decides.
        task: Which of the runs' tasks, such as glue/rte, where they were measured on several.
        judge: Let this model compare the answers, each pair in both orders: the URL of a server, or
            a model. A single run is compared with the accepted answers.
        judge_name: What the server calls the judge, where it has several models.
        judge_template: How the judge is asked: a YAML file.
    """
    settings = tuple(text for text in arguments if "=" in text)
    runs = [text for text in arguments if "=" not in text]
    if judge is not None:
        named = {"model__id": judge, "model__endpoint__name": judge_name}
        config = read_configuration(settings, None, **named)
        print_judgements(runs, config, task, judge_template, as_json=json)
    elif settings or judge_name or judge_template:
        raise UsageError(
            "settings, --judge-name and --judge-template are those of a judge",
            fix="name one with --judge, or leave them out",
        )
    else:
        _compare(runs, metric, task, as_json=json)


def _compare(runs: list[str], metric: str | None, task: str | None, *, as_json: bool) -> None:
    """By a metric, on the stored answers."""
    from luthier import api

    result = api.compare(runs, metric, task)
    if as_json:
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
