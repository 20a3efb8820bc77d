"""A row of a file or a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file or a data set.

    Attributes:
        values: the values by column.
        where: ``file:line``, or ``name row N`` for data without lines; counted from 1.
    """

    values: dict[str, Any]
    where: str
