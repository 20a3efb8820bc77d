"""What every part of the configuration shares."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from luthier.core.units import parse_duration, parse_size

Seconds = Annotated[float, BeforeValidator(lambda value: parse_duration(value))]


def _not_empty(name: str | None) -> str | None:
    if name == "":
        raise ValueError("should be a name, and '' is none")
    return name


NotEmpty = AfterValidator(_not_empty)
"""For names: an empty one would be taken for the working directory, or for what was not given. A
length of pydantic's own would refuse file names that are not UTF-8."""
Bytes = Annotated[int, BeforeValidator(lambda value: parse_size(value))]


class Config(BaseModel):
    """A frozen part of the configuration; unknown keys are an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        validate_default=True,
    )
