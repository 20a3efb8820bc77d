"""Snippets of the template language as fields, validated when a file is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator

from luthier.core.errors import DataError
from luthier.prompts.sandbox import compile_snippet


def valid_snippet(source: str) -> str:
    """A validated snippet of the template language.

    Raises:
        ValueError: the snippet is not valid; pydantic's validators expect this class.
    """
    try:
        compile_snippet(source)
    except DataError as error:
        raise ValueError(f"{error.problem} ({error.fix})" if error.fix else error.problem) from None
    return source


Jinja = Annotated[str, AfterValidator(valid_snippet)]
"""A text in the template language of `luthier.prompts.sandbox`, over the columns of a row."""


def columns_of(sources: Iterable[str]) -> frozenset[str]:
    """The columns that snippets of the template language need."""
    return frozenset().union(*(compile_snippet(source).columns for source in sources))
