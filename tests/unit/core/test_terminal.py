"""Results on the terminal."""

from __future__ import annotations

import io

from rich.padding import Padding

from luthier.core.tables import Table
from luthier.core.terminal import ResultConsole, Text


def test_results_leave_no_blanks_at_the_ends_of_lines() -> None:
    table = Table("name", "kind")
    table.add_row("a", "b")
    table.add_row("a long name", "")
    marked = Text.assemble(("words in bold ", "bold"), "and others that are wrapped ", ("x ", ""))
    for content in ("a line that is wrapped", marked, Padding(Text("a\nlonger"), 1), table):
        stream = io.StringIO()
        ResultConsole(stream, width=12).print(content)
        lines = stream.getvalue().split("\n")
        assert len(lines) > 2
        assert all(line == line.rstrip(" ") for line in lines), lines


def test_blanks_with_a_background_are_kept() -> None:
    stream = io.StringIO()
    console = ResultConsole(stream, width=12, force_terminal=True, color_system="standard")
    console.print(Text("a ", style="on red"))
    assert "a \x1b" in stream.getvalue()
