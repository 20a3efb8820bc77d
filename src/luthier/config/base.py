"""What every part of the configuration shares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from luthier.core.names import did_you_mean
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


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


OneOrMore = BeforeValidator(_listed)
"""For lists of names: a single one may stand without brackets."""


def suggested_key(unknown: str, helps: Mapping[str, str]) -> str:
    """A suggestion for an unknown key, or nothing.

    A key whose help has the unknown one as a name of other tools comes first, then the one most
    like it.

    Args:
        unknown: the key.
        helps: of the known keys, by key; names of other tools stand behind the word "elsewhere".
    """
    pattern = re.compile(rf"elsewhere\s[^).;:]*\b{re.escape(unknown)}\b")
    found = (key for key, told in helps.items() if pattern.search(told))
    return next((f"did you mean {key!r}?" for key in found), did_you_mean(unknown, helps))


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
