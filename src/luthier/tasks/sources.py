"""Where a task's rows come from: files by split, or a data set of the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from luthier.config.base import Config
from luthier.core.row import Row
from luthier.prompts.filters import text_of
from luthier.tasks.preparations import PREPARATIONS


def _known_preparation(name: str) -> str:
    if name not in PREPARATIONS:
        raise ValueError(f"there is no preparation {name!r}; there are {', '.join(PREPARATIONS)}")
    return name


def _with_text_keys(value: Any) -> Any:
    """YAML reads the labels 0 and true as a number and a boolean; rows are compared as text."""
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
    """What is done to the rows of a source, so that all sources of a task look alike."""

    rename: Mapping[str, str] = Field(default_factory=dict)
    """From the source's names of columns to the task's."""
    labels: Texts = Field(default_factory=dict)
    """From the source's labels to the task's, such as 0: entailment."""
    prepare: tuple[Annotated[str, AfterValidator(_known_preparation)], ...] = ()
    """Changes that templates cannot make, by name; see `luthier.tasks.preparations`."""

    def arranged(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows as the task sees them."""
        arranged: Iterator[Row] = map(self._renamed, rows)
        for name in self.prepare:
            arranged = PREPARATIONS[name](arranged)
        return arranged

    def _renamed(self, row: Row) -> Row:
        values = {self.rename.get(name, name): value for name, value in row.values.items()}
        return Row(values, row.where)


class FileSource(Rows):
    """Files by split."""

    splits: Mapping[str, Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    """A path for each split, also with a further .gz. A relative one is looked for beside the
    task's own file, in the working directory, and under LUTHIER_DATA."""
    columns: tuple[str, ...] = ()
    """The names of the columns of files without a header."""
    separator: Literal["comma", "tab"] = "comma"
    """What stands between the cells of a file without a header."""


class HubSource(Rows):
    """A data set of the Hugging Face Hub."""

    id: str
    """Such as nyu-mll/glue."""
    subset: str | None = None
    """Such as rte."""
    splits: Mapping[str, str] = Field(default_factory=dict)
    """The Hub's name of a split, where it is another than the task's."""
