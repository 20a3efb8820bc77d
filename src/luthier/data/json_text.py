"""Strict parsing of JSON rows and cells."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from luthier.core.names import named
from luthier.data.flag_names import FLAGS, WEIGHTS

_SPACE = re.compile(r"[ \t\n\r]*")
_SAYS_WHAT_IS_TRAINED = frozenset((*FLAGS, *WEIGHTS))


def parse_json(text: str) -> Any:
    """The JSON document in ``text``, with NaN and Infinity as null.

    Under a training flag's key they are kept, because null would mean that the flag is absent.

    Raises:
        ValueError: it is not JSON, has a duplicate key, is nested too deep, or has a lone
            surrogate. A `json.JSONDecodeError` gives the location.
    """
    with _told_plainly():
        return _without_surprises(_DECODER.decode(text), text)


def parse_items(text: str) -> Iterator[Any]:
    """The items of the JSON list in ``text``, one at a time, parsed as in `parse_json`.

    Raises:
        ValueError: as in `parse_json`; the items before the error have been yielded by then.
    """
    at = _next(text, _next(text, 0) + 1)
    if text[at : at + 1] != "]":
        while True:
            with _told_plainly():
                item, end = _DECODER.raw_decode(text, at)
                item = _without_surprises(item, text[at:end])
            yield item
            at = _next(text, end)
            if text[at : at + 1] != ",":
                break
            at = _next(text, at + 1)
        if text[at : at + 1] != "]":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    if (end := _next(text, at + 1)) != len(text):
        raise json.JSONDecodeError("Extra data", text, end)


def is_list(text: str) -> bool:
    """Whether the JSON document in ``text`` is a list, if it is valid."""
    return text.startswith("[", _next(text, 0))


def _next(text: str, at: int) -> int:
    """The position of the next character that is not white space."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Translate parser errors into plain words."""
    try:
        yield
    except UnicodeEncodeError:
        raise ValueError("lone surrogate, such as \\ud83d; write the whole pair") from None
    except RecursionError:
        raise ValueError("nested too deep") from None


def _without_surprises(document: Any, text: str) -> Any:
    """The document with null for numbers that are not finite; ``text`` is its source."""
    if "NaN" in text or "Infinity" in text:
        document = null_for_nan(document)
    if "\\ud" in text or "\\uD" in text:
        json.dumps(document, ensure_ascii=False).encode()
    return document


def to_json(value: Any) -> str:
    """``value`` as JSON on one line, without escaping non-ASCII characters.

    Raises:
        ValueError: it is nested too deep, or has values that JSON cannot represent.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"it cannot be written as JSON: {error}") from None


def null_for_nan(value: Any, key: str = "", kept: Container[str] = _SAYS_WHAT_IS_TRAINED) -> Any:
    """``value`` with null for numbers that are not finite, which is how pandas stores missing ones.

    Args:
        value: a value of a row, nested or not.
        key: its key.
        kept: the keys below which such numbers are kept: those of training flags.

    Raises:
        RecursionError: it is nested too deep.
    """
    if key in kept:
        return value
    if isinstance(value, dict):
        return {name: null_for_nan(item, name, kept) for name, item in value.items()}
    if isinstance(value, list):
        return [null_for_nan(item, kept=kept) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def repeated(names: Sequence[str]) -> str:
    """The most frequent of ``names``."""
    return Counter(names).most_common(1)[0][0]


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError(f"duplicate key {named(repeated([key for key, _ in pairs]))}")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=float)
