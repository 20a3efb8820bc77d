"""Writing reports into run directories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from luthier.core.files import write_atomically
from luthier.records.comparison import RunComparison
from luthier.records.run_directory import RunDirectory
from luthier.reports.content import read_compared, read_content
from luthier.reports.html import render_html
from luthier.reports.markdown import render_markdown


def write_report(run: RunDirectory) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.md`` into a finished run.

    Returns:
        The paths of both files.

    Raises:
        DataError: a file of the run is missing or invalid, or there are no results yet.
        ResourceError: the run directory is not writable.
    """
    content = read_content(run)
    write_atomically(run.report_html, render_html(content))
    write_atomically(run.report_markdown, render_markdown(content))
    return run.report_html, run.report_markdown


def write_comparison(runs: Sequence[RunDirectory], comparison: RunComparison, path: Path) -> None:
    """Write a page that compares runs side by side.

    Args:
        runs: the runs, in the order of the comparison's names.
        comparison: their comparison.
        path: the page to write.

    Raises:
        DataError: a file of a run is invalid.
        ResourceError: the page is not writable.
    """
    write_atomically(path, render_html(read_compared(runs, comparison)))
