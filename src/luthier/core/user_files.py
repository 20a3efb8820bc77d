"""Files that the user names, and those of a model: links are followed, as in the Hub's own cache.

They come from elsewhere, so a FIFO or a socket, which would be waited for, and a device, which may
have no end, are refused, and so is more than a reader expects.
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
"""Suffixes of what a model's folder says of the model."""


_CONTENTS, _TEMPLATES = "blobs", "additional_chat_templates"


def open_given(path: Path) -> BinaryIO:
    """Open a regular file that the user named, or that belongs to a model: a link is followed.

    A FIFO, which would be waited for, a device, which may have no end, and a socket are refused.

    Raises:
        FileNotFoundError: there is none.
        DataError: it is no regular file, or it cannot be read.
    """
    return open_regular(path)


def read_given(path: Path, most: int = MAX_DOCUMENT_BYTES) -> bytes:
    """The content of a file that the user named, or that belongs to a model.

    Raises:
        DataError: it is missing, larger than ``most`` bytes, or as `open_given`.
    """
    try:
        with open_given(path) as file:
            return read_whole(file, path, most)
    except FileNotFoundError:
        raise DataError("the file does not exist", where=str(path)) from None


def read_given_json(path: Path) -> Any:
    """The JSON of a file that the user named, or that belongs to a model.

    Raises:
        DataError: as `read_given`, or it is refused as `parse_foreign` says.
    """
    return parse_foreign(read_given(path), str(path))


def refuse_irregular(folder: Path) -> None:
    """Refuse a folder in which other libraries will open files, if one would never end.

    Raises:
        DataError: there is a FIFO, a device or a socket in it, or a link to one; or under the name
            of a description there is a folder, a link to nothing, or more than any has.
    """
    for path in sorted(folder.iterdir()):
        describes = path.suffix in _DESCRIPTIONS
        try:
            found = path.stat()
        except OSError:
            if describes:
                raise DataError(
                    "this link leads to no file", where=str(path), fix="get the file, or delete it"
                ) from None
            continue
        is_folder = stat.S_ISDIR(found.st_mode)
        if not (stat.S_ISREG(found.st_mode) or is_folder) or (describes and is_folder):
            raise irregular(path)
        if describes and found.st_size > MAX_DOCUMENT_BYTES:
            problem = f"this is too large: more than {MAX_DOCUMENT_BYTES // 2**20:,} MiB"
            raise DataError(problem, where=str(path))


def refuse_links_away(folder: Path, but: Collection[str] = ()) -> None:
    """Refuse links to files elsewhere: who made the folder would choose what is read there.

    The Hub's cache has the content of its files in a folder ``blobs`` beside that of the model.

    Args:
        folder: in which other libraries will open files.
        but: ends of names whose content nobody reads as text.

    Raises:
        DataError: there is such a link.
    """
    place = Path(os.path.realpath(folder))
    inside = (place, place.parent / _CONTENTS, place.parent.parent / _CONTENTS)
    for path in sorted([*folder.iterdir(), *(folder / _TEMPLATES).glob("*")]):
        target = Path(os.path.realpath(path))  # of a link to itself that of pathlib raises
        if path.name.endswith(tuple(but)) or not target.is_file():
            continue
        if not any(target.is_relative_to(each) for each in inside):
            raise DataError(
                f"this is a link to a file outside of its folder: {target}",
                where=str(path),
                fix="put the file itself there, if it is meant",
            )


def home(text: str) -> Path:
    """A path that a user wrote, with ``~`` as the home folder; one of nobody's stays as it is."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - that of pathlib raises


def is_there(path: Path) -> bool:
    """Whether there is a file or folder, links followed; a name that can be none is not there."""
    return os.path.exists(path)  # noqa: PTH110 - that of pathlib raises for a long name
