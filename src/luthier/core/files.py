"""Atomic reading and writing of the files of a run.

All files of a run are opened here. Links are never followed, neither for reading nor for writing,
because a run may come from somebody else. Temporary files have random names and lie in the target's
folder.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from luthier.core import untrusted as guarded
from luthier.core.disk import storing
from luthier.core.errors import DataError, LuthierError, ResourceError, UsageError

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
# Without O_NONBLOCK, opening a FIFO without a writer would block.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_LONGEST_STEM = 100  # bytes of the file's name used in a temporary name


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading, without following links.

    Raises:
        FileNotFoundError: the file does not exist.
        DataError: it is a link, a folder, a FIFO or a device, or unreadable.
    """
    return open_regular(path, _NO_LINK)


def open_regular(path: Path, flags: int = 0) -> BinaryIO:
    """Open a regular file for reading, without blocking on a FIFO.

    Args:
        path: the file.
        flags: additional flags for `os.open`.

    Raises:
        FileNotFoundError: the file does not exist.
        DataError: it is a folder, a FIFO, a socket or a device, or unreadable.
    """
    try:
        handle = os.open(path, os.O_RDONLY | _NO_WAIT | flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refused(path, error) from None
    except ValueError as error:  # a NUL in the name
        raise DataError(f"invalid file name: {error}", where=repr(str(path))) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise irregular(path)
    return os.fdopen(handle, "rb")


def irregular(path: Path) -> DataError:
    """The error to raise for a path that is not a regular file."""
    return DataError(
        "this is not a regular file",
        where=str(path),
        fix="name a regular file; pipes and devices are not read",
    )


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """The content of a file written by Luthier.

    Args:
        path: the file.
        most: maximum size in bytes; None: unlimited.

    Raises:
        FileNotFoundError: the file does not exist.
        DataError: it is too large, or as in `open_file`.
    """
    with open_file(path) as file:
        return read_whole(file, path, most)


def read_whole(file: BinaryIO, path: Path, most: int | None) -> bytes:
    """The content of an open file; the limit also stops a file that grows while it is read."""
    if most is None:
        return file.read()
    content = file.read(most + 1)
    if len(content) > most:
        raise DataError(f"this file exceeds {most // 2**20:,} MiB", where=str(path))
    return content


def read_text(path: Path) -> str:
    """The text of a file written by Luthier.

    Raises:
        DataError: the file is missing or not UTF-8, or as in `open_file`.
    """
    try:
        return read_bytes(path).decode("utf-8")
    except FileNotFoundError:
        raise DataError("the file does not exist", where=str(path)) from None
    except (OSError, ValueError) as error:
        raise DataError(f"this file is not valid UTF-8: {error}", where=str(path)) from None


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically, so that readers never see a partial file.

    A link at ``path`` is replaced; its target is left unchanged.

    Raises:
        UsageError: the path is a folder.
        ResourceError: the folder is not writable or the disk is full.
    """
    content = text.encode("utf-8", "backslashreplace")
    with new_file(path, len(content)) as file:
        file.write(content)


@contextmanager
def new_file(path: Path, needed: int) -> Iterator[IO[bytes]]:
    """A temporary file that is renamed to ``path`` once it is flushed to disk.

    If the block fails, the temporary file is deleted and an existing file stays unchanged.

    Args:
        path: the target.
        needed: its size in bytes.

    Raises:
        UsageError: the path is a folder.
        ResourceError: writing failed, also inside the block.
    """
    with storing(path, needed):
        if path.is_dir() or not path.name:
            raise UsageError("this is a folder", where=str(path), fix="name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        with _new_beside(path) as file:
            yield file
        flush(path.parent)


@contextmanager
def _new_beside(path: Path) -> Iterator[IO[bytes]]:
    partial = partial_name(path)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def partial_name(path: Path) -> Path:
    """An unpredictable temporary name beside ``path``."""
    stem = os.fsdecode(os.fsencode(path.name)[:_LONGEST_STEM])
    return path.with_name(f".{stem}.{secrets.token_hex(8)}.partial")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. NaN and infinity are rejected."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file written by Luthier.

    Raises:
        DataError: the file is missing or too large, or rejected by `parse_record`.
    """
    try:
        content = read_bytes(path, guarded.MAX_DOCUMENT_BYTES)
    except FileNotFoundError:
        raise DataError("the file does not exist", where=str(path)) from None
    return guarded.parse_record(content, str(path))


def write_lines(path: Path, values: Iterable[Any]) -> None:
    """Write a JSON-lines file atomically."""
    lines = (json.dumps(value, ensure_ascii=False, allow_nan=False) for value in values)
    write_atomically(path, "".join(line + "\n" for line in lines))


def append_line(path: Path, value: Any) -> None:
    """Append a JSON document as one line.

    Raises:
        ResourceError: the file is not writable.
        DataError: it is a link or not a regular file.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"
    content = text.encode("utf-8", "backslashreplace")
    with storing(path, len(content)), _open_to_append(path) as file:
        file.write(content)


def append_lines(path: Path, values: Iterable[Any]) -> None:
    """Append JSON documents, one per line, and flush them to disk.

    Raises:
        ResourceError, DataError: as in `append_line`.
    """
    text = "".join(json.dumps(v, ensure_ascii=False, allow_nan=False) + "\n" for v in values)
    content = text.encode("utf-8", "backslashreplace")
    with storing(path, len(content)):
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with _open_to_append(path) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            flush(path.parent)


def _open_to_append(path: Path) -> IO[bytes]:
    """Open a regular file for appending.

    A file with a second name (hard link) is copied first, because the other name may belong to
    another run.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NO_LINK | _NO_WAIT
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _refused(path, error) from None
        raise
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise DataError("this is not a regular file", where=str(path))
    if found.st_nlink > 1:
        os.close(handle)
        with open_file(path) as old, _new_beside(path) as new:
            shutil.copyfileobj(old, new)
        return _open_to_append(path)
    return os.fdopen(handle, "ab")


def _refused(path: Path, error: OSError) -> LuthierError:
    if error.errno == errno.ELOOP:
        return DataError(
            "this is a link, and links in a run are not followed",
            where=str(path),
            fix="if you trust it, replace it with a copy of its target",
        )
    if error.errno == errno.ENXIO:
        return irregular(path)
    if error.errno in (errno.EACCES, errno.EPERM):
        return ResourceError("no permission to read this file", where=str(path))
    return DataError(f"cannot read this file: {error.strerror}", where=str(path))


def read_lines(path: Path) -> Iterator[Any]:
    """The documents of a JSON-lines file; reading ends at a line torn by an interruption.

    Raises:
        DataError: a line is longer than 64 MiB or rejected by `parse_record`; or as in `open_file`.
    """
    if not path.exists():
        return
    with open_file(path) as file:
        number = 0
        while line := file.readline(guarded.MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > guarded.MAX_LINE_BYTES:
                problem = f"this line is longer than {guarded.MAX_LINE_BYTES // 2**20} MiB"
                raise DataError(problem, where=f"{path}:{number}")
            try:
                value = guarded.parse_record(line, f"{path}:{number}")
            except guarded.MalformedError:
                guarded.require_text(line, f"{path}:{number}")
                return
            yield value


def folder_bytes(folder: Path, suffixes: tuple[str, ...] = ("",)) -> int:
    """Total size in bytes of the files below ``folder`` with one of the suffixes (default: all)."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files if path.name.endswith(suffixes))


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        # Only the initial size is read, since the file may be growing.
        left = os.fstat(file.fileno()).st_size
        while left > 0 and (part := file.read(min(left, 2**20))):
            digest.update(part)
            left -= len(part)
    return digest.hexdigest()


def flush(path: Path) -> None:
    """Flush a file, or a folder's entries, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
