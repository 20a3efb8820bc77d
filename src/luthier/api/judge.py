"""Judge answers with a model: `luthier judge`."""

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
"""The name of the references, if answers are compared with them."""


def judge(
    runs: Sequence[str | Path],
    config: Configuration = None,
    overrides: Overrides = None,
    console: Console | None = None,
    *,
    task: str | None = None,
    template: str | Path | None = None,
) -> tuple[Judgement, ...]:
    """Judge the answers of runs against those of the first run with a model, in both orders.

    The result is stored in each judged run, in ``judgements/``.

    Args:
        runs: evaluated runs; a single one is compared with the references.
        config: the configuration with the judge as its model, local or on a server.
        overrides: changed settings, such as ``{"model.id": "http://127.0.0.1:8000/v1"}``.
        console: shows progress.
        task: one of the runs' evaluations; None: that of their own data.
        template: the judge's prompt template; None: Luthier's own.

    Raises:
        UsageError: no run is named, or the judge's settings are invalid.
        DataError: a run has no evaluation, or the examples differ.
        ResourceError: a server cannot be reached.

    Example:
        >>> import luthier
        >>> (verdict,) = luthier.judge(  # doctest: +SKIP
        ...     ["runs/untuned", "runs/tuned"], overrides={"model.id": "http://127.0.0.1:8000/v1"}
        ... )
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
