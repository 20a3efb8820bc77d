"""Errors of writing to disk: cause, space needed, space free, and fix."""

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
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: "the file exceeds the maximum size on this file system",
}
_OF_A_DISK = {*_FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG}
_BLOCK = 4096  # bytes that the smallest file occupies


@contextmanager
def storing(path: Path, needed: int = 0) -> Iterator[None]:
    """Convert write errors within the block into a `ResourceError` that names ``path``.

    Libraries for tensors and tokenizers raise exceptions of their own for a full disk.

    Args:
        path: the file or folder being written.
        needed: its size in bytes; 0: unknown.

    Raises:
        ResourceError: writing failed.
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
    """The error to raise when ``path`` cannot be written.

    Args:
        path: the file or folder.
        error: an `OSError`, or one whose text contains it, as safetensors raises.
        needed: its size in bytes; 0: unknown.
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
            f"a file exists where a folder is needed: {next(files, named)}",
            where=str(path),
            fix="choose another folder with --output, or move the file away",
        )
    return ResourceError(
        f"cannot write: {os.strerror(number) if number else error}",
        where=str(path),
        fix="choose a shorter name"
        if number == errno.ENAMETOOLONG
        else "choose a folder you may write to with --output",
    )


def _room(path: Path, needed: int) -> str:
    """The space needed and the space free."""
    # Unlike Path.exists, os.path.exists accepts names that are too long.
    exists = os.path.exists
    folder = next(parent for parent in path.absolute().parents if exists(parent))
    if hasattr(os, "statvfs"):
        disk = os.statvfs(folder)
        if disk.f_files and not disk.f_favail:
            return "another file is needed, but no inodes are free"
    wanted = f"{needed:,}" if needed else f"at least {_BLOCK:,}"
    return f"{wanted} bytes are needed, {shutil.disk_usage(folder).free:,} bytes are free"


def is_of_a_disk(error: Exception) -> bool:
    """Whether the disk, not the request, is at fault: full, broken or read-only."""
    return system_number(error) in _OF_A_DISK


def system_number(error: Exception) -> int | None:
    """The operating system's error number, also where a library puts it in its text."""
    if isinstance(error, OSError):
        return error.errno
    named = re.search(r"\(os error (\d+)\)", str(error))
    return int(named[1]) if named else None
