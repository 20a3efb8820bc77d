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
    """Judge the answers of runs against those of the first run with a model, in both orders.

    A win counts only if both verdicts agree. A single run is compared with the references.

    Args:
        arguments: Evaluated runs; an adapt run stands for its recommended rung. Also settings of
            the judge, such as model.endpoint.concurrency=4.
        model: The judge: the URL of a server, a bundled name, a Hub id, or a folder.
        model_name: The judge's name on the server, if it has several models.
        template: The judge's prompt template: a YAML file.
        task: One of the runs' tasks, such as glue/rte; default: the task of their own data.
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
