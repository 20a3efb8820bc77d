"""Text that has nothing to do with the task, to see what a tuned model has forgotten."""

from __future__ import annotations

from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.data.bundled import BUNDLED, bundled_texts
from luthier.data.sources import read_rows


def general_texts(source: str, console: Console) -> tuple[str, ...]:
    """The texts of a bundled corpus, or of a file with a ``text`` column or paragraphs.

    Raises:
        DataError: the source is missing, or has no text.
    """
    if source in BUNDLED:
        return bundled_texts(source, console)
    texts = tuple(
        row.values["text"] for row in read_rows(source) if isinstance(row.values.get("text"), str)
    )
    if not texts:
        raise DataError(
            "there is no text to measure forgetting on",
            where=source,
            fix="give a .txt file or rows with a text column in evaluate.general_text, or "
            "python-topics, or null to leave it out",
        )
    return texts
