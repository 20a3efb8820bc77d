"""Write the report of a run again: `luthier report`."""

from __future__ import annotations

from pathlib import Path

from luthier.core.console import Console
from luthier.records.run_directory import RunDirectory


def report(run: str | Path, console: Console | None = None) -> Path:
    """Write ``report.html`` and ``report.md`` again; the path of the former.

    Figures are computed again from what they were made of, as far as that is stored.

    Args:
        run: the run directory.
        console: is told what could not be checked.

    Raises:
        DataError: ``run`` is no run directory, has no results yet, or a stored figure is not what
            lies beside it gives.
    """
    return verified_report(RunDirectory.open(Path(run)), console or Console())


def verified_report(run: RunDirectory, console: Console) -> Path:
    """Check what a report tells of a run, and write it; the path of the page.

    Raises:
        DataError: a stored figure is not what lies beside it gives.
        ResourceError: the run directory cannot be written.
    """
    from luthier.ladder.verify import verify_run
    from luthier.reports import write_report

    for note in verify_run(run, console):
        console.warn(note)
    return write_report(run)[0]
