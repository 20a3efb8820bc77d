"""Tables for terminals of any width.

If a table does not fit, prose columns are wrapped between words first. Then columns with the same
value in every row move to a line below, and columns of names are wrapped between words. Otherwise
the rows are stacked: the first cell as a title, the other cells below it beside their headings. No
cell is cut, no name is split, and only empty cells are omitted.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.style import StyleType
from rich.table import Column as Column
from rich.table import Table as RichTable

from luthier.core.terminal import Text, encodable_text

# Prose columns are never narrower than this, and words are never split.
_LEAST_PROSE = 20
_UNLIMITED = 10_000
_ABSENT = {"", "–"}
_SEPARATOR = " · "


class Table(RichTable):
    """A table that never truncates a cell.

    Cells and headings are text; if both have two lines, the lines correspond.

    Args:
        headings: headings of the first columns, aligned left.
        headed: whether headings are shown.
    """

    def __init__(self, *headings: str, headed: bool = True) -> None:
        super().__init__(
            box=box.SIMPLE_HEAD if headed else None,
            show_header=headed,
            pad_edge=False,
            show_edge=False,
            collapse_padding=headed,
            padding=(0, 1) if headed else (0, 2, 0, 0),
        )
        self._prose: dict[int, int] = {}  # minimum widths of columns that may be wrapped
        for heading in headings:
            self.text(heading)

    def text(self, heading: str | Text = "", *, style: str = "") -> None:
        """Add a column of names or short texts, aligned left."""
        self.add_column(heading, no_wrap=True, style=style)

    def figures(self, *headings: str | Text) -> None:
        """Add columns of figures, aligned right."""
        for heading in headings:
            self.add_column(heading, no_wrap=True, justify="right")

    def prose(self, heading: str | Text = "", *, style: str = "") -> None:
        """Add a column of text that may be wrapped."""
        self._prose[len(self.columns)] = _LEAST_PROSE
        self.add_column(heading, overflow="fold", style=style)

    def add_row(
        self,
        *cells: RenderableType | None,
        style: StyleType | None = None,
        end_section: bool = False,
    ) -> None:
        """Add a row. Cells are plain text; markup is not interpreted."""
        plain = (Text(cell) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*plain, style=style, end_section=end_section)

    def explain(self, text: str) -> None:
        """Add a sentence below the table."""
        self.caption = Text(text, style="not italic")
        self.caption_justify = "left"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render as a table if it fits, otherwise stacked."""
        shown = self._encodable(options.encoding)
        factored = shown._factored()
        for table in (shown, factored, factored._of_words()):
            if fitted := table._fitted(console, options):
                below, fitted.caption = fitted.caption, None  # as wide as the terminal
                yield from RichTable.__rich_console__(fitted, console, options)
                break
        else:
            yield from factored._stacked(options.max_width)
            below = factored.caption
        if below:
            yield Text.assemble("\n", _text(below))

    def _encodable(self, encoding: str) -> Table:
        """The table with cells as wide as the terminal will show them."""

        def shown(cell: RenderableType) -> RenderableType:
            return encodable_text(_text(cell), encoding) if isinstance(cell, str | Text) else cell

        table = copy.copy(self)
        table.columns = [
            replace(c, header=shown(c.header), _cells=[shown(cell) for cell in c.cells])
            for c in self.columns
        ]
        return table

    def _factored(self) -> Table:
        """The table with columns of equal values moved to a line below."""
        if self.row_count < 2 or not self.show_header:
            return self
        kept: list[Column] = []
        pairs: list[str] = []
        prose: dict[int, int] = {}
        for place, column in enumerate(self.columns):
            values = {_text(cell).plain for cell in column.cells}
            if len(values) == 1:
                pairs += _pairs(_text(column.header).plain, values.pop())
                continue
            if place in self._prose:
                prose[len(kept)] = self._prose[place]
            kept.append(replace(column, _index=len(kept)))
        if not kept:
            return self
        factored = copy.copy(self)
        factored.columns, factored._prose = kept, prose
        if pairs:
            below = [f"In every row: {_SEPARATOR.join(pairs)}."]
            factored.explain("\n".join([*below, *([str(self.caption)] if self.caption else [])]))
        return factored

    def _of_words(self) -> Table:
        """The table with all columns of words wrapped, except cells of corresponding lines."""

        def is_words(column: Column) -> bool:
            texts = (_text(cell).plain for cell in (column.header, *column.cells))
            return column.justify == "left" and not any("\n" in text for text in texts)

        table = copy.copy(self)
        names = {place: 0 for place, column in enumerate(self.columns) if is_words(column)}
        table._prose = names | self._prose
        table.columns = [
            replace(column, no_wrap=False, overflow="fold") if place in table._prose else column
            for place, column in enumerate(self.columns)
        ]
        return table

    def _fitted(self, console: Console, options: ConsoleOptions) -> Table | None:
        """The table with its prose wrapped to the available width; None if it does not fit."""
        wide = options.update(max_width=_UNLIMITED)
        excess = RichTable.__rich_measure__(self, console, wide).maximum - options.max_width
        if excess <= 0:
            return copy.copy(self)
        sizes = {place: self._size(place, console, wide) for place in self._prose}
        widths = {place: size.maximum for place, size in sizes.items()}
        while excess > 0:
            shrinking = [place for place in widths if widths[place] > sizes[place].minimum]
            if not shrinking:
                return None
            widths[max(shrinking, key=lambda place: widths[place])] -= 1
            excess -= 1
        fitted = copy.copy(self)
        fitted.columns = [copy.copy(column) for column in self.columns]
        for place, width in widths.items():
            fitted.columns[place].width = width
        return fitted

    def _size(self, place: int, console: Console, options: ConsoleOptions) -> Measurement:
        """The minimum and maximum width of a prose column."""
        column = self.columns[place]
        sizes = [Measurement.get(console, options, cell) for cell in (column.header, *column.cells)]
        most = max(size.maximum for size in sizes)
        # Without headings a column of facts is never stacked, so its long words are folded.
        word = max(size.minimum for size in sizes) if self.show_header else 0
        return Measurement(min(most, max(word, self._prose[place])), most)

    def _stacked(self, width: int) -> Iterator[RenderableType]:
        headings = [_text(column.header) if self.show_header else Text() for column in self.columns]
        for cells in zip(*(column.cells for column in self.columns), strict=True):
            first, *others = map(_text, cells)
            yield Text(first.plain, style=first.style or "bold", overflow="fold")
            pairs = [
                pair
                for heading, cell in zip(headings[1:], others, strict=True)
                for pair in _pairs(heading.plain, cell.plain)
            ]
            for line in _lines(pairs, width - 2):
                yield Padding(Text(line, overflow="fold"), (0, 0, 0, 2), expand=False)


def _text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))


def _pairs(heading: str, cell: str) -> list[str]:
    """Each line of a cell with its own heading, or all lines with the only heading."""
    names, values = heading.split("\n"), cell.split("\n")
    if len(names) == 1:
        names, values = [" ".join(names)], [" / ".join(values)]
    pairs = zip(names, values, strict=False)
    return [f"{name} {value}".strip() for name, value in pairs if value.strip() not in _ABSENT]


def _lines(pairs: Sequence[str], width: int) -> Iterator[str]:
    """Lines with as many pairs as fit."""
    line = ""
    for pair in pairs:
        longer = f"{line}{_SEPARATOR}{pair}" if line else pair
        if line and len(longer) > width:
            yield line
            longer = pair
        line = longer
    if line:
        yield line
