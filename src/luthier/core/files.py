"""Files that are either whole or absent, whatever interrupts the writing."""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from luthier.core.errors import DataError, ResourceError


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` beside ``path`` and move it there, so that a reader never sees a part of it.

    Raises:
        ResourceError: the folder cannot be written or the disk is full.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. NaN and infinity are refused."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that Luthier wrote.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("the file does not exist", where=str(path)) from None
    except (OSError, ValueError) as error:
        raise DataError(f"this is not readable JSON: {error}", where=str(path)) from None


def write_lines(path: Path, values: Iterable[Any]) -> None:
    """Write one JSON document a line, atomically."""
    lines = (json.dumps(value, ensure_ascii=False, allow_nan=False) for value in values)
    write_atomically(path, "".join(line + "\n" for line in lines))


def append_line(path: Path, value: Any) -> None:
    """Append one JSON document as a line."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
    except OSError as error:
        raise unwritable(path, error) from error


def read_lines(path: Path) -> Iterator[Any]:
    """The documents of a JSON-lines file; a line torn by an interruption ends the reading."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            # A tear may go through a character, which this decoder leaves out.
            text = codecs.getincrementaldecoder("utf-8")().decode(line)
            try:
                yield json.loads(text)
            except ValueError:
                return


def folder_bytes(folder: Path, suffixes: tuple[str, ...] = ("",)) -> int:
    """The size of the files below ``folder`` with one of the suffixes (default: all), in bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files if path.name.endswith(suffixes))


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unwritable(path: Path, error: Exception) -> ResourceError:
    """The error to raise when ``path`` could not be written.

    Args:
        path: what was to be written.
        error: an `OSError`, or one that names it in its text, as safetensors does.
    """
    named = re.search(r"os error (\d+)", str(error))
    number = error.errno if isinstance(error, OSError) else int(named[1]) if named else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(path.parent if path.parent.exists() else Path.cwd()).free
        return ResourceError(
            f"the disk is full ({free / 2**20:.0f} MiB free)",
            where=str(path),
            fix="free some space, or choose another folder with --output",
        )
    return ResourceError(
        f"this cannot be written: {os.strerror(number) if number else error}",
        where=str(path),
        fix="choose a folder you may write to with --output",
    )
