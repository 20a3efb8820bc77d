"""Readers of rows, one per file suffix; the table is at the end."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn

from luthier.core.errors import DataError
from luthier.core.names import listed, named
from luthier.core.row import Row
from luthier.data.budget import require_memory
from luthier.data.bytestream import Line, read_text, read_text_lines
from luthier.data.columns import MAX_COLUMNS
from luthier.data.delimited import read_csv, read_tsv
from luthier.data.excel import read_excel
from luthier.data.json_text import is_list, null_for_nan, parse_items, parse_json
from luthier.data.parquet import rows_of_parquet
from luthier.data.problems import Problems

_LONG_PARAGRAPH = 20
"""A file that is one paragraph of as many lines probably has a row per line."""
Reader = Callable[[Path, str, Problems], Iterator[Row]]
"""Reads the rows of a file, with its name for errors. Errors in single rows go to `Problems`; an
error that makes all later rows unreliable is raised."""


def _read_jsonl(path: Path, name: str, problems: Problems) -> Iterator[Row]:
    """A row per line; a file that begins with a list is a JSON document, whatever its name."""
    lines = read_text_lines(path, name, problems.note)
    first = next((line for line in lines if line.text.strip()), None)
    if first is None:
        return
    if _begins_list_of_rows(first.text):
        yield from _read_json(path, name, problems)
    else:
        yield from _read_lines(chain([first], lines), name, problems)


def _begins_list_of_rows(line: str) -> bool:
    """Whether a line begins a list of objects; a line of JSON Lines is an object itself."""
    text = line.strip()
    return text == "[" or (text.startswith("[") and text[1:].lstrip().startswith("{"))


def _read_lines(lines: Iterable[Line], name: str, problems: Problems) -> Iterator[Row]:
    for line in lines:
        text = line.text.strip()
        if not text:
            continue
        where = f"{name}:{line.number}"
        try:
            yield Row(_object(_parse_json(text, name, line.number), where), where)
        except DataError as error:
            problems.add(error)


def _read_json(path: Path, name: str, problems: Problems) -> Iterator[Row]:
    """A list of rows, or an object with one list of rows; a row per line is JSON Lines."""
    text = read_text(path, name, problems.note)
    if not text.strip():
        return
    if _is_json_lines(text):
        yield from _read_lines(read_text_lines(path, name, problems.note), name, problems)
        return
    require_memory(text, name)
    for index, value in enumerate(_documents(text, name), start=1):
        try:
            where = f"{name} row {index}"
            yield Row(_object(value, where), where)
        except DataError as error:
            problems.add(error)


def _is_json_lines(text: str) -> bool:
    """Whether the first two lines that are not blank are a JSON object each."""
    lines = (line for line in io.StringIO(text) if line.strip())
    return len(first := list(islice(lines, 2))) == 2 and all(map(_is_object, first))


def _is_object(line: str) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except ValueError:
        return False


def _documents(text: str, name: str) -> Iterator[Any]:
    """The items of a list, or of the list of rows in an object."""
    if is_list(text):
        with _told_where(name, 1):
            yield from parse_items(text)
        return
    document = _parse_json(text, name, 1)
    lists = _lists_of_rows(document)
    if len(lists) == 1 or "data" in lists:
        yield from lists.get("data") or next(iter(lists.values()))
    elif lists:
        raise DataError(
            f"the object has several lists of rows: {listed(lists, show=named)}",
            where=name,
            fix="save each of them as a file of its own, such as train.json and test.json",
        )
    elif isinstance(document, dict) and _is_columns(document):
        raise DataError(
            "the file has columns, not rows: each key has the values of all rows",
            where=name,
            fix='save it with to_json(path, orient="records", lines=True), '
            "and name the file .jsonl",
        )
    else:
        raise DataError(
            "the file has neither a list of rows nor an object with a list of rows",
            where=name,
            fix="if each line is a row of its own, name the file .jsonl",
        )


def _lists_of_rows(document: Any) -> dict[str, list[Any]]:
    """The lists in an object that hold objects, by key; an empty list called "data" counts."""
    if not isinstance(document, dict):
        return {}
    lists = {key: value for key, value in document.items() if isinstance(value, list)}
    return {
        key: value
        for key, value in lists.items()
        if (value and isinstance(value[0], dict)) or (key == "data" and len(lists) == 1)
    }


def _is_columns(document: dict[str, Any]) -> bool:
    """Whether a document is a table by columns: lists, or objects by row number, equally long."""
    values = list(document.values())
    kinds = {type(value) for value in values}
    lengths = {len(value) for value in values if isinstance(value, (list, dict))}
    return kinds in ({list}, {dict}) and len(lengths) == 1


def _read_txt(path: Path, name: str, problems: Problems) -> Iterator[Row]:
    """Paragraphs, separated by blank lines; whether each line is a row cannot be told."""
    paragraph: list[Line] = []
    found = 0
    for line in read_text_lines(path, name, problems.note):
        if line.text.strip():
            paragraph.append(line)
        elif paragraph:
            yield _paragraph(paragraph, name)
            found += 1
            paragraph = []
    if paragraph:
        yield _paragraph(paragraph, name)
        if not found and len(paragraph) >= _LONG_PARAGRAPH:
            problems.note(
                f"the {len(paragraph):,} lines of {name} are one row, since blank lines separate "
                "the rows of a .txt file; if each line is a row, save it as .csv with the header "
                "text"
            )


def _paragraph(lines: Sequence[Line], name: str) -> Row:
    text = "".join(line.text for line in lines).rstrip()
    return Row({"text": text}, f"{name}:{lines[0].number}")


def _parse_json(text: str, name: str, first_line: int) -> Any:
    """The JSON document in ``text``, which starts on line ``first_line``; NaN becomes null.

    Raises:
        DataError: it is not JSON, has a duplicate key, or has a lone surrogate.
    """
    with _told_where(name, first_line):
        return parse_json(text)


@contextmanager
def _told_where(name: str, first_line: int) -> Iterator[None]:
    """Add file and line to JSON errors."""
    try:
        yield
    except json.JSONDecodeError as error:
        _raise_malformed(error, name, first_line)
    except ValueError as error:
        raise DataError(f"invalid JSON: {error}", where=f"{name}:{first_line}") from None


def _raise_malformed(error: json.JSONDecodeError, name: str, first_line: int) -> NoReturn:
    where = f"{name}:{first_line + error.lineno - 1}"
    if error.msg == "Extra data" and error.lineno > 1:
        raise DataError(
            "a second JSON document starts here", where=where, fix="name the file .jsonl"
        )
    message = (error.msg[:1].lower() + error.msg[1:]).removesuffix(" at")
    raise DataError(
        f"invalid JSON: {message} at column {error.colno}",
        where=where,
        fix="correct the row, or remove it; it may have been cut off",
    )


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a text", type(None): "null"}.get(type(value), "a number")
        raise DataError(f'a row must be an object such as {{"prompt": …}}, not {kind}', where=where)
    if len(value) > MAX_COLUMNS:
        raise DataError(
            f"the row has {len(value):,} keys, but at most {MAX_COLUMNS:,} are supported",
            where=where,
        )
    return value


def _read_parquet(path: Path, name: str, problems: Problems) -> Iterator[Row]:
    for index, values in enumerate(rows_of_parquet(path, name), start=1):
        yield Row(null_for_nan(values), f"{name} row {index}")


READERS: dict[str, Reader] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".txt": _read_txt,
    ".parquet": _read_parquet,
    ".xlsx": read_excel,
    ".xlsm": read_excel,
    ".ndjson": _read_jsonl,
}
"""By suffix, each optionally followed by ``.gz``."""


def reader_of(path: Path) -> Reader | None:
    """The reader for ``path``; None for other kinds of files."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix != ".gz"]
    return READERS.get(suffixes[-1]) if suffixes else None
