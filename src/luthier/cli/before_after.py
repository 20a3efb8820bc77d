"""``luthier evaluate --before … --after …`` and ``--power``: what is compared or planned."""

from __future__ import annotations

from luthier.cli.output import print_json, print_result


def print_forgotten(after: str, before: str | None, *, as_json: bool) -> None:
    """Compare a tuned run with what was before, and print what was lost."""
    from luthier import comparing

    report = comparing.forgotten(after, before)
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    from luthier.report.changes import forgetting_tables

    for table in forgetting_tables(report):
        print_result(table, "")


def print_sample_size(
    difference: float, run: str | None, base_rate: float | None, *, as_json: bool
) -> None:
    """Print how many examples show a difference."""
    from luthier import comparing

    plan = comparing.plan_examples(difference, run, base_rate=base_rate)
    if as_json:
        print_json(plan.model_dump(mode="json"))
        return
    from luthier.report.changes import sample_size_table

    print_result(sample_size_table(plan))
