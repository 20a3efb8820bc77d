"""What every reader of a file from elsewhere goes through: one guard for text, and one for errors.

JSON can be well-formed and harmful all the same: nested until a recursion fails, with numbers that
become infinite, with a key twice so that two readers see two values. It is refused here, where the
file is still known, and not where it is used.
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
"""The largest JSON document that is read; tokenizers of 256,000 tokens take 35 MiB."""
MAX_LINE_BYTES = 64 * 2**20
"""The longest line of a JSON-lines file."""
MAX_DEPTH = 100
"""Of lists and objects in each other; the deepest that is known, a tokenizer, has 8."""
_MAX_DIGITS = 64  # of a whole number; transformers writes one of 31 for "no limit"
_REASON = 300  # characters
_SMALLER = "check the sizes in the file, or use a machine with more memory"


class MalformedError(DataError):
    """This is not JSON at all, such as the beginning of a line whose writing was interrupted."""


def parse_record(text: str | bytes, where: str) -> Any:
    """The JSON that Luthier wrote, or somebody who pretends that it did.

    Raises:
        MalformedError: it is not JSON.
        DataError: it repeats a key, holds a number that is not finite or of more than
            64 digits, half a surrogate pair, or more than 100 levels.
    """
    return _parse(text, where, constant=_not_finite, pairs=_distinct, real=_finite)


def parse_foreign(text: str | bytes, where: str) -> Any:
    """The JSON of a model, which other programs wrote.

    NaN and infinity may stand there, and of a key that stands twice the last value counts, as it
    does for these programs.

    Raises:
        DataError: as `parse_record`, for all else.
    """
    return _parse(text, where, constant=float, pairs=None, real=float)


@contextmanager
def reading_foreign(problem: str, where: str, fix: str = "") -> Iterator[None]:
    """Make what other libraries raise while they read a file into an error that names the file.

    They raise anything: a file may hold anything, and none of them lists what it raises. A panic of
    a library in Rust is not even an `Exception`.

    Args:
        problem: what does not work, such as ``the tokenizer of x cannot be loaded``.
        where: the file or folder.
        fix: what to do about it.

    Raises:
        ResourceError: memory does not suffice.
        DataError: anything else failed.
    """
    try:
        yield
    except (LuthierError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        if is_shortage(error):
            raise ResourceError(
                f"{problem}: memory does not suffice", where=where, fix=_SMALLER
            ) from error
        raise DataError(f"{problem}: {reason(error)}", where=where, fix=fix) from error


def reason(error: BaseException) -> str:
    """The first line of what an exception says, or its name where it says nothing.

    A line that ends with a colon is the title of the next, and says nothing without it.
    """
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    titled = len(lines) > 1 and lines[0].endswith(":")
    said = " ".join(lines[: 2 if titled else 1])[:_REASON]
    # "5" or "'x'" is no sentence; a KeyError says so.
    named = isinstance(error, (LookupError, AttributeError, TypeError, AssertionError))
    if not said or named:
        return f"{type(error).__name__}: {said}".rstrip(": ")
    return said


def is_shortage(error: BaseException) -> bool:
    """Whether memory ran out. Torch says so in the words of a `RuntimeError`."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def repeated(names: Sequence[str]) -> str:
    """The most frequent of ``names``."""
    return Counter(names).most_common(1)[0][0]


def depth_exceeds(value: Any, most: int = MAX_DEPTH) -> bool:
    """Whether lists and objects are in each other more than ``most`` deep."""
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
        problem = "an escape such as \\ud83d is half of a character"
        raise DataError(f"this is not readable JSON: {problem}", where=where) from None
    except RecursionError:
        raise _too_deep(where) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MalformedError(f"this is not readable JSON: {error}", where=where) from None
    except ValueError as error:
        raise DataError(f"this is not readable JSON: {error}", where=where) from None
    # Brackets are counted first, since almost no file has so many.
    if text.count("[") + text.count("{") > MAX_DEPTH and depth_exceeds(document):
        raise _too_deep(where)
    return document


def require_text(content: bytes, where: str) -> None:
    """Check that what was written is text; its last character may be torn.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content)
    except UnicodeDecodeError as error:
        raise DataError(f"this file cannot be read: {error}", where=where) from None


def _too_deep(where: str) -> DataError:
    return DataError(f"this JSON is nested more than {MAX_DEPTH} levels deep", where=where)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError(f"the key {named(repeated([key for key, _ in pairs]))} stands twice")
    return values


def _not_finite(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits is too large")
    return int(text)
