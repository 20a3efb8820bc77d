"""The base class of records, and measured values with their intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from luthier.core.errors import DataError
from luthier.core.files import read_json, write_json

Count = Annotated[int, Field(ge=0, le=10**18)]
"""A count; stored records are untrusted, so it is validated."""
Seconds = Annotated[float, Field(ge=0, le=1e15)]


Share = Annotated[float, Field(ge=0, le=1)]


class Record(BaseModel):
    """A frozen record that is stored as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def write(self, path: Path) -> None:
        """Store the record atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Load a record.

        Raises:
            DataError: the file is missing or was not written by this version of Luthier.
        """
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            raise DataError(
                f"this is not a {cls.__name__} of this version of Luthier: {error}", where=str(path)
            ) from None


class Estimate(Record):
    """A measured value with its interval and sample size."""

    value: float
    low: float
    high: float
    n: Count
    confidence: float = Field(default=0.95, gt=0, lt=1)
    standard_error: float | None = None
    """Clustered where examples belong together; None in records of earlier versions."""
    no_interval: str = ""
    """The reason for a missing interval; ``low`` and ``high`` then equal the value."""
