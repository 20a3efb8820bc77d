"""The list of stored measurements."""

from __future__ import annotations

from pathlib import Path


def index(folder: Path) -> str:
    """A page that links to every result, the newest first.

    Args:
        folder: holds a Markdown file for each, whose name begins with its date.
    """
    lines = [_row(path) for path in sorted(folder.glob("*.md"), reverse=True)]
    return "\n".join(["# Measurements", "", "| date | measurement | |", "|---|---|---|", *lines])


def _row(path: Path) -> str:
    date, subject = path.stem[:10], path.stem[11:]
    with path.open(encoding="utf-8") as file:
        title = file.readline().strip("# \n").removesuffix(f", {date}")
    unbroken = date.replace("-", "\N{NON-BREAKING HYPHEN}")
    return f"| {unbroken} | [{title}]({path.name}) | {subject} |"
