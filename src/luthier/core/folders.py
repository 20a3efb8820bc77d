"""Atomic creation and replacement of folders, and checks of folders from elsewhere.

A folder is created under a random name beside its target and renamed once it is on disk. Only
folders created this way are deleted, and no link is followed.
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
    """Check that a folder contains only folders and regular files.

    ``folder`` itself may be a link, because the user named it.

    Raises:
        DataError: it contains a link, a FIFO, a socket or a device, or a folder is unreadable.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise DataError(
                        "this is a link, and links in a run are not followed",
                        where=entry.path,
                        fix="if you trust it, replace it with a copy of its target",
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
        raise DataError(f"cannot read this folder: {error.strerror}", where=str(folder)) from None


@contextmanager
def free_folder(folder: Path) -> Iterator[None]:
    """Create a folder that the user named; if the block fails, restore its previous state.

    Raises:
        UsageError: it is a file or not empty: nothing is overwritten.
    """
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if not is_empty and (folder.exists() or folder.is_symlink()):
        raise UsageError(
            "this path already exists and would be overwritten",
            where=str(folder),
            fix="choose a new or empty folder with --output",
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
    """An empty temporary folder that is renamed to ``target`` at the end.

    If the block fails, the temporary folder is deleted and ``target`` stays unchanged.

    Args:
        target: the final folder.
        needed: the size of its future content in bytes; 0: unknown.

    Raises:
        ResourceError: writing failed, also inside the block.
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
    """Delete leftovers of killed `new_folder`, `remove_folder` and `new_file` calls in ``folder``.

    Only the one process that writes here may call it, because leftovers look like work in progress.
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
    """As `remove_leftovers`, for folders everywhere below ``folder``.

    Files are kept, because any reader of a run may be writing a report.
    """
    for place, names, _ in os.walk(folder):
        for name in filter(_LEFTOVER.fullmatch, list(names)):
            if not (path := Path(place, name)).is_symlink():
                shutil.rmtree(path, ignore_errors=True)
                names.remove(name)


def remove_folder(path: Path) -> None:
    """Delete a folder atomically: it is renamed first.

    Raises:
        OSError: the folder cannot be renamed.
    """
    leaving = partial_name(path)
    path.rename(leaving)
    shutil.rmtree(leaving)


def replace_folder(partial: Path, target: Path) -> None:
    """Flush a finished folder to disk and rename it to ``target``, replacing an existing one.

    ``target`` is never partial. If a process dies between the two renames, ``target`` is missing
    and `settle_folder` restores the old folder.

    Raises:
        OSError: renaming failed; ``target`` stays unchanged.
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
    """Restore the old folder after an interrupted `replace_folder`."""
    if _old(target).exists() and not target.exists():
        _old(target).rename(target)


def _old(target: Path) -> Path:
    return target.with_name(f".old-{target.name}")
