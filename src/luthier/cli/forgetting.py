"""``luthier forgetting``."""

from __future__ import annotations

from luthier.cli.flags import Json
from luthier.cli.options import read_settings
from luthier.cli.output import print_json, print_result


def forgetting(run: str, /, *settings: str, before: str | None = None, json: Json = False) -> None:
    """Measure what a tuned run forgot, on general text and in stored evaluations, item by item.

    The losses on general text are measured now; answers to tasks are those stored by both runs. The
    result is stored in the run.

    Args:
        run: A tuned run; an adapt run stands for its recommended rung.
        settings: Settings that a stored run may not decide, such as model.trust_remote_code=true.
        before: The model or run to compare with; default: the base model of the run.
    """
    import luthier

    report = luthier.measure_forgetting(run, before, overrides=read_settings(settings))
    if json:
        print_json(report.model_dump(mode="json"))
        return
    from luthier.reports.changes import forgetting_tables

    for table in forgetting_tables(report):
        print_result(table, "")
