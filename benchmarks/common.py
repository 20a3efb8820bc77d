"""What every benchmark stores beside its figures, and where."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
# All of an absolute path but its last name, alone or after an equals sign.
_FOLDERS = re.compile(r"(^|=)/\S*/")


def provenance(
    command: Sequence[str], hardware: Mapping[str, Any], versions: Mapping[str, str]
) -> dict[str, Any]:
    """Date, command, commit, machine and versions: the head of a stored result.

    Of an absolute path the last name is kept: the rest is where one machine has its files.
    """
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": " ".join(_FOLDERS.sub("\\1…/", part) for part in ["python", *command]),
        "commit": commit(),
        "hardware": dict(hardware),
        "versions": dict(versions),
    }


def commit() -> str:
    """The commit of this working tree, marked where it holds changes."""
    command = ["git", "describe", "--always", "--dirty"]
    result = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return result.stdout.strip() or "unknown"


def store(name: str, document: Mapping[str, Any], markdown: str) -> None:
    """Write ``results/<date>-<name>.json`` and the table beside it, and say where."""
    path = RESULTS / f"{document['date']}-{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(markdown, encoding="utf-8")
    print(f"{path}\n{path.with_suffix('.md')}")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    shown = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return [shown[0], "|" + "---|" * len(head), *shown[1:]]
