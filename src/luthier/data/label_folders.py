"""Rows of folders with a text file per row, whose subfolders may be labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from luthier.core.errors import DataError
from luthier.core.names import listed, named, on_one_line
from luthier.core.row import Row
from luthier.data.bytestream import read_text
from luthier.data.problems import Problems

_TEXTS = (".txt", ".txt.gz")
_MAX_BYTES = 64 * 2**20
"""Limit of a file, which is one row."""


@dataclass(frozen=True, slots=True)
class LabelFolders:
    """Folders of text files by label.

    Attributes:
        texts: the text files of each label, in the order of their names.
        ignored: other files beside them.
    """

    texts: Mapping[str, Sequence[Path]]
    ignored: tuple[str, ...]

    def rows(self, problems: Problems) -> Iterator[Row]:
        """A row per file, with the columns ``text`` and ``label``.

        Args:
            problems: receives empty and overlong files.

        Raises:
            DataError: a file is unreadable.
        """
        for label, paths in self.texts.items():
            for path in paths:
                name = on_one_line(f"{label}/{path.name}")
                if text := _text(path, name, problems):
                    yield Row({"text": text, "label": label}, name)


def has_texts(folder: Path) -> bool:
    """Whether a folder has text files of its own."""
    return any(path.is_file() and _is_text(path) for path in folder.iterdir())


def unlabelled_rows(folder: Path, problems: Problems) -> Iterator[Row]:
    """A row per text file of a folder without labels, with the columns ``file`` and ``text``.

    Args:
        folder: the folder.
        problems: receives empty and overlong files.

    Raises:
        DataError: a file is unreadable.
    """
    for path in sorted(folder.iterdir()):
        name = on_one_line(path.name)
        if path.is_file() and _is_text(path) and (text := _text(path, name, problems)):
            yield Row({"file": path.name, "text": text}, name)


def _text(path: Path, name: str, problems: Problems) -> str:
    """The text of a file; empty if it is no row, which goes to the problems."""
    if path.stat().st_size > _MAX_BYTES:
        problems.add(DataError("the file is larger than 64 MiB", where=name))
        return ""
    text = read_text(path, name, problems.note).strip()
    if not text:
        problems.add(DataError("the file is empty", where=name, fix="remove it"))
    return text


def label_folders(folder: Path) -> LabelFolders | None:
    """The subfolders of a folder as labels; None if they are none.

    At least two subfolders have text files, and no subfolder has folders of its own.
    """
    inner = _folders(folder)
    if len(inner) < 2 or any(_folders(each) for each in inner):
        return None
    files = {each.name: sorted(path for path in each.iterdir() if path.is_file()) for each in inner}
    texts = {
        label: [path for path in paths if _is_text(path)]
        for label, paths in files.items()
        if any(map(_is_text, paths))
    }
    if len(texts) < 2:
        return None
    others = (path for paths in files.values() for path in paths if not _is_text(path))
    ignored = (f"{path.parent.name}/{path.name}" for path in others if path.name[0] != ".")
    return LabelFolders(texts, tuple(ignored))


def without_files(folder: Path, kinds: str) -> DataError:
    """The error for a folder without data files; its subfolders may hold some.

    Args:
        folder: the folder.
        kinds: a sentence on the kinds of data files.
    """
    inner = _folders(folder)
    if not inner:
        return DataError("the folder has no data files", where=str(folder), fix=kinds)
    names = listed((path.name for path in inner), show=named)
    return DataError(
        f"the folder has no data files, only subfolders, which are not read: {names}",
        where=str(folder),
        fix="give the folder or file with the rows; if subfolders are labels, put a .txt file per "
        "row into two or more of them",
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def _is_text(path: Path) -> bool:
    return path.name.lower().endswith(_TEXTS) and not path.name.startswith(".")
