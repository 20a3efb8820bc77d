"""``luthier tasks``."""

from __future__ import annotations

from luthier.cli.flags import Json
from luthier.cli.output import print_json, print_result
from luthier.core.tables import Table
from luthier.core.units import counted


def tasks(name: str | None = None, *, json: Json = False) -> None:
    """List the tasks and suites that have rows of their own, or show how one of them asks.

    Args:
        name: A task, a suite, a template, or a YAML file of your own.
    """
    if name is None:
        _list(as_json=json)
        return
    from luthier.config.load import to_yaml
    from luthier.evaluation.asking import load_task

    found = load_task(name)
    if json:
        print_json(found.model_dump(mode="json"))
    else:
        print_result(to_yaml(found).rstrip())


def _list(*, as_json: bool) -> None:
    from luthier.evaluation.asking import load_task
    from luthier.tasks.load import task_names
    from luthier.tasks.suite import Suite

    known = [load_task(name) for name in task_names()]
    found = [item for item in known if isinstance(item, Suite) or item.has_rows]
    if as_json:
        print_json([item.model_dump(mode="json") for item in found])
        return
    suites = [item for item in found if isinstance(item, Suite)]
    many = {name for suite in suites if suite.categories for name in suite.tasks}
    table = Table("task", "format")
    table.prose("metrics")
    table.prose("about")
    for item in found:
        if isinstance(item, Suite):
            table.add_row(item.name, item.format, counted(len(item.tasks), "task"), item.about)
        elif item.name not in many:
            table.add_row(item.name, item.format, ", ".join(item.metrics), item.about)
    note = (
        "Each subject of MMLU is a task too, such as mmlu/anatomy. Measure with\n"
        "'luthier evaluate MODEL --tasks glue/rte,mmlu'; your own task is a YAML file.\n"
        "Templates for rows of your own: 'luthier prompt --templates'."
    )
    print_result(table, "", note)
