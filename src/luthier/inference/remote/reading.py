"""Strict and bounded parsing of a server's JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

MAX_BYTES = 32 * 2**20
"""Upper limit of every answer."""
_MAX_LIST_BYTES = 4 * 2**20
"""Limit of a list of models; those of the largest catalogues have half of one MiB."""
_MAX_DEPTH = 64
_BASE_BYTES = 2**20
"""Allowance for everything in an answer except its text."""
_TOKEN_BYTES = 2 * 2**10
"""Allowance for each token of an answer. The longest known tokens have 128 characters, each up to
six bytes as JSON, and a server may send the text twice."""
_SENT_BYTES, _ECHOED_BYTES = 8, 512
"""Allowance for each byte of a request: if its text may come back, and if log-probabilities do."""


def largest_answer(body: Mapping[str, Any] | None, sent: int) -> int:
    """The limit of an answer in bytes.

    Args:
        body: the request; None for the list of models.
        sent: the size of the request in bytes.
    """
    if body is None:
        return _MAX_LIST_BYTES
    per_byte = _ECHOED_BYTES if body.get("echo") else _SENT_BYTES
    allowed = _BASE_BYTES + _TOKEN_BYTES * body.get("max_tokens", 0) + per_byte * sent
    return int(min(MAX_BYTES, allowed))


def read_json(content: bytes, clean: Callable[[str], str]) -> Any:
    """A JSON document in UTF-8, with ``clean`` applied to each text in it.

    Raises:
        ValueError: the document is not JSON, repeats a name, holds NaN, an infinity or a lone
            surrogate, or is nested deeper than 64 levels; the message tells these apart.
    """
    try:
        text = content.decode("utf-8-sig")
        document = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except json.JSONDecodeError:
        raise ValueError("it is no JSON") from None
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8") from None
    return _cleaned(document, clean, _MAX_DEPTH)


def _cleaned(value: Any, clean: Callable[[str], str], depth: int) -> Any:
    if isinstance(value, str):
        if any("\ud800" <= sign <= "\udfff" for sign in value):
            raise ValueError("it holds half of a character (a lone surrogate)")
        return clean(value)
    if not isinstance(value, dict | list):
        return value
    if not depth:
        raise ValueError(f"it is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, list):
        return [_cleaned(each, clean, depth - 1) for each in value]
    pairs = (
        (_cleaned(name, clean, depth), _cleaned(each, clean, depth - 1))
        for name, each in value.items()
    )
    return dict(pairs)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("it gives the same name twice")
    return values


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which JSON has not")
