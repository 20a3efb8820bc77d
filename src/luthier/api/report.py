"""Rewrite the report of a run: `luthier report`."""

from __future__ import annotations

from pathlib import Path

from luthier.core.console import Console
from luthier.records.run_directory import RunDirectory


def report(run: str | Path, console: Console | None = None) -> Path:
    """The path of ``report.html``, rewritten together with ``report.md``.

    Figures are recomputed from stored records as far as possible.

    Args:
        run: the run directory.
        console: receives notes on figures that could not be checked.

    Raises:
        DataError: ``run`` is not a run directory, has no results yet, or a stored figure differs
            from its recomputed value.

    Example:
        >>> import luthier
        >>> luthier.report("runs/tuned").name
        'report.html'
    """
    return verified_report(RunDirectory.open(Path(run)), console or Console())


def verified_report(run: RunDirectory, console: Console) -> Path:
    """The path of the report page, written after checking the run's figures.

    Raises:
        DataError: a stored figure differs from its recomputed value.
        ResourceError: the run directory is not writable.
    """
    from luthier.ladder.verify import verify_run
    from luthier.reports import write_report

    for note in verify_run(run, console):
        console.warn(note)
    return write_report(run)[0]
