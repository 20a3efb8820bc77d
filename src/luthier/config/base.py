"""What every part of the configuration shares."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from luthier.core.units import parse_duration, parse_size

Seconds = Annotated[float, BeforeValidator(lambda value: parse_duration(value))]
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
