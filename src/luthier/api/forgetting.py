"""What a tuning made a model forget: `luthier forgetting`."""

from __future__ import annotations

from pathlib import Path

from luthier.api.configuration import (
    Overrides,
)
from luthier.config.stored import grants, stored_config
from luthier.context.run_or_model import find_target, open_runs
from luthier.core.console import Console
from luthier.records.forgetting import ForgettingReport


def measure_forgetting(
    after: str | Path,
    before: str | Path | None = None,
    console: Console | None = None,
    *,
    overrides: Overrides = None,
) -> ForgettingReport:
    """What a tuned run lost: on general text, and in every evaluation that both have.

    The outcome is stored in the run: ``forgetting.json``, and item by item in
    ``forgetting.items.jsonl``.

    Args:
        after: a tuned run, or a rung of an adapt run.
        before: the model, or an evaluated or tuned run; None: the base model of ``after``.
        console: shows progress.
        overrides: what a stored run may not decide by itself, such as
            ``{"model.trust_remote_code": True}``.

    Raises:
        UsageError: the two have different tokenizers, or a run asks for what was not given.
        DataError: ``after`` is no tuned run, or there is nothing to compare.
    """
    from luthier.workflows.forgetting import compare_with_before

    console = console or Console()
    (run,) = open_runs([after], console)
    config = stored_config(run, grants(overrides or {}))
    return compare_with_before(run, config, find_target(before, console), console)
