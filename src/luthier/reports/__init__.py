"""Reports of finished runs, from run directories only: tables, plots, HTML and Markdown."""

from luthier.reports.runs import RunSummary, collect_runs
from luthier.reports.table import evaluation_table, ladder_table, runs_table
from luthier.reports.write import write_comparison, write_report

__all__ = [
    "RunSummary",
    "collect_runs",
    "evaluation_table",
    "ladder_table",
    "runs_table",
    "write_comparison",
    "write_report",
]
