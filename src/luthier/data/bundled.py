"""Data that every machine has."""

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
        rows: reads its rows, always in the same order on the same interpreter.
        template: the template it is for; None for plain text.
        group: the column that says which rows belong together.
    """

    rows: Callable[[Console], Iterator[Row]]
    template: str | None
    group: str


BUNDLED: dict[str, Bundled] = {
    "python-docstrings": Bundled(read_docstrings, "summarise-code/short", group="module"),
    "python-topics": Bundled(read_topics, None, group="topic"),
}
"""By the name that ``data.source`` gives."""
