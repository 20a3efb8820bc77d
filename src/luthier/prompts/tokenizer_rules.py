"""Checks of a tokenizer's rules, which are untrusted.

A tokenizer's file has regular expressions that cut and rewrite texts. The regex engine of the
tokenizers library backtracks: a pattern such as ``(a+)+$`` takes twice as long for each further
character. A search cannot be interrupted. So the rules are tested with short texts of growing
length before they get a text of the user's.
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
"""Limit of the characters that rules make of one. Unicode's own rules make up to 18."""
MAX_SECONDS = 0.1
"""Limit of processor time for a text of up to 600 characters; real patterns take a millisecond."""
_LENGTHS = (8, 12, 16, 20, 24, 28, 32, 64, 128, 256, 512)
_UNITS = ("a", "A", "1", " ", "\n", "-", "_", "é", "日", "ab ", "a1", "A.", " \n", "'s", "<|")
_STOPS = ("", "!", "\0")
_PRINTABLE = "\n" + "".join(map(chr, range(32, 127)))
_FIX = "get the tokenizer's files from where the model comes from, or name another tokenizer"


def require_workable(tokenizer: Any, where: str) -> None:
    """Test the rules of a tokenizer's file.

    Args:
        tokenizer: a tokenizer of transformers.
        where: its folder, for error messages.

    Raises:
        DataError: a rule fails, takes too long, or makes a text too much longer.
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
    """Whether an exception is a Rust panic of the tokenizers library."""
    return type(error).__name__ == "PanicException"


def raise_if_panicked(error: BaseException) -> None:
    """Raise an error if the tokenizers library panicked.

    Raises:
        DataError: it panicked.
    """
    if panicked(error):
        raise DataError(
            f"the tokenizer fails on a text: {str(error)[:200]}",
            where="the model's tokenizer.json",
            fix=_FIX,
        ) from None


def _parts(rule: Any) -> Iterator[Mapping[str, Any]]:
    """A rule and the rules within it, as in a tokenizer's file."""
    if isinstance(rule, dict):
        yield rule
    for inner in rule.values() if isinstance(rule, dict) else rule:
        if isinstance(inner, dict | list):
            yield from _parts(inner)


def _require_small(parts: Iterable[Mapping[str, Any]], name: str, where: str) -> None:
    """Check how much longer all replacements together make a text."""
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
    """Test the pattern of a rule, if it has one."""
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
    """Runs of characters of growing length, some with a character that ends the run.

    All characters of the pattern follow, because a search begins only if they are there.
    """
    letters = _PRINTABLE + "".join(sorted(set(pattern) - set(_PRINTABLE)))
    for unit in _UNITS:
        for stop in _STOPS:
            for length in _LENGTHS:
                yield (unit * length)[:length] + stop + (letters if stop else "")


@contextmanager
def _no_traces_of_rust() -> Iterator[None]:
    """Suppress the panic messages that the tokenizers library writes to stderr."""
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
