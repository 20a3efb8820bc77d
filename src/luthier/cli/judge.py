"""``luthier judge``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from luthier.cli.flags import Json
from luthier.cli.options import read_configuration
from luthier.cli.output import print_json, print_result


def judge(
    *arguments: Annotated[str, Parameter(required=True)],
    model: str,
    model_name: str | None = None,
    template: str | None = None,
    task: str | None = None,
    json: Json = False,
) -> None:
    """Let a model judge the answers of runs against those of the first, each pair in both orders.

    A win counts only where both verdicts agree. A single run is compared with the accepted answers.

    Args:
        arguments: Evaluated runs; an adapt run stands for the rung that it recommends. Also the
            judge's settings, such as model.endpoint.concurrency=4.
        model: The judge: the URL of a server, a bundled name, a Hub id, or a folder.
        model_name: What the server calls the judge, where it has several models.
        template: How the judge is asked: a YAML file.
        task: One of the runs' tasks, such as glue/rte; default: that of their own data.
    """
    settings = tuple(text for text in arguments if "=" in text)
    runs = [text for text in arguments if "=" not in text]
    named = {"model__id": model, "model__endpoint__name": model_name}
    config = read_configuration(settings, None, **named)
    import luthier

    judgements = luthier.judge(runs, config, task=task, template=template)
    if json:
        print_json([judgement.model_dump(mode="json") for judgement in judgements])
        return
    from luthier.reports.changes import judgement_table

    print_result(judgement_table(judgements))
