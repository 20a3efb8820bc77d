"""Measure forgetting: `luthier forgetting`."""

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
    """The changes of a tuned run on general text and in every shared evaluation.

    The result is stored in the run: ``forgetting.json``, and per item in
    ``forgetting.items.jsonl``.

    Args:
        after: a tuned run, or a rung of an adapt run.
        before: the model, or an evaluated or tuned run; None: the base model of ``after``.
        console: shows progress.
        overrides: settings that a stored run may not decide, such as ``{"model.trust_remote_code":
            True}``.

    Raises:
        UsageError: the models have different tokenizers, or a setting that a run needs was not
            given.
        DataError: ``after`` is not a tuned run, or there is nothing to compare.

    Example:
        >>> import luthier
        >>> report = luthier.measure_forgetting("runs/tuned")
        >>> report.general.value > -1  # nats per token; positive: forgotten
        True
    """
    from luthier.workflows.forgetting import compare_with_before

    console = console or Console()
    (run,) = open_runs([after], console)
    config = stored_config(run, grants(overrides or {}))
    return compare_with_before(run, config, find_target(before, console), console)
