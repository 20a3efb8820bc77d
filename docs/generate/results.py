"""The list of stored measurements."""

from __future__ import annotations

from pathlib import Path


def index(folder: Path) -> str:
    """A page that links to every result, the newest first.

    Args:
        folder: holds a Markdown file for each, whose name begins with its date.
    """
    lines = [
        f"| {path.stem[:10]} | [{_title(path)}]({path.name}) |"
        for path in sorted(folder.glob("*.md"), reverse=True)
    ]
    return "\n".join(["# Measurements", "", "| date | measurement |", "|---|---|", *lines])


def _title(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
