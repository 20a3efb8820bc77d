"""Training flags of turns, and flags and weights of rows.

A name with several published meanings is rejected, because a guess could silently train the wrong
turns. Null, a blank and an absent key give no flag; NaN is a failed computation and is rejected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any

from luthier.data.fields import Fields, kind_of
from luthier.data.flag_names import (
    AMBIGUOUS,
    HIDDEN_IF_TRUE,
    PARTS,
    PREFERENCES,
    TRAINED_IF_TRUE,
    WEIGHTS,
)

_SAID = (*TRAINED_IF_TRUE, *HIDDEN_IF_TRUE)
_ROW_FLAGS = tuple(name for name in _SAID if name not in WEIGHTS)
_HINTS = frozenset(
    {"train", "trained", "training", "trainable", "loss", "mask", "masked", "masking", "unmasked"}
    | {"ignore", "ignored", "skip", "skipped", "exclude", "excluded"}
    | {"learn", "learned", "learnable", "supervise", "supervised", "weight", "weights"}
)
"""Words in column names that suggest a training flag with an unknown name."""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_BOOLEANS = ("true", "false")
_WORDS = {"true": True, "yes": True, "1": True, "1.0": True} | {
    "false": False,
    "no": False,
    "0": False,
    "0.0": False,
}
_FIX = (
    "write train: true or train: false instead; "
    "or add the key to data.ignore_keys if it has nothing to do with training"
)


def turn_flag(turn: Fields) -> bool | None:
    """Whether a turn is marked as trained; None if unmarked.

    Raises:
        DataError: a flag is ambiguous, or two contradict each other.
    """
    _refuse_unclear(turn)
    return _agreed(turn, turn.among(_SAID))


def row_weight(row: Fields, column: str | None) -> float:
    """The weight of a row in the loss, relative to the others; 0: not trained.

    Args:
        row: the row.
        column: the weight column in ``data.weight``; None: one of `WEIGHTS`.

    Raises:
        DataError: the weight is not a number of at least 0, or a flag is ambiguous.
    """
    _refuse_unclear(row)
    for name in row.among(PREFERENCES):
        value = row.peek(name)
        if isinstance(value, bool) or (isinstance(value, str) and value.lower() in _BOOLEANS):
            raise row.error(
                "this marks good answers, as in preference data, but every row would be trained "
                "alike",
                name,
                "keep only the rows with true and remove the column, or add it to data.ignore_keys",
            )
    if column is not None:
        weight = _number(row, column)
    else:
        scalars = [name for name in row.among(WEIGHTS) if not _lists_turns(row, name)]
        name = row.first(scalars, "") if scalars else ""
        weight = _number(row, name) if name and row.has(name) else 1.0
    return 0.0 if row_flag(row) is False else weight


def row_flag(row: Fields) -> bool | None:
    """Whether a row is marked as trained, by a flag other than a weight; None if unmarked.

    Raises:
        DataError: a flag is ambiguous, or two contradict each other.
    """
    return _agreed(row, [name for name in row.among(_ROW_FLAGS) if not _lists_turns(row, name)])


def refuse_unknown_flags(row: Fields) -> None:
    """Reject an unread column that looks like a flag or a weight by its name and value.

    Raises:
        DataError: there is one, such as ``is_supervised: false``.
    """
    for name, value in row.unread().items():
        allows = _is_number if "weight" in name.lower() else _is_flag
        values = value if isinstance(value, list) else [value]
        is_known = name in WEIGHTS  # another column was chosen
        if looks_like_flag(name) and not is_known and all(map(allows, values)):
            raise row.error(
                "this column may be a training flag, but its name is unknown",
                name,
                f"{_FIX}; data.weight names a column of weights",
            )


def turn_flags(row: Fields) -> list[tuple[str, list[bool | None]]]:
    """The columns of a row with a flag for every turn, such as ``loss_mask: [0, 0, 0, 1]``.

    Raises:
        DataError: an entry is not a flag.
    """
    found = []
    for name in row.among(_SAID):
        if _lists_turns(row, name):
            values = row.items(name)
            places = (f"{name}[{index}]" for index in range(len(values)))
            flags = [_flag(row, place, value) for place, value in zip(places, values, strict=True)]
            hidden = name in HIDDEN_IF_TRUE
            found.append((name, [None if f is None else f is not hidden for f in flags]))
    return found


def _lists_turns(row: Fields, name: str) -> bool:
    """Whether a column has a list of flags for the turns, maybe as JSON text."""
    value = row.peek(name)
    listed = isinstance(value, list) or (isinstance(value, str) and value.lstrip()[:1] == "[")
    return listed and bool(value) and (name in TRAINED_IF_TRUE or name in HIDDEN_IF_TRUE)


def _refuse_unclear(fields: Fields) -> None:
    for name in fields.among(AMBIGUOUS):
        if fields.has(name):
            raise fields.error(
                f"{name!r} means 'not trained' to some tools and 'trained' to others", name, _FIX
            )
    for name in fields.among(PARTS):
        if fields.has(name):
            raise fields.error("part of a turn cannot be excluded from training", name, _FIX)


def _agreed(fields: Fields, names: Collection[str]) -> bool | None:
    """The common value of the flags with these names."""
    said: dict[str, bool] = {}
    for name in names:
        if (value := _flag(fields, name, fields.get(name))) is not None:
            said[name] = value is not (name in HIDDEN_IF_TRUE)
    if len(set(said.values())) > 1:
        both = " and ".join(map(repr, said))
        raise fields.error(f"{both} contradict each other", next(iter(said)), _FIX)
    return next(iter(said.values()), None)


def _flag(fields: Fields, name: str, value: Any) -> bool | None:
    """A flag in a file's notation: true, 1, "True"; None if absent."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        value = _WORDS.get(value.strip().lower(), value)
    if value in (0, 1) and isinstance(value, (bool, int, float)):
        return bool(value)
    said = f"{value:g}" if isinstance(value, float) else str(value)[:40]
    raise fields.error(
        f"expected true or false, 1 or 0 for this training flag, found {said!r}"
        if isinstance(value, (str, int, float))
        else f"expected true or false for this training flag, found {kind_of(value)}",
        name,
        _FIX,
    )


def looks_like_flag(name: str) -> bool:
    """Whether a word in a column's name suggests a flag or weight."""
    return not _HINTS.isdisjoint(word.lower() for word in _WORD.findall(name))


def _is_flag(value: Any) -> bool:
    """Whether a value is a possible flag."""
    if isinstance(value, str):
        return value.strip().lower() in _WORDS
    return isinstance(value, (bool, int, float)) and value in (0, 1)


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, (str, int, float)) and math.isfinite(float(value))
    except (ValueError, OverflowError):
        return False


def _number(row: Fields, column: str) -> float:
    """The weight in a column: a finite number of at least 0."""
    value = row.get(column)
    try:
        weight = float(value) if isinstance(value, (str, int, float)) else math.nan
    except (ValueError, OverflowError):
        weight = math.nan
    if math.isfinite(weight) and weight >= 0:
        return weight
    said = repr(value)[:40] if isinstance(value, (str, int, float)) else kind_of(value)
    raise row.error(
        f"the weight of an example must be a number of at least 0, not {said}",
        column,
        "fix the row, or add the column to data.ignore_keys if it is not a weight",
    )
