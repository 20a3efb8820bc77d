"""Files named by the user and files of a model. Links are followed, as in the Hub's cache.

They come from elsewhere. FIFOs and sockets, which would block, and devices, which may be endless,
are rejected, as are files larger than expected.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

from luthier.core.errors import DataError
from luthier.core.files import irregular, open_regular, read_whole
from luthier.core.untrusted import MAX_DOCUMENT_BYTES, parse_foreign

_DESCRIPTIONS = (".json", ".jinja", ".model")
"""Suffixes of a model's metadata files."""


_CONTENTS, _TEMPLATES = "blobs", "additional_chat_templates"


def open_given(path: Path) -> BinaryIO:
    """Open a regular file that the user named or that belongs to a model, following links.

    FIFOs and sockets, which would block, and devices, which may be endless, are rejected.

    Raises:
        FileNotFoundError: the file does not exist.
        DataError: it is not a regular file, or unreadable.
    """
    return open_regular(path)


def read_given(path: Path, most: int = MAX_DOCUMENT_BYTES) -> bytes:
    """The content of a file that the user named or that belongs to a model.

    Raises:
        DataError: it is missing or larger than ``most`` bytes, or as in `open_given`.
    """
    try:
        with open_given(path) as file:
            return read_whole(file, path, most)
    except FileNotFoundError:
        raise DataError("the file does not exist", where=str(path)) from None


def read_given_json(path: Path) -> Any:
    """The JSON of a file that the user named or that belongs to a model.

    Raises:
        DataError: as in `read_given` and `parse_foreign`.
    """
    return parse_foreign(read_given(path), str(path))


def refuse_irregular(folder: Path) -> None:
    """Reject a folder with files that other libraries could not finish reading.

    Raises:
        DataError: it contains a FIFO, a device, a socket or a link to one; or a metadata file is a
            folder, a broken link or too large.
    """
    for path in sorted(folder.iterdir()):
        describes = path.suffix in _DESCRIPTIONS
        try:
            found = path.stat()
        except OSError:
            if describes:
                raise DataError(
                    "broken link",
                    where=str(path),
                    fix="download the file again, or delete the link",
                ) from None
            continue
        is_folder = stat.S_ISDIR(found.st_mode)
        if not (stat.S_ISREG(found.st_mode) or is_folder) or (describes and is_folder):
            raise irregular(path)
        if describes and found.st_size > MAX_DOCUMENT_BYTES:
            problem = f"this file exceeds {MAX_DOCUMENT_BYTES // 2**20:,} MiB"
            raise DataError(problem, where=str(path))


def refuse_links_away(folder: Path, but: Collection[str] = ()) -> None:
    """Reject links to files outside a folder, since its author would choose what is read there.

    The Hub's cache stores file contents in a folder ``blobs`` beside the model's folder.

    Args:
        folder: a folder in which other libraries will open files.
        but: suffixes of files that nobody reads as text.

    Raises:
        DataError: there is such a link.
    """
    place = Path(os.path.realpath(folder))
    inside = (place, place.parent / _CONTENTS, place.parent.parent / _CONTENTS)
    for path in sorted([*folder.iterdir(), *(folder / _TEMPLATES).glob("*")]):
        target = Path(os.path.realpath(path))  # Path.resolve raises for a link to itself
        if path.name.endswith(tuple(but)) or not target.is_file():
            continue
        if not any(target.is_relative_to(each) for each in inside):
            raise DataError(
                f"this link points outside its folder: {target}",
                where=str(path),
                fix="if you trust it, replace the link with a copy of the file",
            )


def home(text: str) -> Path:
    """A path written by a user, with ``~`` expanded; an unknown user's ``~name`` is kept."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - that of pathlib raises


def is_there(path: Path) -> bool:
    """Whether a file or folder exists, following links; False for impossible names."""
    return os.path.exists(path)  # noqa: PTH110 - that of pathlib raises for a long name
