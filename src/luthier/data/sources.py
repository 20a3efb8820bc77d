"""Sources of rows: files, folders, and the Hub."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from luthier.core.errors import DataError
from luthier.core.names import did_you_mean, on_one_line, shortened
from luthier.core.row import Row
from luthier.core.user_files import home, is_there
from luthier.data.bytestream import UNPACK_FIX
from luthier.data.fields import is_empty
from luthier.data.hub import open_hub
from luthier.data.label_folders import LabelFolders, label_folders, without_files
from luthier.data.problems import Problems, RaiseProblems
from luthier.data.readers import READERS, reader_of
from luthier.data.splits import SplitName
from luthier.tasks.sources import WHOLE

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WORDS = re.compile(r"[^A-Za-z]+")
_SPLIT_WORDS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
_MAX_EMPTY_ROWS = 100_000
_SPREADSHEETS = (".xls", ".xlsb", ".ods", ".numbers")
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst")
_NOT_DATA = ("readme", "license", "licence", "copying", "citation", "notice", "changelog")


@dataclass(frozen=True, slots=True)
class Source:
    """Rows by split.

    Attributes:
        name: a short name, usable in file names.
        parts: by split, or under `WHOLE` for data without splits.
        ignored: files of a folder that were ignored.
    """

    name: str
    parts: Mapping[str, Callable[[], Iterator[Row]]]
    ignored: tuple[str, ...] = ()

    def read_all(self) -> Iterator[Row]:
        """The rows of all parts."""
        return chain.from_iterable(read() for read in self.parts.values())


def open_source(source: str, problems: Problems, *, subset: str | None = None) -> Source:
    """The splits of a source. Rows are read only when a part is called.

    Args:
        source: a file, a folder, or a Hub id. A relative path is searched in the working directory,
            then under ``LUTHIER_DATA``.
        problems: receives errors in single rows.
        subset: the configuration of a Hub data set.

    Raises:
        DataError: the source does not exist, or nothing in it is readable.
    """
    path = find_path(source)
    if path is None:
        if _HUB_ID.fullmatch(source) and reader_of(Path(source)) is None:
            return Source(_file_name(source), _by_split(open_hub(source, subset)))
        raise _not_found(source)
    if path.is_dir():
        return _open_folder(path, problems)
    return Source(_task_name(path), {WHOLE: partial(read_file, path, problems)})


def read_rows(
    source: str, problems: Problems | None = None, *, subset: str | None = None
) -> Iterator[Row]:
    """All rows of a source, whatever their split. Line-based files are read in constant memory.

    Args:
        source: as in `open_source`.
        problems: receives errors in single rows; None: they are raised at the end.
        subset: the configuration of a Hub data set.

    Raises:
        DataError: the source does not exist or is unreadable.
    """
    collected = problems or RaiseProblems()
    yield from open_source(source, collected, subset=subset).read_all()
    if problems is None:
        collected.finish()


def find_path(source: str) -> Path | None:
    """``source`` in the working directory or under ``LUTHIER_DATA``; None if not found."""
    return next((path for path in candidate_paths(home(source)) if is_there(path)), None)


def candidate_paths(path: Path) -> list[Path]:
    """The possible locations of ``path``: the working directory, then ``LUTHIER_DATA``."""
    root = os.environ.get("LUTHIER_DATA")
    if path.is_absolute() or not root:
        return [path]
    return [path, Path(root).expanduser() / path]


def _not_found(source: str) -> DataError:
    places = candidate_paths(home(source))
    siblings = [
        sibling.name
        for place in places
        if is_there(place.parent) and place.parent.is_dir()
        for sibling in place.parent.iterdir()
        if sibling.is_dir() or reader_of(sibling)
    ]
    looked = " and ".join(str(place.absolute()) for place in places)
    root = "" if os.environ.get("LUTHIER_DATA") else ", or set LUTHIER_DATA to your data folder"
    return DataError(
        f"found no data called {source!r}",
        where=looked,
        fix=did_you_mean(Path(source).name, siblings) or f"check the path{root}",
    )


def _open_folder(folder: Path, problems: Problems) -> Source:
    """A folder's data files, grouped by the split in their names if any has one.

    A folder without data files may have subfolders of texts that are labels, or splits of them.
    """
    name = _file_name(folder.resolve().name)
    files = sorted(path for path in folder.iterdir() if path.is_file() and _is_data(path))
    if not files:
        labelled = _labelled(folder)
        if not labelled:
            raise without_files(folder, _known_kinds())
        read = {split: partial(found.rows, problems) for split, found in labelled.items()}
        return Source(name, read, tuple(chain(*(found.ignored for found in labelled.values()))))
    by_split: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        by_split[_split_of(path) or WHOLE].append(path)
    unnamed = by_split.pop(WHOLE) if len(by_split) > 1 and WHOLE in by_split else []
    parts = {
        split: partial(_read_files, tuple(paths), problems) for split, paths in by_split.items()
    }
    return Source(name, parts, tuple(path.name for path in unnamed))


def _labelled(folder: Path) -> dict[str, LabelFolders]:
    """The subfolders that are labels, by the split whose folder they are in."""
    if found := label_folders(folder):
        return {WHOLE: found}
    splits = {_SPLIT_WORDS.get(path.name.lower()): path for path in folder.iterdir()}
    inside = {
        split: label_folders(path) for split, path in splits.items() if split and path.is_dir()
    }
    return {split: found for split, found in inside.items() if found}


def _known_kinds() -> str:
    return f"data files end in {', '.join(READERS)}, each also with .gz"


def _is_data(path: Path) -> bool:
    hidden_or_text = path.name.startswith(".") or path.name.lower().startswith(_NOT_DATA)
    return reader_of(path) is not None and not hidden_or_text


def _read_files(paths: tuple[Path, ...], problems: Problems) -> Iterator[Row]:
    return chain.from_iterable(read_file(path, problems) for path in paths)


def read_file(path: Path, problems: Problems) -> Iterator[Row]:
    """The rows of a file, with the reader for its suffix.

    Raises:
        DataError: the suffix is unsupported, or the file is unreadable.
    """
    reader = reader_of(path)
    if reader is None:
        suffix = path.suffix.lower()
        fix = (
            'save the sheet as .xlsx or "CSV UTF-8"' if suffix in _SPREADSHEETS else _known_kinds()
        )
        kind = shortened("".join(path.suffixes)) or "without a suffix"
        raise DataError(
            f"files of the kind {kind} are not supported",
            where=str(path),
            fix=UNPACK_FIX if suffix in _ARCHIVES else fix,
        )
    return _with_content(reader(path, on_one_line(path.name), problems))


def _with_content(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, with an error for very many consecutive empty ones in a small packed file."""
    empty = 0
    for row in rows:
        empty = 0 if any(row.values.values()) or not is_empty(row.values) else empty + 1
        if empty > _MAX_EMPTY_ROWS:
            raise DataError(
                f"there are more than {_MAX_EMPTY_ROWS:,} consecutive empty rows",
                where=row.where,
                fix="the file is damaged or not data; remove the empty rows",
            )
        yield row


