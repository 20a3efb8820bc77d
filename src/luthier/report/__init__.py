"""Reports of finished runs: tables, plots, HTML and Markdown. It reads run directories only."""

from luthier.report.runs import RunSummary, collect_runs
from luthier.report.table import evaluation_table, ladder_table, runs_table
from luthier.report.write import write_comparison, write_report

__all__ = [
    "RunSummary",
    "collect_runs",
    "evaluation_table",
    "ladder_table",
    "runs_table",
    "write_comparison",
    "write_report",
]
