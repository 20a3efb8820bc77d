from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from luthier.core.errors import DataError
from luthier.data.problems import RaiseProblems
from luthier.data.sources import Source, open_source, read_rows
from luthier.tasks.sources import WHOLE

Write = Callable[..., Path]


def source_of(path: Path | str) -> Source:
    return open_source(str(path), RaiseProblems())


def values(source: Source, part: str) -> list[int]:
    return [row.values["x"] for row in source.parts[part]()]


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("rows.jsonl", "rows"),
        ("dialogsum.train.jsonl", "dialogsum"),
        ("my-dialogs_train.v2.jsonl", "my-dialogs-v2"),
        ("my-dialogs.v2.jsonl", "my-dialogs.v2"),
        ("a b&c.jsonl", "a-b-c"),
    ],
)
def test_a_file(write_rows: Write, name: str, task: str) -> None:
    source = source_of(write_rows(name, [{"x": 1}]))
    assert source.name == task
    assert values(source, WHOLE) == [1]


def test_a_file_called_like_a_split_is_named_after_its_folder(
    tmp_path: Path, write_rows: Write
) -> None:
    (tmp_path / "task").mkdir()
    assert source_of(write_rows("task/train.jsonl", [{"x": 1}])).name == "task"


def test_a_folder_with_splits(tmp_path: Path, write_rows: Write) -> None:
    write_rows("x.train.1.jsonl", [{"x": 1}])
    write_rows("x.train.2.jsonl", [{"x": 2}])
    write_rows("x.dev.jsonl", [{"x": 3}])
    write_rows("test.jsonl", [{"x": 4}])
    write_rows("x.hiddentest.jsonl", [{"x": 5}])
    (tmp_path / "README.txt").write_text("about")
    (tmp_path / "model.pkl").write_bytes(b"\x80")
    source = source_of(tmp_path)
    assert {part: values(source, part) for part in source.parts} == {
        "test": [4],
        "validation": [3],
        "train": [1, 2],
    }
    assert source.ignored == ("x.hiddentest.jsonl",)


def test_a_folder_without_splits(tmp_path: Path, write_rows: Write) -> None:
    write_rows("b.jsonl", [{"x": 2}])
    write_rows("a.jsonl", [{"x": 1}])
    source = source_of(tmp_path)
    assert values(source, WHOLE) == [1, 2]
    assert source.ignored == ()


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data files"):
        source_of(tmp_path)


def test_the_data_root_comes_after_the_working_directory(
    tmp_path: Path, write_rows: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("here", "root"):
        (tmp_path / folder).mkdir()
    write_rows("root/a.jsonl", [{"x": 1}])
    write_rows("root/b.jsonl", [{"x": 2}])
    write_rows("here/b.jsonl", [{"x": 3}])
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("LUTHIER_DATA", str(tmp_path / "root"))
    assert values(source_of("a.jsonl"), WHOLE) == [1]
    assert values(source_of("b.jsonl"), WHOLE) == [3]


def test_a_missing_file_is_not_looked_for_on_the_hub(tmp_path: Path, write_rows: Write) -> None:
    write_rows("answers.jsonl", [])
    with pytest.raises(DataError) as caught:
        source_of(tmp_path / "anwsers.jsonl")
    assert caught.value.fix == "did you mean 'answers.jsonl'?"


def test_a_missing_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LUTHIER_DATA", raising=False)
    with pytest.raises(DataError, match="found no data called 'nothing'") as caught:
        source_of("nothing")
    assert "LUTHIER_DATA" in caught.value.fix


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80")
    with pytest.raises(DataError, match=r"files of the kind \.pkl are not supported"):
        list(read_rows(str(path)))


def test_read_rows_raises_after_the_good_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"x": 1}\nrubbish\n{"x": 2}\n')
    seen = []
    with pytest.raises(DataError, match=r"a\.jsonl:2"):
        seen.extend(row.values["x"] for row in read_rows(str(path)))
    rows = read_rows(str(path))
    assert [next(rows).values["x"], next(rows).values["x"]] == [1, 2]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("dialogsum.train.jsonl.gz", "dialogsum"),
        ("dialogsum-dev.csv", "dialogsum"),
        ("dialogsum_Test.csv", "dialogsum"),
        ("train-false.jsonl", "train-false"),
        ("train_dialogsum.jsonl", "train_dialogsum"),
        ("test-suite.jsonl", "test-suite"),
        ("training.data.jsonl", "training.data"),
        ("hiddentest.jsonl", "hiddentest"),
        ("train.jsonl", "tickets"),
        ("train-00000-of-00001.jsonl", "tickets"),
        ("0001.jsonl", "tickets"),
    ],
)
def test_a_task_is_called_like_its_file(
    tmp_path: Path, write_rows: Write, file: str, name: str
) -> None:
    (tmp_path / "tickets").mkdir()
    if file.endswith(".jsonl"):
        write_rows(f"tickets/{file}", [{"x": 1}])
    else:
        (tmp_path / "tickets" / file).write_bytes(b"")
    assert source_of(tmp_path / "tickets" / file).name == name
