"""Sources of rows to answer: files, standard input, lists and data frames."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from luthier.core.errors import DataError
from luthier.core.names import on_one_line
from luthier.core.row import Row
from luthier.core.user_files import home
from luthier.data.label_folders import has_texts, label_folders, unlabelled_rows
from luthier.data.readers import READERS
from luthier.data.sources import find_path, read_file
from luthier.workflows.predict import RowSource


def file_source(path: str | Path) -> RowSource:
    """The rows of a file, or of a folder with a text file per row, as folders of labels are read.

    Args:
        path: the file or folder; a relative one is searched in the working directory, then under
            ``LUTHIER_DATA``.

    Raises:
        DataError: there is no such file, or the folder has no text files.
    """
    found, where = find_path(str(path)), str(home(str(path)).absolute())
    if found is None:
        raise DataError("there is no such file", where=where, fix="name a file of rows")
    name = on_one_line(str(path))
    if not found.is_dir():
        return RowSource(name, partial(read_file, found), found)
    if labels := label_folders(found):
        return RowSource(name, labels.rows)
    if not has_texts(found):
        fix = "name a file of rows, or a folder with a .txt file for each row"
        raise DataError("the folder has no text files", where=where, fix=fix)
    return RowSource(name, partial(unlabelled_rows, found))


@contextmanager
def stream_source(stream: IO[bytes], suffix: str) -> Iterator[RowSource]:
    """The rows of a stream, which is read to its end first.

    Args:
        stream: the stream, such as standard input.
        suffix: the suffix of files of its format, such as ``.csv``.
    """
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        shutil.copyfileobj(stream, file)
        file.flush()
        name = "standard input"
        yield RowSource(name, partial(READERS[suffix], Path(file.name), name))


def list_source(rows: Sequence[Row]) -> RowSource:
    """The rows of a list."""
    return RowSource("the rows", lambda _problems: rows)
