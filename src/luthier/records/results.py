"""Results of a run: which model they are of, and where they go when that model is replaced."""

from __future__ import annotations

from pathlib import Path

from luthier.core.disk import storing
from luthier.core.errors import DataError
from luthier.records.run_directory import RunDirectory

_MEASURED = (
    "evaluation", "suites", "judgements", "forgetting.json", "forgetting.items.jsonl", "merged",
    "rung.json",
)  # fmt: skip
"""Everything that is computed from a run's model."""
_TOLD = ("report.html", "report.md")
"""Reports go with what they tell of; by themselves they are written again."""


def tuned_model(run: RunDirectory) -> Path | None:
    """The folder of a run's tuned model; None: the run measures a model as it is.

    Raises:
        DataError: it is an adapt run, which holds several models, or a tuning that has not come to
            its end.
    """
    if run.is_adapt:
        raise DataError("an adapt run holds several models", where=str(run.path))
    if run.model.is_dir():
        return run.model
    if run.metrics.exists() or run.checkpoints.exists():
        raise DataError(
            "the training of this run is not finished, so it has no model yet",
            where=str(run.path),
            fix=f"go on with 'luthier resume {run.path}'",
        )
    return None


def require_tuned_model(run: RunDirectory) -> Path:
    """The folder of a run's tuned model.

    Raises:
        DataError: there is no tuned model.
    """
    if found := tuned_model(run):
        return found
    raise DataError(
        "this run has no tuned model", where=str(run.path), fix="name a run of 'luthier tune'"
    )


def set_aside_results(run: RunDirectory, step: int) -> Path | None:
    """Move what was measured of a model that is about to be replaced.

    Args:
        run: the run; nobody else writes to it.
        step: the optimizer steps that the model has had.

    Returns:
        Where it is now; None where there was nothing.

    Raises:
        ResourceError: the run directory cannot be written.
    """
    found = [path for name in _MEASURED if (path := run.path / name).exists()]
    if not found:
        return None
    found += [path for name in _TOLD if (path := run.path / name).exists()]
    place = _unused(run.path / "earlier" / f"step-{step:06d}")
    with storing(place):
        place.mkdir(parents=True)
        for path in found:
            path.rename(place / path.name)
    return place


def _unused(place: Path) -> Path:
    number, chosen = 1, place
    while chosen.exists():
        number += 1
        chosen = place.with_name(f"{place.name}-{number}")
    return chosen
