"""A table cuts no cell, however wide the terminal is."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

import luthier
from luthier.core.tables import Table

WIDTHS = (40, 60, 80, 100, 120, 200)
NAMES = ("python-docstrings-smollm2-135m-instruct-adapt-7f205e", "a-run", "[bold]not markup[/bold]")
PROSE = "scores that no dearer rung improves on by more than chance would explain"


def shown(table: Table, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(table)
    return out.getvalue()


def example(rows: int = 3) -> Table:
    table = Table("run", "kind", "model")
    table.figures("value\ninterval", "n")
    table.prose("about")
    for name in NAMES[:rows]:
        table.add_row(
            name, "adapt", "HuggingFaceTB/SmolLM2-135M", Text("0.231\n[0.2, 0.3]"), "1,200", PROSE
        )
    table.explain("p is corrected for 3 comparisons.")
    return table


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_no_cell_is_cut_and_no_line_is_too_long(width: int, rows: int) -> None:
    text = shown(example(rows), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    flat = "".join(text.split())
    for cell in (*NAMES[:rows], "adapt", "SmolLM2-135M", "0.231", "[0.2,", "1,200", "corrected"):
        assert "".join(cell.split()) in flat, cell
    for word in PROSE.split():
        assert word in text


@pytest.mark.parametrize("width", WIDTHS[1:])
def test_names_are_whole_words_where_a_line_has_room_for_them(width: int) -> None:
    for name in NAMES:
        assert name in shown(example(), width)


def test_a_column_that_is_the_same_everywhere_is_said_once_before_rows_are_stacked() -> None:
    table = Table("run", "model", "status")
    for number in range(3):
        table.add_row(f"run-{number}", "a-model-with-a-long-name-of-its-own", "done")
    text = shown(table, 40)
    assert text.count("a-model-with-a-long-name-of-its-own") == 1
    assert "In every row" in text
    assert "In every row" not in shown(table, 120)


def test_a_cell_of_two_lines_stays_beside_its_own_headings() -> None:
    text = shown(example(2), 40)
    assert "value 0.231" in text
    assert "interval [0.2, 0.3]" in text


def test_names_of_several_words_are_wrapped_before_rows_are_stacked() -> None:
    table = Table("devices", "precision")
    table.figures("memory", "tokens/s")
    table.add_row("8 × h100", "nf4-double + bfloat16", "71.3 GiB", "10.7 k")
    table.add_row("8 × h100", "bf16-mixed", "67.5 GiB", "10.3 k")
    text = shown(table, 40)
    assert "precision" in text.splitlines()[0]
    assert "nf4-double +" in text
    assert "In every row: devices 8 × h100." in text
    assert max(map(len, text.splitlines())) <= 40


def test_facts_are_wrapped_beside_their_names_even_a_long_path() -> None:
    table = Table(headed=False)
    table.text()
    table.prose()
    table.add_row("folder", "/a/long/path" * 10)
    assert all(line.startswith(("folder ", "      ")) for line in shown(table, 60).splitlines())


def test_every_table_of_the_package_is_one_of_these() -> None:
    root = Path(luthier.__file__).parent
    direct = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if "rich.table" in path.read_text(encoding="utf-8")
    ]
    assert direct == ["core/tables.py"]
