"""Whether a tokenizer's rules can be worked out: its patterns may be those of a stranger.

A tokenizer cuts texts with regular expressions and rewrites them, as its file says. The engine of
the tokenizers library backtracks: a pattern such as ``(a+)+$`` takes twice as long for each further
character. It cannot be stopped while it searches. So the rules are tried on short texts that grow
until one takes too long, before a text of the user's is given to them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from luthier.core.errors import DataError

MAX_GROWTH = 64
"""How many characters a rule may make of one. Unicode's own make 18."""
MAX_SECONDS = 0.1
"""Of processor time for a text of up to 600 characters; a pattern in use takes a millisecond."""
_LENGTHS = (8, 12, 16, 20, 24, 28, 32, 64, 128, 256, 512)
_UNITS = ("a", "A", "1", " ", "\n", "-", "_", "é", "日", "ab ", "a1", "A.", " \n", "'s", "<|")
_STOPS = ("", "!", "\0")
_PRINTABLE = "\n" + "".join(map(chr, range(32, 127)))
_FIX = "get the tokenizer's files from where the model comes from, or name another tokenizer"


def require_workable(tokenizer: Any, where: str) -> None:
    """Try a tokenizer's rules, where it has such as a stranger may write.

    Args:
        tokenizer: a tokenizer of transformers.
        where: its folder, for error messages.

    Raises:
        DataError: a rule fails, takes too long, or makes too much text of a little.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return
    for name in ("normalizer", "pre_tokenizer", "decoder"):
        rule = getattr(backend, name)
        if rule is not None:
            parts = list(_parts(json.loads(rule.__getstate__())))
            _require_small(parts, name, where)
            with _no_traces_of_rust():
                for part in parts:
                    _try(part, name, where)


def panicked(error: BaseException) -> bool:
    """Whether an exception is that of the tokenizers library, which is none of Python's."""
    return type(error).__name__ == "PanicException"


def raise_if_panicked(error: BaseException) -> None:
    """Raise for a failure of the tokenizers library in a text.

    Raises:
        DataError: it is one.
    """
    if panicked(error):
        raise DataError(
            f"the tokenizer fails on a text: {str(error)[:200]}",
            where="the model's tokenizer.json",
            fix=_FIX,
        ) from None


def _parts(rule: Any) -> Iterator[Mapping[str, Any]]:
    """A rule and the rules in it, as a tokenizer's file has them."""
    if isinstance(rule, dict):
        yield rule
    for inner in rule.values() if isinstance(rule, dict) else rule:
        if isinstance(inner, dict | list):
            yield from _parts(inner)


def _require_small(parts: Iterable[Mapping[str, Any]], name: str, where: str) -> None:
    """Check how much longer replacements, one after the other, make a text."""
    growth = 1
    for part in parts:
        if part.get("type") == "Replace":
            growth *= max(1, len(part["content"]))
        if growth > MAX_GROWTH:
            raise DataError(
                f"the {name} of the tokenizer makes more than {MAX_GROWTH} characters of one",
                where=where,
                fix=_FIX,
            )


def _try(part: Mapping[str, Any], name: str, where: str) -> None:
    """Search for the pattern of a rule, where it has one."""
    pattern = part.get("Regex")
    if not isinstance(pattern, str):
        return
    from tokenizers import Regex, pre_tokenizers

    search = pre_tokenizers.Split(Regex(pattern), "isolated").pre_tokenize_str
    for text in _trials(pattern):
        began = time.thread_time()
        try:
            search(text)
        except BaseException as error:
            if not panicked(error):
                raise
            why = f"fails: {str(error)[:200]}"
        else:
            if time.thread_time() - began <= MAX_SECONDS:
                continue
            why = f"takes more than {MAX_SECONDS:g} s for a text of {len(text)} characters"
        raise DataError(
            f"the {name} of the tokenizer has the pattern {pattern[:80]!r}, and the search for it "
            f"{why}",
            where=where,
            fix=_FIX,
        )


def _trials(pattern: str) -> Iterator[str]:
    """Runs of letters of growing length, that something may stop.

    All that the pattern may look for stands behind them: a search only begins where it is there.
    """
    letters = _PRINTABLE + "".join(sorted(set(pattern) - set(_PRINTABLE)))
    for unit in _UNITS:
        for stop in _STOPS:
            for length in _LENGTHS:
                yield (unit * length)[:length] + stop + (letters if stop else "")


@contextmanager
def _no_traces_of_rust() -> Iterator[None]:
    """Keep the terminal free of what the tokenizers library writes there when it fails."""
    with suppress(OSError):
        kept = os.dup(2)
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        return
    yield
