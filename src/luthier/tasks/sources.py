"""Sources of a task's rows: files by split, or a data set of the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from luthier.config.base import Config
from luthier.core.row import Row
from luthier.prompts.filters import text_of
from luthier.tasks.preparations import PREPARATIONS

WHOLE = "all"
"""The split of a file with all rows, which is divided into train, validation and test."""


def _known_preparation(name: str) -> str:
    if name not in PREPARATIONS:
        raise ValueError(f"unknown preparation {name!r}; known: {', '.join(PREPARATIONS)}")
    return name


def _with_text_keys(value: Any) -> Any:
    """The mapping with its keys as text.

    YAML reads the labels 0 and true as a number and a boolean, but rows are compared as text.
    """
    if not isinstance(value, Mapping):
        return value
    return {text_of(key): word for key, word in value.items()}


def _with_text_values(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: text_of(item) for key, item in _with_text_keys(value).items()}


TextKeys = BeforeValidator(_with_text_keys)
Texts = Annotated[Mapping[str, str], BeforeValidator(_with_text_values)]


class Rows(Config):
    """Changes to the rows of a source, which give all sources of a task the same columns."""

    rename: Mapping[str, str] = Field(default_factory=dict)
    """The task's names of columns, by the source's names."""
    labels: Texts = Field(default_factory=dict)
    """The task's labels, by the source's labels, such as 0: entailment."""
    prepare: tuple[Annotated[str, AfterValidator(_known_preparation)], ...] = ()
    """Preprocessing that templates cannot do, by name; see `luthier.tasks.preparations`."""

    def arranged(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows with renamed columns and all preparations applied."""
        arranged: Iterator[Row] = map(self._renamed, rows)
        for name in self.prepare:
            arranged = PREPARATIONS[name](arranged)
        return arranged

    def _renamed(self, row: Row) -> Row:
        values = {self.rename.get(name, name): value for name, value in row.values.items()}
        return Row(values, row.where)


class FileSource(Rows):
    """Rows in files, one file per split, or in one file that is divided."""

    splits: Annotated[
        Mapping[str, Annotated[str, Field(min_length=1)]],
        BeforeValidator(lambda value: {WHOLE: value} if isinstance(value, str) else value),
        Field(min_length=1),
    ]
    """The path of each split's file, or of one file (or folder) with all rows, which is divided
    into train, validation and test. A file compressed with gzip may have a further .gz. A relative
    path is looked for beside the task's own file, in the working directory, and under
    LUTHIER_DATA."""
    columns: tuple[str, ...] = ()
    """The names of the columns, for files without a header."""
    separator: Literal["comma", "tab"] = "comma"
    """The separator between cells, for files without a header."""


class HubSource(Rows):
    """Rows in a data set of the Hugging Face Hub."""

    id: str
    """The id of the data set, such as nyu-mll/glue."""
    subset: str | None = None
    """The subset (configuration) of the data set, such as rte."""
    splits: Mapping[str, str] = Field(default_factory=dict)
    """The Hub's names of splits, by the task's names; only splits whose names differ are listed."""
