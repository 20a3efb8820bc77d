"""Bundled data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from luthier.core.console import Console
from luthier.core.row import Row
from luthier.data.docstrings import read_docstrings
from luthier.data.topics import read_topics


@dataclass(frozen=True, slots=True)
class Bundled:
    """A bundled data set.

    Attributes:
        rows: reads its rows, in the same order every time on the same interpreter.
        template: its template; None for plain text.
        group: the column with the group of a row.
    """

    rows: Callable[[Console], Iterator[Row]]
    template: str | None
    group: str


BUNDLED: dict[str, Bundled] = {
    "python-docstrings": Bundled(read_docstrings, "summarise-code/short", group="module"),
    "python-topics": Bundled(read_topics, None, group="topic"),
}
"""By the name in ``data.source``."""
