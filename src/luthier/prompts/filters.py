"""The filters of templates, and the meter that limits a template's cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jinja2 import Undefined, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context

MAX_CHARACTERS = 4_000_000
MAX_SECONDS = 1.0

_METER = "the meter"
"""Two words, so that no template can name it."""


class Meter:
    """The limits of one rendering: characters made and processor time.

    Time is that of the thread, so that the result does not depend on the machine's load.
    """

    def __init__(self) -> None:
        self._characters = 0
        self._deadline = time.thread_time() + MAX_SECONDS

    def charge(self, characters: int) -> None:
        """Charge for text, before it is made if its length is known.

        Raises:
            SecurityError: the template exceeds a limit.
        """
        self._characters += characters
        if self._characters > MAX_CHARACTERS:
            raise SecurityError(f"it makes more than {MAX_CHARACTERS} characters")
        if time.thread_time() > self._deadline:
            raise SecurityError(f"it takes more than {MAX_SECONDS:g} s")


def start_meter(values: Mapping[str, Any]) -> tuple[dict[str, Any], Meter]:
    """A copy of ``values`` with a new meter for the filters, and that meter."""
    meter = Meter()
    return {**values, _METER: meter}, meter


def charge(context: Context, characters: int) -> None:
    """Charge the meter of the rendering that ``context`` belongs to."""
    context.parent[_METER].charge(characters)


def text_of(value: Any) -> str:
    """A single value as text: numbers as Python prints them, booleans as JSON does.

    Raises:
        ValueError: the value is null, NaN or a list, which is nearly always a mistake in a prompt.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a value is {value}, which is no number to print")
    if isinstance(value, int | float | Undefined):
        return str(value)  # an undefined value says which one it is
    if value is None:
        raise ValueError("a value is null; write |default('') to print nothing for it")
    raise ValueError(f"a {type(value).__name__} cannot be printed; pick a part of it, or use |join")


def _text_filter(change: Callable[[str], str]) -> Callable[[Context, Any], str]:
    @pass_context
    def apply(context: Context, value: Any) -> str:
        text = text_of(value)
        charge(context, len(text))
        return change(text)

    return apply


@pass_context
def _trim(context: Context, value: Any, characters: str | None = None) -> str:
    text = text_of(value)
    charge(context, len(text))
    return text.strip(characters)


@pass_context
def _replace(context: Context, value: Any, old: str, new: str) -> str:
    text = text_of(value)
    charge(context, len(text) + text.count(old) * len(new))
    return text.replace(old, new)


@pass_context
def _join(context: Context, values: Iterable[Any], separator: str = "") -> str:
    texts = [text_of(value) for value in _each_item(context, values)]
    charge(context, sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


@pass_context
def _joined_text(context: Context, *values: Any) -> str:
    return _join(context, values)


@pass_context
def _each_item(context: Context, values: Any) -> Iterator[Any]:
    if not isinstance(values, list | tuple | Mapping):
        text_of(values)  # an undefined value says which one it is
        raise TypeError(f"a {type(values).__name__} is not a list")
    for value in values:
        charge(context, 1)
        yield value


@pass_context
def _round(context: Context, value: float, digits: int = 0) -> float:
    if not 0 <= digits <= 15:
        raise ValueError("round takes 0 to 15 digits")
    return round(value, digits) if digits else round(value)


def _default(value: Any, fallback: Any = "", falsy: bool = False) -> Any:
    if value is None or isinstance(value, Undefined) or (falsy and not value):
        return fallback
    return value


def _length(values: Any) -> int:
    return len(values)


def _first(values: Any) -> Any:
    return values[0]


def _last(values: Any) -> Any:
    return values[-1]


FILTERS: dict[str, Callable[..., Any]] = {
    "capitalize": _text_filter(str.capitalize),
    "default": _default,
    "first": _first,
    "int": int,
    "join": _join,
    "last": _last,
    "length": _length,
    "lower": _text_filter(str.lower),
    "replace": _replace,
    "round": _round,
    "title": _text_filter(str.title),
    "trim": _trim,
    "upper": _text_filter(str.upper),
}
"""The filters that a template may use."""

INTERNAL_FILTERS: dict[str, Callable[..., Any]] = {
    "each item": _each_item,
    "joined text": _joined_text,
}
"""The sandbox's filters for loops and for ``~``; no template can spell these names."""
