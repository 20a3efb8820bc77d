"""Parameter names of a model: selection by regular expressions, and display in messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from luthier.core.errors import UsageError
from luthier.core.names import listed
from luthier.core.patterns import matching

_WHERE = "methods.selective.parameters"
_NUMBER = re.compile(r"\.\d+(?=\.|$)")
_LISTED = 12


def pick_names(patterns: Sequence[str], names: Iterable[str]) -> frozenset[str]:
    """The names matched by at least one of the regular expressions.

    Raises:
        UsageError: no expression is given, one matches no name, or one takes too long.
    """
    known = tuple(names)
    found = {pattern: matching(pattern, known, _WHERE) for pattern in patterns}
    if not found:
        raise UsageError(
            "selective needs the names of the parameters to train",
            where=_WHERE,
            fix="give regular expressions, such as [mlp, norm]; the model has "
            f"{alike_once(known, _LISTED)}",
        )
    for pattern, picked in found.items():
        if not picked:
            raise UsageError(
                f"no parameter name matches {pattern!r}",
                where=_WHERE,
                fix=f"the model has {alike_once(known, _LISTED)}",
            )
    return frozenset(name for picked in found.values() for name in picked)


def without_numbers(name: str) -> str:
    """A parameter name with the layer number replaced by a star."""
    return _NUMBER.sub(".*", name)


def alike_once(names: Sequence[str], most: int) -> str:
    """Some of the names, with layer numbers as stars and duplicates removed."""
    return listed(dict.fromkeys(map(without_numbers, names)), most)
