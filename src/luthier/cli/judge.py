"""``luthier compare --judge``."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.cli.output import print_json, print_result
from luthier.config import RunConfig


def print_judgements(
    runs: Sequence[str],
    config: RunConfig,
    task: str | None,
    template: str | None,
    *,
    as_json: bool,
) -> None:
    """Let a model judge the answers of runs, and print its win rates."""
    import luthier

    judgements = luthier.judge(runs, config, task=task, template=template)
    if as_json:
        print_json([judgement.model_dump(mode="json") for judgement in judgements])
        return
    from luthier.reports.changes import judgement_table

    print_result(judgement_table(judgements))
