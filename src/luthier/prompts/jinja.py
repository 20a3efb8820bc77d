"""Texts in the template language as fields of a file, checked when the file is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator

from luthier.core.errors import DataError
from luthier.prompts.sandbox import compile_snippet


def valid_snippet(source: str) -> str:
    """A text that the template language has.

    Raises:
        ValueError: it has not; as pydantic's validators say so.
    """
    try:
        compile_snippet(source)
    except DataError as error:
        raise ValueError(f"{error.problem} ({error.fix})" if error.fix else error.problem) from None
    return source


Jinja = Annotated[str, AfterValidator(valid_snippet)]
"""A text in the template language of `luthier.prompts.sandbox`, over the columns of a row."""


def columns_of(sources: Iterable[str]) -> frozenset[str]:
    """The columns that texts in the template language need."""
    return frozenset().union(*(compile_snippet(source).columns for source in sources))
