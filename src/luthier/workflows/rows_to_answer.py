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
from luthier.data.readers import READERS
from luthier.data.sources import find_path, read_file
from luthier.workflows.predict import RowSource


def file_source(path: str | Path) -> RowSource:
    """The rows of a file.

    Args:
        path: the file; a relative one is searched in the working directory, then under
            ``LUTHIER_DATA``.

    Raises:
        DataError: there is no such file.
    """
    found = find_path(str(path))
    if found is None or found.is_dir():
        what = "there is no such file" if found is None else "this is a folder"
        raise DataError(what, where=str(home(str(path)).absolute()), fix="name a file of rows")
    return RowSource(on_one_line(str(path)), partial(read_file, found), found)


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
