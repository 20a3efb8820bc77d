"""Merge an adapter into its base model: `luthier merge`."""

from __future__ import annotations

from pathlib import Path

from luthier.api.configuration import (
    Overrides,
    configure,
)
from luthier.api.results import MergeResult
from luthier.config.stored import grants
from luthier.context.run_or_model import open_runs
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.records.run_lock import writing


def merge(
    run: str | Path,
    output: str | Path | None = None,
    console: Console | None = None,
    *,
    base: str | None = None,
    overrides: Overrides = None,
) -> MergeResult:
    """Merge an adapter into its base model, check that both agree, and save the merged model.

    Args:
        run: a finished tune run, a rung of an adapt run, or an adapter (a folder or a Hub id).
        output: the folder for the merged model; None: ``merged`` in the run.
        console: shows progress.
        base: the adapter's base model; None: the one that it names.
        overrides: settings that a stored run may not decide, and an adapter's model settings, such
            as ``{"model.trust_remote_code": True}``.

    Raises:
        UsageError: there is no adapter, it cannot be merged, or the output folder is missing.
        DataError: merged and unmerged logits differ, or an artifact is damaged.

    Example:
        >>> import luthier
        >>> result = luthier.merge("runs/tuned")
        >>> result.difference <= result.tolerance
        True
    """
    from luthier.workflows.merge import merge_adapter, merge_run, names_adapter

    if names_adapter(str(run)):
        if output is None:
            raise UsageError(
                "an adapter outside a run needs an output folder",
                where=str(run),
                fix="set one with --output",
            )
        own = {"model.id": str(run), "model.base": base}
        model = configure(None, {**grants(overrides or {}), **own}).model
        merged = merge_adapter(model, Path(output), console or Console())
        return MergeResult(Path(output), merged.difference, merged.tolerance, merged.positions)
    if base is not None:
        raise UsageError(
            "a run already names its base model", where=str(run), fix="leave --base out"
        )
    console = console or Console()
    (opened,) = open_runs([run], console)
    folder = Path(output) if output else opened.merged
    with writing(opened, console):
        merged = merge_run(opened, folder, console, grants(overrides or {}))
    return MergeResult(folder, merged.difference, merged.tolerance, merged.positions)