def _by_split(
    parts: Mapping[str, Callable[[], Iterator[Row]]],
) -> dict[str, Callable[[], Iterator[Row]]]:
    """Hub splits under Luthier's names, without others such as "unsupervised"."""
    named: dict[str, Callable[[], Iterator[Row]]] = {
        _SPLIT_WORDS[name]: rows for name, rows in parts.items() if name in _SPLIT_WORDS
    }
    if named or len(parts) != 1:
        return named
    return {WHOLE: next(iter(parts.values()))}


def _split_of(path: Path) -> SplitName | None:
    """The split that is a word in the file's name: "x.dev.jsonl", but not "hiddentest.jsonl"."""
    words = _WORDS.split(path.name.lower())
    return next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), None)


def _task_name(path: Path) -> str:
    """The file's name without suffixes and without the split after its first word.

    "dialogsum" for dialogsum.train.jsonl.gz, but "train-false" for train-false.jsonl. If only a
    split and a part number remain, the folder's name is used.
    """
    suffixes = 2 if path.suffix == ".gz" else 1
    stem = path.name.rsplit(".", suffixes)[0]
    words = re.split(r"[._-]+", stem)
    if all(word.lower() in (*_SPLIT_WORDS, "of", "part") or word.isdigit() for word in words):
        return _file_name(path.resolve().parent.name)
    first, *rest = words
    kept = [word for word in rest if word.lower() not in _SPLIT_WORDS]
    return _file_name(stem if len(kept) == len(rest) else "-".join((first, *kept)))


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "data"
