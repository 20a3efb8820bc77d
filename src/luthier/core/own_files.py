"""The memory of files that this user has let Luthier write, so that only those are overwritten.

A file is remembered by its content and by the command that wrote it. The memory is in the cache
folder, not in the file, so a file that was changed afterwards is no longer known.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from luthier.core.cache import cache_folder
from luthier.core.files import file_sha256
from luthier.core.seeds import fingerprint


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
