"""Rendering of a task's templates over a row's columns, for questions and answers alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from luthier.core.errors import DataError
from luthier.core.names import did_you_mean, listed
from luthier.core.row import Row
from luthier.prompts.jinja import columns_of
from luthier.prompts.sandbox import compile_snippet


@dataclass(frozen=True, slots=True)
class TextField:
    """A template field of a task, rendered over the columns of a row.

    Attributes:
        name: the name of the field, such as ``prompt`` or ``choices.yes``.
        source: the template.
        task: the name of the task, for errors.
        strips: whether white space at the end of the rendered text is removed.
    """

    name: str
    source: str
    task: str
    strips: bool

    def render(self, row: Row, **more: Any) -> str:
        """The rendered text for a row; it may be empty.

        Args:
            row: the row.
            more: further values, which take precedence over columns of the same name.

        Raises:
            DataError: a column is missing, or the template fails, for example because of null.
        """
        snippet = compile_snippet(self.source)
        values = {**row.values, **more} if more else row.values
        if not snippet.columns <= values.keys():
            missing = sorted(snippet.columns - values.keys())
            raise DataError(
                f"{self.name!r} of the task {self.task!r} needs the column {missing[0]!r}, "
                "which is not there",
                where=row.where,
                fix=suggestion(missing[0], row.values, f"the columns are {listed(row.values)}"),
            )
        try:
            text = snippet.render(values)
        except DataError as error:
            null = [name for name in sorted(snippet.columns) if values[name] is None]
            raise DataError(
                error.problem,
                where=f"{row.where}, {self.name!r} of the task {self.task!r}",
                fix=f"null here: {listed(null)}" if null else error.fix,
            ) from None
        return text.rstrip() if self.strips else text

    def filled(self, row: Row, **more: Any) -> str:
        """The rendered text for a row, which must not be empty.

        Args: as `render`.

        Raises:
            DataError: as `render`, or the text holds only white space.
        """
        text = self.render(row, **more)
        if not text.strip():
            made_of = listed(sorted(columns_of((self.source,)))) or "no column"
            raise DataError(
                f"{self.name!r} of the task {self.task!r} is empty for this row",
                where=row.where,
                fix=f"it is made of {made_of}",
            )
        return text


def suggestion(name: str, known: Iterable[object], otherwise: str) -> str:
    """A hint about a wrong name: the most similar known name, if any, then ``otherwise``."""
    return f"{did_you_mean(name, map(str, known))} {otherwise}".strip()
