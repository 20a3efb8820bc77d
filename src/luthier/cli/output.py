"""Results on standard output: a table for a person, or one JSON document for a program."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from rich.console import Console as RichConsole
from rich.console import RenderableType


def print_json(value: Any) -> None:
    """Print one JSON document."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def print_result(*parts: RenderableType) -> None:
    """Print tables and text. Text is printed as it is, without markup."""
    console = _console()
    for part in parts:
        console.print(part, markup=False)


def output_width() -> int:
    """Columns of standard output."""
    return _console().width


def _console() -> RichConsole:
    # A pipe has no width of its own: 100 columns keep most tables whole.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 100
    return RichConsole(width=width, highlight=False)
