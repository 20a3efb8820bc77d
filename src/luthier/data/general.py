"""General text unrelated to the task, for measuring forgetting and for replay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.row import Row
from luthier.data.bundled import BUNDLED
from luthier.data.sources import read_rows

_GROUPS = ("topic", "group")


class GeneralText(NamedTuple):
    """A text with its topic, if known."""

    text: str
    group: str = ""


def general_texts(source: str, console: Console) -> tuple[GeneralText, ...]:
    """The texts of a bundled corpus, or of a file with a ``text`` column or paragraphs.

    A column ``topic`` or ``group`` gives the topic of each.

    Raises:
        DataError: the source is missing or has no text.
    """
    texts = tuple(
        GeneralText(row.values["text"], _group(row))
        for row in _rows(source, console)
        if isinstance(row.values.get("text"), str)
    )
    if not texts:
        raise DataError(
            "this source has no general text",
            where=source,
            fix="use a .txt file, rows with a text column, or python-topics",
        )
    return texts


def _rows(source: str, console: Console) -> Iterator[Row]:
    return BUNDLED[source].rows(console) if source in BUNDLED else iter(read_rows(source))


def _group(row: Row) -> str:
    return next((str(row.values[name]) for name in _GROUPS if row.values.get(name)), "")
