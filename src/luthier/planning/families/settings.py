"""Validated values of a ``config.json``, which is not trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from luthier.core.errors import DataError

# Larger numbers are mistakes, and a model with that many layers could not be described.
_MOST = 2**40
_MOST_LAYERS = 10_000


class Settings:
    """The values of a configuration; every error names its field.

    A null field counts as missing.
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = values
        self.where = where

    def number(
        self, *names: str, default: int | None = None, least: int = 1, most: int = _MOST
    ) -> int:
        """An integer from the first of ``names`` that is present.

        Raises:
            DataError: it is missing without a default, or not a valid integer.
        """
        for name in names:
            value = self.values.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise self.wrong(name, f"is {value!r}", "give a whole number")
            if not least <= value <= most:
                raise self.wrong(name, f"is {value}", f"give a number from {least} to {most}")
            return value
        if default is None:
            raise self.wrong(names[0], "is missing", "give a whole number")
        return default

    def layers(self, *names: str, default: int | None = None) -> int:
        """The number of layers."""
        return self.number(*names, default=default, most=_MOST_LAYERS)

    def rate(self, name: str, default: float = 0.0) -> float:
        """A share from 0 to 1, such as a dropout rate.

        Raises:
            DataError: it is not such a number.
        """
        value = self.values.get(name)
        if value is None:
            return default
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not numeric or not math.isfinite(value) or not 0 <= value <= 1:
            raise self.wrong(name, f"is {value!r}", "give a number from 0 to 1")
        return float(value)

    def rotated(self, name: str, default: float = 1.0) -> float:
        """The rotated share of each head, stored here or in the rotary parameters."""
        nested = self.values.get("rope_parameters")
        share = nested.get("partial_rotary_factor") if isinstance(nested, Mapping) else None
        known = self.values if share is None else {name: share}
        return Settings(known, self.where).rate(name, default)

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean.

        Raises:
            DataError: it is not a boolean.
        """
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, f"is {value!r}", "give true or false")
        return value

    def text(self, *names: str, default: str) -> str:
        """A text from the first of ``names`` that is present.

        Raises:
            DataError: it is not a text.
        """
        for name in names:
            value = self.values.get(name)
            if value is None:
                continue
            if not isinstance(value, str):
                raise self.wrong(name, f"is {value!r}", "give a text")
            return value
        return default

    def items(self, name: str) -> list[Any]:
        """A list; empty if missing.

        Raises:
            DataError: it is not a list.
        """
        value = self.values.get(name)
        if value is None:
            return []
        if not isinstance(value, (list, tuple)):
            raise self.wrong(name, f"is {value!r}", "give a list")
        return list(value)

    def heads(self, query: str, key_value: str = "num_key_value_heads") -> tuple[int, int]:
        """The numbers of query heads and of key-value heads; equal if only one is given.

        Raises:
            DataError: the first is not a multiple of the second.
        """
        heads = self.number(query)
        kv_heads = self.number(key_value, default=heads)
        if heads % kv_heads:
            raise self.wrong(query, f"is {heads}", f"give a multiple of {key_value}, {kv_heads}")
        return heads, kv_heads

    def head_dim(self, hidden: int, heads: int, heads_name: str) -> int:
        """The head width as hidden width divided by the number of heads.

        Raises:
            DataError: it is not divisible.
        """
        if hidden % heads:
            raise self.wrong(heads_name, f"is {heads}", f"give a divisor of the width, {hidden}")
        return hidden // heads

    def wrong(self, name: str, problem: str, fix: str) -> DataError:
        """The error for a field."""
        return DataError(f"{name} {problem}", where=f'{self.where}, field "{name}"', fix=fix)
