"""Folders that are either whole or absent, and folders that came from somebody else.

A folder is made under a random name beside the place it is for, and moved there when it is on the
disk. Nothing is deleted but what was made so, and no link is followed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from luthier.core.disk import storing
from luthier.core.errors import DataError, UsageError
from luthier.core.files import flush, partial_name

_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{16}\.partial")


def refuse_links(folder: Path) -> None:
    """Check that everything below a folder is a folder or a regular file.

    ``folder`` itself may be a link: it was named by the user.

    Raises:
        DataError: a link, a FIFO, a socket or a device is there; or a folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise DataError(
                        "this is a link, and links in a run are not followed",
                        where=entry.path,
                        fix="if you trust it, put a copy of what it points to in its place",
                    )
                if entry.is_dir():
                    refuse_links(Path(entry.path))
                elif not entry.is_file():
                    raise DataError(
                        "this is neither a file nor a folder",
                        where=entry.path,
                        fix="remove it",
                    )
    except OSError as error:
        raise DataError(f"this cannot be read: {error.strerror}", where=str(folder)) from None


@contextmanager
def free_folder(folder: Path) -> Iterator[None]:
    """Within, a folder that a user named is made; where the block fails, it is as it was.

    Raises:
        UsageError: there is something in it, or it is a file: nothing is replaced.
    """
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if not is_empty and (folder.exists() or folder.is_symlink()):
        raise UsageError(
            "there is something here already, and it would be replaced",
            where=str(folder),
            fix="name a new folder, or an empty one, with --output",
        )
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if is_empty:
            folder.mkdir(exist_ok=True)
        raise


@contextmanager
def new_folder(target: Path, needed: int = 0) -> Iterator[Path]:
    """An empty folder under a random name beside ``target``, which it becomes at the end.

    Where the block fails the folder is deleted, and ``target`` is as it was.

    Args:
        target: the folder to be.
        needed: the size of what goes into it, in bytes; 0 where it is not known.

    Raises:
        ResourceError: the system refused something, in the block too.
    """
    with storing(target, needed):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_name(target)
        partial.mkdir()
        try:
            yield partial
            replace_folder(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def remove_leftovers(folder: Path) -> None:
    """Delete what `new_folder`, `remove_folder` and `new_file` left there when they were killed.

    Only for the one process that writes here: another's unfinished work looks the same.
    """
    if not folder.is_dir() or folder.is_symlink():
        return
    for path in folder.iterdir():
        if not _LEFTOVER.fullmatch(path.name) or path.is_symlink():
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_file():
            path.unlink(missing_ok=True)


def remove_unfinished_folders(folder: Path) -> None:
    """As `remove_leftovers`, everywhere below ``folder``, but folders only.

    A file may be a report's, which whoever reads a run may write at any time.
    """
    for place, names, _ in os.walk(folder):
        for name in filter(_LEFTOVER.fullmatch, list(names)):
            if not (path := Path(place, name)).is_symlink():
                shutil.rmtree(path, ignore_errors=True)
                names.remove(name)


def remove_folder(path: Path) -> None:
    """Delete a folder, which is never seen half deleted.

    Raises:
        OSError: it cannot be renamed.
    """
    leaving = partial_name(path)
    path.rename(leaving)
    shutil.rmtree(leaving)


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
