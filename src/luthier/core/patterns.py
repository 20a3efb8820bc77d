"""Regular expressions that a configuration gives, looked for in bounded time."""

from __future__ import annotations

import time
from collections.abc import Iterable

from luthier.core.errors import UsageError

# Of this process, not of the clock on the wall, so that a busy machine refuses nothing.
_PATTERN_SECONDS = 1.0
_LEAST_SECONDS = 0.001


def matching(
    pattern: str, names: Iterable[str], where: str = "", *, whole: bool = False
) -> list[str]:
    """The names in which an expression is found.

    The standard library's matcher cannot be told to give up, and a repeat of a repeat may take it
    longer than anyone waits.

    Args:
        pattern: a regular expression.
        names: of parameters or modules.
        where: the setting that gives the expression, for errors.
        whole: whether it must match a name from its start to its end.

    Raises:
        UsageError: it is no regular expression, or takes too long.
    """
    import regex

    try:
        compiled = regex.compile(pattern)
        look = compiled.fullmatch if whole else compiled.search
        end = time.process_time() + _PATTERN_SECONDS
        return [
            name
            for name in names
            if look(name, timeout=max(end - time.process_time(), _LEAST_SECONDS))
        ]
    except TimeoutError:
        raise UsageError(
            f"looking for {pattern!r} in the names of the model takes too long",
            where=where,
            fix="put no repeat into a repeat, as (a+)+ does; a part of a name is often enough",
        ) from None
    except regex.error as error:
        raise UsageError(f"{pattern!r} cannot be looked for: {error}", where=where) from None
