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

from luthier.core.errors import DataError, ResourceError, UsageError


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` beside ``path`` and move it there, so that a reader never sees a part of it.

    Raises:
        UsageError: the path is a folder.
        ResourceError: the folder cannot be written or the disk is full.
    """
    if path.is_dir() or not path.name:
        raise UsageError("this is a folder", where=str(path), fix="name a file")
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        flush(path.parent)
    except OSError as error:
        raise unwritable(path, error, needed=len(text.encode())) from error


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
    line = json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        raise unwritable(path, error, needed=len(line.encode())) from error


def append_lines(path: Path, values: Iterable[Any]) -> None:
    """Append one JSON document a line, and wait until they are on the disk.

    Raises:
        ResourceError: the file cannot be written.
    """
    text = "".join(json.dumps(v, ensure_ascii=False, allow_nan=False) + "\n" for v in values)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            flush(path.parent)
    except OSError as error:
        raise unwritable(path, error, needed=len(text.encode())) from error


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


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_folder(partial: Path, target: Path) -> None:
    """Flush a finished folder to the disk and give it its name, in place of one that has it.

    There is never a part under the name. Between the two renames there is nothing; who stops
    there leaves the old folder whole, and `settle_folder` gives it its name back.

    Raises:
        OSError: ``target`` is as it was.
    """
    for path in (*partial.rglob("*"), partial):
        flush(path)
    settle_folder(target)
    old = _old(target)
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    try:
        partial.rename(target)
    except OSError:
        settle_folder(target)
        raise
    flush(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def settle_folder(target: Path) -> None:
    """Undo a `replace_folder` that was stopped between its two renames."""
    if _old(target).exists() and not target.exists():
        _old(target).rename(target)


def _old(target: Path) -> Path:
    return target.with_name(f".old-{target.name}")


def unwritable(path: Path, error: Exception, needed: int = 0) -> ResourceError:
    """The error to raise when ``path`` could not be written.

    Args:
        path: what was to be written.
        error: an `OSError`, or one that names it in its text, as safetensors does.
        needed: the size of what was to be written, in bytes; 0 where it is not known.
    """
    named = re.search(r"os error (\d+)", str(error))
    number = error.errno if isinstance(error, OSError) else int(named[1]) if named else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        wanted = f"{needed:,} bytes are needed, " if needed else ""
        return ResourceError(
            f"the disk is full: {wanted}{shutil.disk_usage(folder).free:,} bytes are free",
            where=str(path),
            fix="free some space, or choose another folder with --output",
        )
    return ResourceError(
        f"this cannot be written: {os.strerror(number) if number else error}",
        where=str(path),
        fix="choose a folder you may write to with --output",
    )
