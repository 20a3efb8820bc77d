"""Resume an interrupted run: `luthier resume`."""

from __future__ import annotations

from pathlib import Path

from luthier.api.adapt import adapt_until
from luthier.api.configuration import (
    Overrides,
)
from luthier.api.results import AdaptResult, TuneResult
from luthier.api.tune import tune_until
from luthier.config.load import override
from luthier.config.stored import grants, stored_config
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.files import read_json
from luthier.records.run_directory import RunDirectory
from luthier.records.training import TrainingRecord


def resume(
    run: str | Path,
    console: Console | None = None,
    *,
    max_time: str | float | None = None,
    overrides: Overrides = None,
) -> TuneResult | AdaptResult:
    """Resume an interrupted tune or adapt run; a finished one is not repeated.

    A time limit holds for each session: a training that ran out of time goes on with the remaining
    steps for ``train.max_time`` more.

    Args:
        run: the run directory.
        console: shows progress.
        max_time: the time limit of this session and of later ones, in seconds or as ``"2h"``; None:
            that of the run.
        overrides: settings that a stored run may not decide, such as ``{"model.trust_remote_code":
            True}``.

    Raises:
        UsageError: the run is of another kind, its inputs have changed, or a value is invalid.
        DataError: ``run`` is not a run directory.

    Example:
        >>> import luthier
        >>> result = luthier.resume("runs/tuned", max_time="2h")
        >>> result.is_finished
        True
    """
    opened, console = RunDirectory.open(Path(run)), console or Console()
    kind, config = kind_of(opened), stored_config(opened, grants(overrides or {}))
    if kind not in ("adapt", "tune"):
        raise UsageError(
            f"only a tune or an adapt run can be resumed; this one is of the kind {kind!r}",
            where=str(opened.path),
        )
    if max_time is not None:
        config = override(config, {"train.max_time": max_time})
    limit = config.train.max_time
    if kind == "adapt":
        return adapt_until(config, _limit_of_rungs(opened, limit), console)
    return tune_until(config, session_limit(opened, limit), console)


def session_limit(run: RunDirectory, limit: float | None) -> float | None:
    """The seconds of training in total with which one more session of ``limit`` seconds ends."""
    from luthier.workflows.tune import seconds_trained

    return None if limit is None else seconds_trained(run) + limit


def _limit_of_rungs(run: RunDirectory, limit: float | None) -> float | None:
    """The limit with which every training that ran out of time has at least ``limit`` more."""
    if limit is None:
        return None
    records = [TrainingRecord.read(r.training) for r in run.rungs() if r.training.is_file()]
    return limit + max((one.seconds for one in records if one.stopped == "time"), default=0.0)


def kind_of(run: RunDirectory) -> str:
    """The kind of a run according to its manifest: ``adapt``, ``tune`` or ``evaluate``.

    Raises:
        DataError: the manifest is missing or invalid.
    """
    manifest = read_json(run.manifest)
    if not isinstance(manifest, dict):
        raise DataError("this is not the manifest of a run", where=str(run.manifest))
    return str(manifest.get("kind"))
