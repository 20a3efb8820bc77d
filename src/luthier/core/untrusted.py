"""Guarded parsing of files from elsewhere.

Well-formed JSON can still be harmful: nesting that exhausts the recursion limit, numbers that
overflow to infinity, duplicate keys that two readers resolve differently. It is rejected here,
where the file is known.
"""

from __future__ import annotations

import codecs
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from luthier.core.errors import DataError, LuthierError, ResourceError
from luthier.core.names import named

MAX_DOCUMENT_BYTES = 256 * 2**20
"""The largest JSON document accepted; tokenizers of 256,000 tokens take 35 MiB."""
MAX_LINE_BYTES = 64 * 2**20
"""The longest line accepted in a JSON-lines file."""
MAX_DEPTH = 100
"""Maximum nesting of lists and objects; the deepest known file, a tokenizer, has 8 levels."""
_MAX_DIGITS = 64  # of an integer; transformers writes one of 31 digits for "no limit"
_REASON = 300  # characters
_SMALLER = "check the sizes in the file, or use a machine with more memory"


class MalformedError(DataError):
    """The text is not JSON, such as a line whose writing was interrupted."""


def parse_record(text: str | bytes, where: str) -> Any:
    """Parse JSON that was written by Luthier, or claims to be.

    Raises:
        MalformedError: the text is not JSON.
        DataError: it has a duplicate key, a number that is not finite or has more than 64 digits, a
            lone surrogate, or more than 100 levels.
    """
    return _parse(text, where, constant=_not_finite, pairs=_distinct, real=_finite)


def parse_foreign(text: str | bytes, where: str) -> Any:
    """Parse the JSON of a model, written by other programs.

    NaN and infinity are accepted, and the last of duplicate keys wins, as in these programs.

    Raises:
        DataError: any other reason of `parse_record`.
    """
    return _parse(text, where, constant=float, pairs=None, real=float)


@contextmanager
def reading_foreign(problem: str, where: str, fix: str = "") -> Iterator[None]:
    """Convert any exception of another library's file reader into an error that names the file.

    Such readers document no list of exceptions and may raise anything. A panic in a Rust library is
    not even an `Exception`.

    Args:
        problem: the failure, such as ``the tokenizer of x cannot be loaded``.
        where: the file or folder.
        fix: the suggested action.

    Raises:
        ResourceError: memory ran out.
        DataError: anything else failed.
    """
    try:
        yield
    except (LuthierError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        if is_shortage(error):
            raise ResourceError(f"{problem}: out of memory", where=where, fix=_SMALLER) from error
        raise DataError(f"{problem}: {reason(error)}", where=where, fix=fix) from error


def reason(error: BaseException) -> str:
    """The first line of an exception's message, or its type if there is none.

    A first line that ends with a colon is a title, so the second line is included.
    """
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    titled = len(lines) > 1 and lines[0].endswith(":")
    said = " ".join(lines[: 2 if titled else 1])[:_REASON]
    # A bare "5" or "'x'" is not informative: the type is added.
    named = isinstance(error, (LookupError, AttributeError, TypeError, AssertionError))
    if not said or named:
        return f"{type(error).__name__}: {said}".rstrip(": ")
    return said


def is_shortage(error: BaseException) -> bool:
    """Whether memory ran out. Torch reports it as a `RuntimeError`."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def repeated(names: Sequence[str]) -> str:
    """The most frequent of ``names``."""
    return Counter(names).most_common(1)[0][0]


def depth_exceeds(value: Any, most: int = MAX_DEPTH) -> bool:
    """Whether lists and objects are nested more than ``most`` levels deep."""
    level = [value]
    for _ in range(most + 1):
        level = [each for each in level if isinstance(each, (dict, list))]
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return True


def _parse(
    text: str | bytes,
    where: str,
    *,
    constant: Callable[[str], Any],
    pairs: Callable[[list[tuple[str, Any]]], Any] | None,
    real: Callable[[str], float],
) -> Any:
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        document = json.loads(
            text,
            parse_constant=constant,
            object_pairs_hook=pairs,
            parse_float=real,
            parse_int=_whole,
        )
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        problem = "lone surrogate, such as \\ud83d"
        raise DataError(f"invalid JSON: {problem}", where=where) from None
    except RecursionError:
        raise _too_deep(where) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MalformedError(f"invalid JSON: {error}", where=where) from None
    except ValueError as error:
        raise DataError(f"invalid JSON: {error}", where=where) from None
    # Counting brackets first is cheap, and almost no file has so many.
    if text.count("[") + text.count("{") > MAX_DEPTH and depth_exceeds(document):
        raise _too_deep(where)
    return document


def require_text(content: bytes, where: str) -> None:
    """Check that bytes are UTF-8; the last character may be incomplete.

    Raises:
        DataError: they are not UTF-8.
    """
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content)
    except UnicodeDecodeError as error:
        raise DataError(f"this file is not valid UTF-8: {error}", where=where) from None


def _too_deep(where: str) -> DataError:
    return DataError(f"this JSON is nested more than {MAX_DEPTH} levels deep", where=where)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError(f"duplicate key {named(repeated([key for key, _ in pairs]))}")
    return values


def _not_finite(name: str) -> float:
    raise ValueError(f"{name} is not valid in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits is too large")
    return int(text)
