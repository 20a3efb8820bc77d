"""``luthier report``."""

from __future__ import annotations

from pathlib import Path

from luthier.cli.flags import Json
from luthier.cli.output import print_json, print_result


def report(run: Path, *, json: Json = False) -> None:
    """Rewrite report.html and report.md of a run.

    Args:
        run: A run directory.
    """
    import luthier

    path = luthier.report(run)
    if json:
        print_json({"html": str(path), "markdown": str(path.with_suffix(".md"))})
    else:
        print_result(f"Report: {path}")
