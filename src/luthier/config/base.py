"""Foundations of every configuration section."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from luthier.core.names import did_you_mean, similar
from luthier.core.units import parse_duration, parse_size

Seconds = Annotated[float, BeforeValidator(lambda value: parse_duration(value))]


def _not_empty(name: str | None) -> str | None:
    if name == "":
        raise ValueError("should be a name, not ''")
    return name


NotEmpty = AfterValidator(_not_empty)
"""A name that is not empty, since '' would mean the working directory or a missing value.
Pydantic's minimum length would reject file names that are not UTF-8."""
Bytes = Annotated[int, BeforeValidator(lambda value: parse_size(value))]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


OneOrMore = BeforeValidator(_listed)
"""A list of names; a single name needs no brackets."""


def suggested_key(unknown: str, helps: Mapping[str, str]) -> str:
    """A suggestion for an unknown key; empty if none fits.

    A key whose help lists the unknown one as another tool's name comes first, then the most similar
    key.

    Args:
        unknown: the key.
        helps: help texts by known key; other tools' names follow the word "elsewhere".
    """
    pattern = re.compile(rf"elsewhere\s[^).;:]*\b{re.escape(unknown)}\b")
    found = (key for key, told in helps.items() if pattern.search(told))
    return next((f"did you mean {key!r}?" for key in found), did_you_mean(unknown, helps))


def misspelt_first(errors: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Pydantic's errors with unknown keys first, without the missing fields that they misspell."""
    found = list(errors)
    unknown = [error["loc"] for error in found if error["type"] == "extra_forbidden"]

    def is_misspelt(error: Mapping[str, Any]) -> bool:
        *section, name = error["loc"] or ("",)
        near = [str(place[-1]) for place in unknown if list(place[:-1]) == section]
        return error["type"] == "missing" and bool(similar(str(name), near))

    kept = [error for error in found if not is_misspelt(error)]
    return sorted(kept, key=lambda error: error["type"] != "extra_forbidden")


class Config(BaseModel):
    """A frozen section of the configuration; unknown keys are an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        validate_default=True,
    )
