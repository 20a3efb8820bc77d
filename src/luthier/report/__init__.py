"""Reports of finished runs: tables, plots, HTML and Markdown. It reads run directories only."""

from luthier.report.runs import RunSummary, collect_runs
from luthier.report.table import (
    Compared,
    comparison_table,
    evaluation_table,
    ladder_table,
    runs_table,
)
from luthier.report.write import write_report

__all__ = [
    "Compared",
    "RunSummary",
    "collect_runs",
    "comparison_table",
    "evaluation_table",
    "ladder_table",
    "runs_table",
    "write_report",
]
