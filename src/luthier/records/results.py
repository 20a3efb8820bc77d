"""The results of a run: their model, and their archiving when the model is replaced."""

from __future__ import annotations

from pathlib import Path

from luthier.core.disk import storing
from luthier.core.errors import DataError
from luthier.records.run_directory import RunDirectory

_MEASURED = (
    "evaluation", "suites", "judgements", "forgetting.json", "forgetting.items.jsonl", "merged",
    "hub", "rung.json",
)  # fmt: skip
"""Files computed from a run's model."""
_TOLD = ("report.html", "report.md")
"""Reports move with the results they describe; a report without results is rewritten."""


def tuned_model(run: RunDirectory) -> Path | None:
    """The folder of a run's tuned model; None: the run measures an untuned model.

    Raises:
        DataError: it is an adapt run, which contains several models, an unfinished training, or a
            baseline.
    """
    if run.is_adapt:
        raise DataError("an adapt run contains several models", where=str(run.path))
    if run.baseline.is_file():
        raise DataError(
            f"the rung {run.name} is a baseline, which has no language model",
            where=str(run.path),
            fix="predict with it: 'luthier predict RUN FILE -o OUT', or name another rung",
        )
    if run.model.is_dir():
        return run.model
    if run.metrics.exists() or run.checkpoints.exists():
        raise DataError(
            "the training of this run is not finished, so it has no model yet",
            where=str(run.path),
            fix=f"continue with 'luthier resume {run.path}'",
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
    """Archive the results of a model that is about to be replaced.

    Args:
        run: the run, locked by this process.
        step: the number of optimizer steps the model was trained for.

    Returns:
        The archive folder; None if there were no results.

    Raises:
        ResourceError: the run directory is not writable.
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
