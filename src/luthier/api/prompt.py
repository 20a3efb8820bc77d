"""Prompt a model: `luthier prompt`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from luthier.api.configuration import (
    Configuration,
    Overrides,
    configure_for,
)
from luthier.context.run_or_model import Target, open_target
from luthier.core.console import Console
from luthier.records.evaluation import SampleRecord

if TYPE_CHECKING:
    from luthier.workflows.prompting import Question


def prompt(
    config: Configuration = None,
    overrides: Overrides = None,
    console: Console | None = None,
    *,
    question: Question | None = None,
    run: str | Path | None = None,
    num: int = 3,
) -> tuple[SampleRecord, ...]:
    """Prompts and answers of a model, with ``prompt.shots`` shots before the question.

    Args:
        config: the configuration; None: that of the run, or the defaults.
        overrides: changed settings.
        console: shows progress.
        question: a question of your own; None: the first test examples of the task. A run's task
            renders it: a text fills the only column, a mapping gives the values of several.
        run: a run to ask instead of the configured model; an adapt run stands for its recommended
            rung.
        num: number of test examples to ask.

    Raises:
        LuthierError: see `luthier.core.errors`.

    Example:
        >>> import luthier
        >>> answers = luthier.prompt("task.yaml", num=1)
        >>> text = answers[0].prediction
    """
    from luthier.workflows.prompting import ask_model

    console = console or Console()
    target = open_target(run, console) if run else Target()
    resolved = configure_for(target.run, config, overrides)
    return ask_model(resolved, console, target, question, num)
