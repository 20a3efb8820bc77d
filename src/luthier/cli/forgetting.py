"""``luthier forgetting``."""

from __future__ import annotations

from luthier.cli.flags import Json
from luthier.cli.options import read_settings
from luthier.cli.output import print_json, print_result


def forgetting(run: str, /, *settings: str, before: str | None = None, json: Json = False) -> None:
    """Measure what a tuned run forgot, on general text and in stored evaluations, item by item.

    The losses on general text are measured now, the answers to tasks are those that both runs have
    stored. The outcome is stored in the run.

    Args:
        run: A tuned run; an adapt run stands for the rung that it recommends.
        settings: What a stored run may not decide by itself, such as model.trust_remote_code=true.
        before: The model, or the run, to compare with; default: the model that the run was tuned
            from.
    """
    import luthier

    report = luthier.measure_forgetting(run, before, overrides=read_settings(settings))
    if json:
        print_json(report.model_dump(mode="json"))
        return
    from luthier.reports.changes import forgetting_tables

    for table in forgetting_tables(report):
        print_result(table, "")
