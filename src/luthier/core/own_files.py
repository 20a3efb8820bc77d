"""The memory of files that this user has let Luthier write, so that only those are overwritten.

A file is remembered by its content and by the command that wrote it. The memory is in the cache
folder, not in the file, so a file that was changed afterwards is no longer known.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from luthier.core.cache import cache_folder
from luthier.core.errors import UsageError
from luthier.core.files import file_sha256
from luthier.core.seeds import fingerprint


def require_other_file(path: Path, source: Path | None) -> None:
    """Refuse a place for a new file that nothing may overwrite, whatever the user allows.

    Args:
        path: the place.
        source: the file that the new one is made from; None: there is none.

    Raises:
        UsageError: it is that file, under whatever name, or a folder, a pipe or a device.
    """
    if not path.exists():
        return
    if not path.is_file():
        raise UsageError(
            "this is no file, so nothing is written there",
            where=str(path),
            fix="name another file with -o",
        )
    if source and path.samefile(source):
        raise UsageError(
            "the rows are read from this file, so it is not overwritten",
            where=str(path),
            fix="name another file with -o, or rename that of the rows",
        )


def remember(path: Path, command: str) -> None:
    """Remember that ``command`` wrote the present content of a file.

    Without a writable cache folder it is forgotten.
    """
    mark = _mark(path, command)
    with suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def is_remembered(path: Path, command: str) -> bool:
    """Whether ``command`` wrote the file, which was not changed since."""
    return path.is_file() and _mark(path, command).is_file()


def _mark(path: Path, command: str) -> Path:
    return cache_folder() / "written" / fingerprint(file_sha256(path), command)
