"""Resume an interrupted run: `luthier resume`."""

from __future__ import annotations

from pathlib import Path

from luthier.api.adapt import adapt
from luthier.api.configuration import (
    Overrides,
)
from luthier.api.results import AdaptResult, TuneResult
from luthier.api.tune import tune
from luthier.config.stored import grants, stored_config
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.files import read_json
from luthier.records.run_directory import RunDirectory


def resume(
    run: str | Path, console: Console | None = None, *, overrides: Overrides = None
) -> TuneResult | AdaptResult:
    """Resume an interrupted tune or adapt run; a finished one is not repeated.

    Args:
        run: the run directory.
        console: shows progress.
        overrides: settings that a stored run may not decide, such as ``{"model.trust_remote_code":
            True}``.

    Raises:
        UsageError: the run is of another kind, or its inputs have changed.
        DataError: ``run`` is not a run directory.
    """
    opened = RunDirectory.open(Path(run))
    kind, config = kind_of(opened), stored_config(opened, grants(overrides or {}))
    if kind == "adapt":
        return adapt(config, console=console)
    if kind == "tune":
        return tune(config, console=console)
    raise UsageError(
        f"only a tune or an adapt run can be resumed; this one is of the kind {kind!r}",
        where=str(opened.path),
    )


def kind_of(run: RunDirectory) -> str:
    """The kind of a run according to its manifest: ``adapt``, ``tune`` or ``evaluate``.

    Raises:
        DataError: the manifest is missing or invalid.
    """
    manifest = read_json(run.manifest)
    if not isinstance(manifest, dict):
        raise DataError("this is not the manifest of a run", where=str(run.manifest))
    return str(manifest.get("kind"))
