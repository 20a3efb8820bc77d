"""JSON as rows and their cells hold it, read without surprises."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from luthier.core.names import named
from luthier.data.flag_names import FLAGS, WEIGHTS

_SPACE = re.compile(r"[ \t\n\r]*")
_SAYS_WHAT_IS_TRAINED = frozenset((*FLAGS, *WEIGHTS))


def parse_json(text: str) -> Any:
    """The JSON document in ``text``; NaN and Infinity are read as null.

    They stay what they are under a key that says what is trained: null means there that nothing is
    said.

    Raises:
        ValueError: it is not JSON, repeats a key, is nested too deep, or holds half a surrogate
            pair. A `json.JSONDecodeError` says where.
    """
    with _told_plainly():
        return _without_surprises(_DECODER.decode(text), text)


def parse_items(text: str) -> Iterator[Any]:
    """The items of the JSON list in ``text``, one at a time, read as `parse_json` reads them.

    Raises:
        ValueError: as `parse_json`; the items before the mistake have been given by then.
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
    """Whether the JSON document in ``text`` is a list, if it is one at all."""
    return text.startswith("[", _next(text, 0))


def _next(text: str, at: int) -> int:
    """The place of the next sign that is no white space."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Put in words what the parser cannot say."""
    try:
        yield
    except UnicodeEncodeError:
        raise ValueError(
            "an escape such as \\ud83d is half of a character; write both halves"
        ) from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _without_surprises(document: Any, text: str) -> Any:
    """The document with null for what is not finite; ``text`` is what it was read from."""
    if "NaN" in text or "Infinity" in text:
        document = null_for_nan(document)
    if "\\ud" in text or "\\uD" in text:
        json.dumps(document, ensure_ascii=False).encode()
    return document


def to_json(value: Any) -> str:
    """``value`` as JSON on one line, in its own alphabet.

    Raises:
        ValueError: it is nested too deep, or holds what JSON has no word for.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"it cannot be written as JSON: {error}") from None


def null_for_nan(value: Any, key: str = "") -> Any:
    """``value`` with null for each number that is not finite, as pandas writes a missing one.

    Args:
        value: a value of a row, nested or not.
        key: what it stands under. Below a key that says what is trained, such numbers stay.

    Raises:
        RecursionError: it is nested too deep.
    """
    if key in _SAYS_WHAT_IS_TRAINED:
        return value
    if isinstance(value, dict):
        return {name: null_for_nan(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [null_for_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def repeated(names: Sequence[str]) -> str:
    """The most frequent of ``names``."""
    return Counter(names).most_common(1)[0][0]


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError(f"the key {named(repeated([key for key, _ in pairs]))} stands twice")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=float)
