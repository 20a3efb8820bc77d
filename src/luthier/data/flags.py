"""What rows say about training: flags of a turn, flags and weights of a row.

A name with more than one published meaning is refused, since a guess would train the wrong turns
without a word. Null, a blank and an absent key give no flag; NaN is a number that somebody failed
to compute, and is refused.
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
"""Words in the name of a column that may say what is trained, under a name that is not known."""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_BOOLEANS = ("true", "false")
_WORDS = {"true": True, "yes": True, "1": True, "1.0": True} | {
    "false": False,
    "no": False,
    "0": False,
    "0.0": False,
}
_FIX = (
    "write train: true or train: false in its place; "
    "or name the key in data.ignore_keys if it has nothing to do with training"
)


def turn_flag(turn: Fields) -> bool | None:
    """Whether a turn says that it is trained; None where it says nothing.

    Raises:
        DataError: a flag has no clear meaning, or two contradict each other.
    """
    _refuse_unclear(turn)
    return _agreed(turn, turn.among(_SAID))


def row_weight(row: Fields, column: str | None) -> float:
    """How much a row counts in the loss, relative to the others; 0: it is not trained.

    Args:
        row: the row.
        column: the column that says so, as ``data.weight`` names it; None: one of `WEIGHTS`.

    Raises:
        DataError: the weight is not a number from 0, or a flag has no clear meaning.
    """
    _refuse_unclear(row)
    for name in row.among(PREFERENCES):
        value = row.peek(name)
        if isinstance(value, bool) or (isinstance(value, str) and value.lower() in _BOOLEANS):
            raise row.error(
                "this says whether the answer is a good one, as preference data does; every row "
                "would be trained alike",
                name,
                "keep the rows with true and leave the column out, or name it in data.ignore_keys",
            )
    if column is not None:
        weight = _number(row, column)
    else:
        scalars = [name for name in row.among(WEIGHTS) if not _lists_turns(row, name)]
        name = row.first(scalars, "") if scalars else ""
        weight = _number(row, name) if name and row.has(name) else 1.0
    return 0.0 if row_flag(row) is False else weight


def row_flag(row: Fields) -> bool | None:
    """Whether a row says that it is trained, by a flag that is no weight; None: it says nothing.

    Raises:
        DataError: a flag has no clear meaning, or two contradict each other.
    """
    return _agreed(row, [name for name in row.among(_ROW_FLAGS) if not _lists_turns(row, name)])


def refuse_unknown_flags(row: Fields) -> None:
    """Refuse a column that nobody read, whose name and value are those of a flag or a weight.

    Raises:
        DataError: there is one, such as ``is_supervised: false``.
    """
    for name, value in row.unread().items():
        allows = _is_number if "weight" in name.lower() else _is_flag
        values = value if isinstance(value, list) else [value]
        is_known = name in WEIGHTS  # another one was chosen
        if looks_like_flag(name) and not is_known and all(map(allows, values)):
            raise row.error(
                "this column may say what is trained, and no meaning of its name is known",
                name,
                f"{_FIX}; data.weight names a column of weights",
            )


def turn_flags(row: Fields) -> list[tuple[str, list[bool | None]]]:
    """The columns of a row that list a flag for every turn, such as ``loss_mask: [0, 0, 0, 1]``.

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
    """Whether a column holds a flag for every turn, maybe as JSON text."""
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
            raise fields.error("a part of a turn cannot be left out of the training", name, _FIX)


def _agreed(fields: Fields, names: Collection[str]) -> bool | None:
    """What the flags of these names say."""
    said: dict[str, bool] = {}
    for name in names:
        if (value := _flag(fields, name, fields.get(name))) is not None:
            said[name] = value is not (name in HIDDEN_IF_TRUE)
    if len(set(said.values())) > 1:
        both = " and ".join(map(repr, said))
        raise fields.error(f"{both} contradict each other", next(iter(said)), _FIX)
    return next(iter(said.values()), None)


def _flag(fields: Fields, name: str, value: Any) -> bool | None:
    """A flag as a file writes it: true, 1, "True"; None where it is not given."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        value = _WORDS.get(value.strip().lower(), value)
    if value in (0, 1) and isinstance(value, (bool, int, float)):
        return bool(value)
    said = f"{value:g}" if isinstance(value, float) else str(value)[:40]
    raise fields.error(
        f"whether this is trained is said by true or false, 1 or 0, and this is {said!r}"
        if isinstance(value, (str, int, float))
        else f"whether this is trained is said by true or false, and this is {kind_of(value)}",
        name,
        _FIX,
    )


def looks_like_flag(name: str) -> bool:
    """Whether a word in the name of a column is one that names of flags and weights have."""
    return not _HINTS.isdisjoint(word.lower() for word in _WORD.findall(name))


def _is_flag(value: Any) -> bool:
    """Whether a value is one of those that flags have."""
    if isinstance(value, str):
        return value.strip().lower() in _WORDS
    return isinstance(value, (bool, int, float)) and value in (0, 1)


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, (str, int, float)) and math.isfinite(float(value))
    except (ValueError, OverflowError):
        return False


def _number(row: Fields, column: str) -> float:
    """The weight in a column: a finite number from 0."""
    value = row.get(column)
    try:
        weight = float(value) if isinstance(value, (str, int, float)) else math.nan
    except (ValueError, OverflowError):
        weight = math.nan
    if math.isfinite(weight) and weight >= 0:
        return weight
    said = repr(value)[:40] if isinstance(value, (str, int, float)) else kind_of(value)
    raise row.error(
        f"the weight of an example is a number from 0, and this is {said}",
        column,
        "mend the row, or name the column in data.ignore_keys if it is no weight",
    )
