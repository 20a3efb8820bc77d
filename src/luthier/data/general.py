"""Text that has nothing to do with the task: to see what was forgotten, or to go on learning."""

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
    """A text, and what it is about, where the source says so."""

    text: str
    group: str = ""


def general_texts(source: str, console: Console) -> tuple[GeneralText, ...]:
    """The texts of a bundled corpus, or of a file with a ``text`` column or paragraphs.

    A column ``topic`` or ``group`` says what each is about.

    Raises:
        DataError: the source is missing, or has no text.
    """
    texts = tuple(
        GeneralText(row.values["text"], _group(row))
        for row in _rows(source, console)
        if isinstance(row.values.get("text"), str)
    )
    if not texts:
        raise DataError(
            "there is no general text in it",
            where=source,
            fix="give a .txt file or rows with a text column, or python-topics",
        )
    return texts


def _rows(source: str, console: Console) -> Iterator[Row]:
    return BUNDLED[source].rows(console) if source in BUNDLED else iter(read_rows(source))


def _group(row: Row) -> str:
    return next((str(row.values[name]) for name in _GROUPS if row.values.get(name)), "")
