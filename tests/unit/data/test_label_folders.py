"""Folders whose subfolders are labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.core.errors import DataError
from luthier.data.problems import RaiseProblems
from luthier.data.sources import open_source


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_row_per_file(tmp_path: Path) -> None:
    files = {"ham/2.txt": "hello\n\nyou\n", "ham/1.txt": "a", "spam/1.txt": "b", "spam/x.md": "c"}
    source = open_source(str(put(tmp_path / "mail", files)), RaiseProblems())
    rows = list(source.read_all())
    assert [(row.values, row.where) for row in rows] == [
        ({"text": "a", "label": "ham"}, "ham/1.txt"),
        ({"text": "hello\n\nyou", "label": "ham"}, "ham/2.txt"),
        ({"text": "b", "label": "spam"}, "spam/1.txt"),
    ]
    assert source.ignored == ("spam/x.md",)


def test_splits_of_label_folders(tmp_path: Path) -> None:
    names = [f"{split}/{label}/1.txt" for split in ("train", "test") for label in ("pos", "neg")]
    source = open_source(str(put(tmp_path / "imdb", dict.fromkeys(names, "x"))), RaiseProblems())
    assert {name: len(list(read())) for name, read in source.parts.items()} == {
        "train": 2,
        "test": 2,
    }


@pytest.mark.parametrize("files", [{"a/1.txt": "x"}, {"a/1.md": "x", "b/1.md": "y"}])
def test_folders_that_are_no_labels(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(DataError, match="only subfolders, which are not read: 'a'"):
        open_source(str(put(tmp_path, files)), RaiseProblems())


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    problems = RaiseProblems()
    source = open_source(str(put(tmp_path, {"a/1.txt": "x", "b/1.txt": " \n"})), problems)
    assert len(list(source.read_all())) == 1
    with pytest.raises(DataError, match=r"b/1\.txt: the file is empty"):
        problems.finish()
