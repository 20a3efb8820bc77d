"""Names of a model's parameters: picked by regular expressions, and shown in messages."""

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
    """The names in which one of the regular expressions is found.

    Raises:
        UsageError: there is no expression, or one is found in no name, or takes too long.
    """
    known = tuple(names)
    found = {pattern: matching(pattern, known, _WHERE) for pattern in patterns}
    if not found:
        raise UsageError(
            "selective trains the parameters that you name, and none is named",
            where=_WHERE,
            fix="give regular expressions, such as [mlp, norm]; there are "
            f"{alike_once(known, _LISTED)}",
        )
    for pattern, picked in found.items():
        if not picked:
            raise UsageError(
                f"no parameter has {pattern!r} in its name",
                where=_WHERE,
                fix=f"there are {alike_once(known, _LISTED)}",
            )
    return frozenset(name for picked in found.values() for name in picked)


def without_numbers(name: str) -> str:
    """The name of a parameter with a star for the number of its layer."""
    return _NUMBER.sub(".*", name)


def alike_once(names: Sequence[str], most: int) -> str:
    """Some of the names, alike ones once; those of layers with a star for the number."""
    return listed(dict.fromkeys(map(without_numbers, names)), most)
