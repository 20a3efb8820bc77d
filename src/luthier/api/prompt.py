"""Ask a model: `luthier prompt`."""

from __future__ import annotations

from pathlib import Path

from luthier.api.configuration import (
    Configuration,
    Overrides,
    configure_for,
)
from luthier.core.console import Console
from luthier.records.evaluation import SampleRecord
from luthier.records.run_directory import RunDirectory


def prompt(
    config: Configuration = None,
    overrides: Overrides = None,
    console: Console | None = None,
    *,
    question: str | None = None,
    run: str | Path | None = None,
    num: int = 3,
) -> tuple[SampleRecord, ...]:
    """Ask a model, with ``prompt.shots`` worked examples before the question.

    Args:
        config: the configuration; None: that of the run, or the defaults.
        overrides: changed values.
        console: shows progress.
        question: a question of your own; None: the first test examples of the task.
        run: a tuned run to ask instead of the base model.
        num: how many test examples to ask.

    Raises:
        LuthierError: see `luthier.core.errors`.
    """
    from luthier.workflows.prompting import ask_model

    tuned = RunDirectory.open(Path(run)) if run else None
    resolved = configure_for(tuned, config, overrides)
    return ask_model(resolved, console or Console(), tuned, question, num)
