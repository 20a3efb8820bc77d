"""Regular expressions from a configuration, matched in bounded time."""

from __future__ import annotations

import time
from collections.abc import Iterable

from luthier.core.errors import UsageError

# CPU time of this process, so that a busy machine does not cause failures.
_PATTERN_SECONDS = 1.0
_LEAST_SECONDS = 0.001


def matching(
    pattern: str, names: Iterable[str], where: str = "", *, whole: bool = False
) -> list[str]:
    """The names that a regular expression matches.

    The standard library's matcher has no time limit, and nested repeats can take exponential time.

    Args:
        pattern: the regular expression.
        names: names of parameters or modules.
        where: the setting with the expression, for errors.
        whole: match the full name instead of a part.

    Raises:
        UsageError: the expression is invalid or takes too long.
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
            f"matching {pattern!r} against the model's parameter names takes too long",
            where=where,
            fix="avoid nested repeats such as (a+)+; part of a name is often enough",
        ) from None
    except regex.error as error:
        raise UsageError(f"invalid regular expression {pattern!r}: {error}", where=where) from None
