"""JSON as rows and their cells hold it, read without surprises."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any


def parse_json(text: str) -> Any:
    """The JSON document in ``text``; NaN is read as null.

    Raises:
        ValueError: it is not JSON, repeats a key, is nested too deep, or holds half a surrogate
            pair. A `json.JSONDecodeError` says where.
    """
    try:
        document = json.loads(text, object_pairs_hook=_distinct, parse_constant=lambda _: None)
        if "\\ud" in text.lower():
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError(
            "an escape such as \\ud83d is half of a character; write both halves"
        ) from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return document


def to_json(value: Any) -> str:
    """``value`` as JSON on one line, in its own alphabet.

    Raises:
        ValueError: it is nested too deep, or holds what JSON has no word for.
    """
    try:
        return json.dumps(value, ensure_ascii=False)
    except (RecursionError, TypeError) as error:
        raise ValueError(f"it cannot be written as JSON: {error}") from None


def repeated(names: Sequence[str]) -> str:
    """The most frequent of ``names``."""
    return Counter(names).most_common(1)[0][0]


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError(f"the key {repeated([key for key, _ in pairs])!r} stands twice")
    return values
