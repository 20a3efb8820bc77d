"""Files that are either whole or absent, whatever interrupts the writing.

Files of a run are opened here and nowhere else. A run may come from somebody else, so the file that
a name stands for is opened, and never what a link points to: not for reading, not for writing.
Temporary files have random names in the folder of the file that they become.
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
# A FIFO without a writer would be waited for.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_LONGEST_STEM = 100  # bytes of the name in a temporary name


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading; a link is not followed.

    Raises:
        FileNotFoundError: there is none.
        DataError: it is a link, a folder, a FIFO or a device; or it cannot be read.
    """
    return open_regular(path, _NO_LINK)


def open_regular(path: Path, flags: int = 0) -> BinaryIO:
    """Open a file for reading, which is never waited for, as a FIFO without a writer would be.

    Args:
        path: the file.
        flags: further ones for `os.open`.

    Raises:
        FileNotFoundError: there is none.
        DataError: it is a folder, a FIFO, a socket or a device; or it cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | _NO_WAIT | flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refused(path, error) from None
    except ValueError as error:  # a NUL in the name
        raise DataError(f"this is no name of a file: {error}", where=repr(str(path))) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise irregular(path)
    return os.fdopen(handle, "rb")


def irregular(path: Path) -> DataError:
    """The error to raise for what is there and is no regular file."""
    return DataError(
        "this cannot be read: it is no regular file",
        where=str(path),
        fix="name a file; what comes through a pipe or from a device is not read",
    )


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """The content of a file that Luthier wrote.

    Args:
        path: the file.
        most: bytes that it may have; None: any number.

    Raises:
        FileNotFoundError: there is none.
        DataError: it is larger, or as `open_file`.
    """
    with open_file(path) as file:
        return read_whole(file, path, most)


def read_whole(file: BinaryIO, path: Path, most: int | None) -> bytes:
    """The content; a file that grows while it is read ends at the limit, too."""
    if most is None:
        return file.read()
    content = file.read(most + 1)
    if len(content) > most:
        raise DataError(f"this is too large: more than {most // 2**20:,} MiB", where=str(path))
    return content


def read_text(path: Path) -> str:
    """The text of a file that Luthier wrote.

    Raises:
        DataError: the file is missing, is not UTF-8, or as `open_file`.
    """
    try:
        return read_bytes(path).decode("utf-8")
    except FileNotFoundError:
        raise DataError("the file does not exist", where=str(path)) from None
    except (OSError, ValueError) as error:
        raise DataError(f"this is not readable: {error}", where=str(path)) from None


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` beside ``path`` and move it there, so that a reader never sees a part of it.

    A link at ``path`` is replaced, and what it points to stays.

    Raises:
        UsageError: the path is a folder.
        ResourceError: the folder cannot be written or the disk is full.
    """
    content = text.encode("utf-8", "backslashreplace")
    with new_file(path, len(content)) as file:
        file.write(content)


@contextmanager
def new_file(path: Path, needed: int) -> Iterator[IO[bytes]]:
    """A new file under a random name, which gets the name ``path`` when it is on the disk.

    Where the block fails there is no new file, and an old one is as it was.

    Args:
        path: the file to be.
        needed: its size in bytes.

    Raises:
        UsageError: the path is a folder.
        ResourceError: the system refused something, in the block too.
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
    """A name beside ``path`` that nobody could have taken before."""
    stem = os.fsdecode(os.fsencode(path.name)[:_LONGEST_STEM])
    return path.with_name(f".{stem}.{secrets.token_hex(8)}.partial")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. NaN and infinity are refused."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that Luthier wrote.

    Raises:
        DataError: the file is missing or too large, or is refused as `parse_record` says.
    """
    try:
        content = read_bytes(path, guarded.MAX_DOCUMENT_BYTES)
    except FileNotFoundError:
        raise DataError("the file does not exist", where=str(path)) from None
    return guarded.parse_record(content, str(path))


def write_lines(path: Path, values: Iterable[Any]) -> None:
    """Write one JSON document a line, atomically."""
    lines = (json.dumps(value, ensure_ascii=False, allow_nan=False) for value in values)
    write_atomically(path, "".join(line + "\n" for line in lines))


def append_line(path: Path, value: Any) -> None:
    """Append one JSON document as a line.

    Raises:
        ResourceError: the file cannot be written.
        DataError: it is a link, or no regular file.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"
    content = text.encode("utf-8", "backslashreplace")
    with storing(path, len(content)), _open_to_append(path) as file:
        file.write(content)


def append_lines(path: Path, values: Iterable[Any]) -> None:
    """Append one JSON document a line, and wait until they are on the disk.

    Raises:
        ResourceError, DataError: as `append_line`.
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
    """Open a regular file to append to.

    A file that has a second name, a hard link, is copied first: what has the other name is not
    this run's to change.
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
        raise DataError("this is no regular file", where=str(path))
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
            fix="if you trust it, put a copy of what it points to in its place",
        )
    if error.errno == errno.ENXIO:
        return irregular(path)
    if error.errno in (errno.EACCES, errno.EPERM):
        return ResourceError("the file may not be read", where=str(path))
    return DataError(f"this cannot be read: {error.strerror}", where=str(path))


def read_lines(path: Path) -> Iterator[Any]:
    """The documents of a JSON-lines file; a line torn by an interruption ends the reading.

    Raises:
        DataError: a line is longer than 64 MiB, or is refused as `parse_record` says; or as
            `open_file`.
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
    """The size of the files below ``folder`` with one of the suffixes (default: all), in bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files if path.name.endswith(suffixes))


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        # A file that grows is read up to where it ended.
        left = os.fstat(file.fileno()).st_size
        while left > 0 and (part := file.read(min(left, 2**20))):
            digest.update(part)
            left -= len(part)
    return digest.hexdigest()


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
