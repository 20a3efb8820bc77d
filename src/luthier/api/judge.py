"""Let a model judge answers: `luthier judge`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from luthier.api.configuration import (
    Configuration,
    Overrides,
    configure,
)
from luthier.context.run_or_model import open_runs
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.records.comparison import (
    Judgement,
)

_REFERENCES = "references"
"""The name of the accepted answers where they are what answers are compared with."""


def judge(
    runs: Sequence[str | Path],
    config: Configuration = None,
    overrides: Overrides = None,
    console: Console | None = None,
    *,
    task: str | None = None,
    template: str | Path | None = None,
) -> tuple[Judgement, ...]:
    """Let a model judge the answers of runs against those of the first, each pair in both orders.

    The outcome is stored in each judged run, in ``judgements/``.

    Args:
        runs: evaluated runs; a single one is compared with the accepted answers.
        config: its model is the judge: in files, or on a server.
        overrides: changed values, such as ``{"model.id": "http://127.0.0.1:8000/v1"}``.
        console: shows progress.
        task: which of the runs' evaluations; None: the one of their own data.
        template: how the judge is asked; None: as Luthier asks.

    Raises:
        UsageError: no run is named, or the judge's settings are wrong.
        DataError: a run has no evaluation, or they are not of the same examples.
        ResourceError: a server is out of reach.
    """
    from luthier.evaluation import load_evaluation
    from luthier.evaluation.judge import paired_answers
    from luthier.reports.content import compared_task
    from luthier.workflows.judge_runner import load_judge

    if not runs:
        raise UsageError("there is nothing to judge", fix="name at least one evaluated run")
    console = console or Console()
    opened = open_runs(runs, console)
    tasks = [compared_task(run, task) for run in opened]
    answers = [load_evaluation(run, name) for run, name in zip(opened, tasks, strict=True)]
    baseline = answers[0] if len(runs) > 1 else None
    baseline_name = opened[0].name if baseline else _REFERENCES
    first = 1 if baseline else 0
    pairs = [paired_answers(baseline, candidate) for candidate in answers[first:]]
    judging = load_judge(configure(config, overrides), template, console)
    return tuple(
        judging.compare(run, name, baseline_name, paired, console)
        for run, name, paired in zip(opened[first:], tasks[first:], pairs, strict=True)
    )
