"""What a disk refuses, in words: what is needed, what is free, and what to do."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from luthier.core.errors import LuthierError, ResourceError

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk (its quota) is used up",
    errno.EFBIG: "the file would be larger than files may be here",
}
_OF_A_DISK = {*_FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG}
_BLOCK = 4096  # bytes that the smallest file takes


@contextmanager
def storing(path: Path, needed: int = 0) -> Iterator[None]:
    """Say of whatever the system refuses within the block that ``path`` cannot be written.

    The libraries of tensors and tokenizers raise errors of their own kinds for a full disk.

    Args:
        path: what is written.
        needed: its size in bytes; 0 where it is not known.

    Raises:
        ResourceError: the system refused something.
    """
    try:
        yield
    except LuthierError:
        raise
    except Exception as error:
        if system_number(error) is None:
            raise
        raise unwritable(path, error, needed) from error


def unwritable(path: Path, error: Exception, needed: int = 0) -> ResourceError:
    """The error to raise when ``path`` could not be written.

    Args:
        path: what was to be written.
        error: an `OSError`, or one that names it in its text, as safetensors does.
        needed: the size of what was to be written, in bytes; 0 where it is not known.
    """
    number = system_number(error)
    if number in _FULL:
        return ResourceError(
            f"{_FULL[number]}: {_room(path, needed)}",
            where=str(path),
            fix="free some space, or choose another folder with --output",
        )
    if number == errno.ENOTDIR:
        named = Path(getattr(error, "filename", None) or path).absolute()
        files = (one for one in (named, *named.parents) if one.is_file())
        return ResourceError(
            f"there is a file where a folder is to be: {next(files, named)}",
            where=str(path),
            fix="choose another folder with --output, or move the file away",
        )
    return ResourceError(
        f"this cannot be written: {os.strerror(number) if number else error}",
        where=str(path),
        fix="choose a shorter name"
        if number == errno.ENAMETOOLONG
        else "choose a folder you may write to with --output",
    )


def _room(path: Path, needed: int) -> str:
    """What is needed beside what is free."""
    # Unlike its method, this takes a name that is too long for one that does not exist.
    exists = os.path.exists
    folder = next(parent for parent in path.absolute().parents if exists(parent))
    if hasattr(os, "statvfs"):
        disk = os.statvfs(folder)
        if disk.f_files and not disk.f_favail:
            return "room for another file is needed, 0 files are free"
    wanted = f"{needed:,}" if needed else f"at least {_BLOCK:,}"
    return f"{wanted} bytes are needed, {shutil.disk_usage(folder).free:,} bytes are free"


def is_of_a_disk(error: Exception) -> bool:
    """Whether a disk is full or broken, or may not be written: no mistake in what was asked for."""
    return system_number(error) in _OF_A_DISK


def system_number(error: Exception) -> int | None:
    """The number of the operating system's error, also where a library names it in its text."""
    if isinstance(error, OSError):
        return error.errno
    named = re.search(r"\(os error (\d+)\)", str(error))
    return int(named[1]) if named else None
