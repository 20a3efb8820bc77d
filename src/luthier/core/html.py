"""Results as HTML for notebooks: escaped text in tables, without scripts, links or style sheets.

Colours are those of the notebook, so light and dark themes both work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from rich.console import RenderableType

from luthier.core.tables import Column, Table
from luthier.core.terminal import printable

_CELL = "padding:.2em .8em;vertical-align:top;border-bottom:1px solid rgba(128,128,128,.35)"
_HEADING = f"{_CELL};font-weight:600"
_TABLE = "border-collapse:collapse;margin:.4em 0;font-variant-numeric:tabular-nums"
_BELOW = '<small style="opacity:.75">{}</small>'


class Displayed:
    """A result that shows itself: in one line as text, with its tables in a notebook."""

    def shown(self) -> Iterator[str | Table]:
        """The result in a sentence, then its tables and notes."""
        raise NotImplementedError(type(self).__name__)

    def __repr__(self) -> str:
        """The sentence, on one line."""
        sentence = " ".join(printable(str(next(self.shown()))).split())
        return f"<{type(self).__name__}: {sentence}>"

    def _repr_html_(self) -> str:
        """The result for Jupyter and VS Code."""
        sentence, *others = self.shown()
        head = f'<p style="margin:.2em 0"><strong>{_text(str(sentence))}</strong></p>'
        return "\n".join([head, *_blocks(others)])


def _blocks(parts: Iterable[str | Table]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Table):
            yield _table(part)
        else:
            yield f'<p style="margin:.2em 0">{_text(part)}</p>'


def _table(table: Table) -> str:
    head = ""
    if table.show_header:
        headings = "".join(_cell("th", column, column.header) for column in table.columns)
        head = f"<thead><tr>{headings}</tr></thead>"
    rows = zip(*(column.cells for column in table.columns), strict=True)
    body = "".join(f"<tr>{''.join(map(_data_cell, table.columns, cells))}</tr>" for cells in rows)
    below = f"<p>{_BELOW.format(_text(str(table.caption)))}</p>" if table.caption else ""
    return (
        f'<div style="overflow-x:auto"><table style="{_TABLE}">{head}<tbody>{body}</tbody></table>'
        f"{below}</div>"
    )


def _data_cell(column: Column, cell: RenderableType) -> str:
    return _cell("td", column, cell)


def _cell(tag: str, column: Column, cell: RenderableType) -> str:
    """A cell; its second and later lines are small, and bold text stays bold."""
    plain = str(cell)
    first, *others = plain.split("\n")
    is_bold = str(getattr(cell, "style", "")).startswith(("bold", "green"))
    shown = f"<strong>{_text(first)}</strong>" if is_bold else _text(first)
    lines = [shown, *(_BELOW.format(_text(line.strip())) for line in others)]
    style = _HEADING if tag == "th" else _CELL
    side = "right" if column.justify == "right" else "left"
    return f'<{tag} style="{style};text-align:{side}">{"<br>".join(lines)}</{tag}>'


def _text(text: str) -> str:
    """Text with markup and control characters escaped, and its line breaks kept."""
    return escape(printable(text)).replace("\n", "<br>")
