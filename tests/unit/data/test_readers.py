from __future__ import annotations

import errno
import gzip
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import DataError, ResourceError
from luthier.core.row import Row
from luthier.data import budget, bytestream
from luthier.data.problems import DropProblems, RaiseProblems
from luthier.data.readers import READERS, reader_of

ROWS = [{"prompt": 'a\tb, "c"', "completion": "é\nf"}, {"prompt": "g", "completion": "h"}]


def read(path: Path) -> list[Row]:
    problems = RaiseProblems()
    reader = reader_of(path)
    assert reader is not None
    rows = list(reader(path, path.name, problems))
    problems.finish()
    return rows


def error_of(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read(path)
    return caught.value


def put(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


CONTENT = {
    "a.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "a.json": json.dumps(ROWS, indent=1),
    "data.json": json.dumps({"version": 1, "data": ROWS}),
    "a.csv": 'prompt,completion\n"a\tb, ""c""","é\nf"\ng,h\n',
}


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_same_rows_from_every_kind_of_file(tmp_path: Path, name: str, suffix: str) -> None:
    content = CONTENT[name].encode()
    path = put(tmp_path / f"{name}{suffix}", gzip.compress(content) if suffix else content)
    assert [row.values for row in read(path)] == ROWS


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_parquet(tmp_path: Path, suffix: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    plain = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), plain)
    path = put(
        tmp_path / f"b.parquet{suffix}",
        gzip.compress(plain.read_bytes()) if suffix else plain.read_bytes(),
    )
    assert [row.values for row in read(path)] == ROWS
    assert [row.where for row in read(path)] == [f"{path.name} row 1", f"{path.name} row 2"]


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    assert "invalid parquet" in error_of(put(tmp_path / "a.parquet", b"PAR1 rubbish")).problem


def test_tsv_has_no_quoting(tmp_path: Path) -> None:
    path = put(tmp_path / "a.tsv", 'label\ttext\n0\t"to be\n1\tor not" to be\n')
    assert [row.values["text"] for row in read(path)] == ['"to be', 'or not" to be']


def test_txt_is_cut_into_paragraphs(tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", "\none\nline two\n \n\nthree")
    assert read(path) == [
        Row({"text": "one\nline two"}, "a.txt:2"),
        Row({"text": "three"}, "a.txt:6"),
    ]


def test_places_are_first_lines(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", 'x,y\n"1\n2",3\n\n4,5\n')
    assert [row.where for row in read(path)] == ["a.csv:2", "a.csv:5"]
    path = put(tmp_path / "a.jsonl", '{"x": 1}\n\n{"x": 2}')
    assert [row.where for row in read(path)] == ["a.jsonl:1", "a.jsonl:3"]


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    assert read(put(tmp_path / "a.csv", b"\xef\xbb\xbfx,y\r\n1,2\r\n"))[0].values == {
        "x": "1",
        "y": "2",
    }
    assert read(put(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"x": 1}\r\n'))[0].values == {"x": 1}
    assert read(put(tmp_path / "a.txt", b"\xef\xbb\xbfone\r\ntwo\r\n"))[0].values == {
        "text": "one\ntwo"
    }


def test_nan_is_null(tmp_path: Path) -> None:
    assert read(put(tmp_path / "a.jsonl", '{"x": NaN}'))[0].values == {"x": None}


BINARY = (".parquet", ".xlsx", ".xlsm")


@pytest.mark.parametrize("name", [f"a{suffix}" for suffix in READERS if suffix not in BINARY])
def test_an_empty_file_has_no_rows(tmp_path: Path, name: str) -> None:
    assert read(put(tmp_path / name, "")) == []
    assert read(put(tmp_path / name, "\n \n")) == []


GOOD = '{"x": "y"}\n' * 816

HOSTILE: list[tuple[str, bytes, str, str]] = [
    ("cut.jsonl", f'{GOOD}{{"x": "y}}\n'.encode(), "cut.jsonl:817", "unterminated string"),
    ("cut2.jsonl", f'{GOOD}{{"x":\n'.encode(), "cut2.jsonl:817", "at column 6"),
    ("list.jsonl", f"{GOOD}[1]\n".encode(), "list.jsonl:817", "a list"),
    ("text.jsonl", b'"x"\n', "text.jsonl:1", "a text"),
    ("number.jsonl", b"7\n", "number.jsonl:1", "a number"),
    ("null.json", b'[{"x": 1}, null]', "null.json row 2", "null"),
    ("twice.jsonl", b'{"x": 1, "x": 2}\n', "twice.jsonl:1", "duplicate key 'x'"),
    ("deep.jsonl", b'{"x": ' + b"[" * 200_000, "deep.jsonl:1", "nested too deep"),
    ("long.jsonl", b'{"x": ' + b"9" * 10_000 + b"}", "long.jsonl:1", "invalid JSON"),
    ("half.jsonl", b'{"x": "\\ud83d"}\n', "half.jsonl:1", "lone surrogate"),
    ("nul.jsonl", GOOD.encode() + b'{"x":\0 1}\n', "nul.jsonl:817", "NUL byte at byte 6"),
    (
        "two-encodings.jsonl",
        GOOD.encode() + b'{"x": "\xc3\xa9"}\n{"x": "\xe9"}\n',
        "two-encodings.jsonl:818",
        "not UTF-8, while line 817 is: byte 0xe9 at byte 8 of the line",
    ),
    (
        "other-way.jsonl",
        GOOD.encode() + b'{"x": "\xe9"}\n{"x": "\xc3\xa9"}\n',
        "other-way.jsonl:818",
        "UTF-8, but line 817 is not",
    ),
    ("russian.csv", "x,y\nпривет,2\n".encode("cp1251"), "russian.csv:2", "not UTF-8: byte 0xef"),
    ("chinese.csv", "x,y\n你好世界,2\n".encode("gbk"), "chinese.csv:2", "not UTF-8: byte 0xc4"),
    ("noise.csv", b"x,y\n\x81\x8d,b\n", "noise.csv:2", "not UTF-8: byte 0x81"),
    ("control.csv", b"x,y\n\xe9\x01,b\n", "control.csv:2", "not UTF-8: byte 0xe9"),
    ("utf16.csv", "x,y\nab,".encode("utf-16")[:-1], "utf16.csv", "begins as UTF-16, but is not"),
    ("half16.csv", b"\xff\xfex\0\n\0\0\xd8y\0", "half16.csv", "begins as UTF-16, but is not"),
    ("nul16.csv", "x,y\na\0b,c\n".encode("utf-16"), "nul16.csv:2", "NUL byte at byte 2"),
    ("object.json", b'{"x": 1}', "object.json", "neither a list of rows"),
    (
        "splits.json",
        b'{"train": [{"x": 1}], "test": [{"x": 2}]}',
        "splits.json",
        "several lists of rows: 'train', 'test'",
    ),
    ("broken.json", b'[{"x": 1},\n {"x": }]', "broken.json:2", "at column 8"),
    ("many.csv", b"x,y\n1,2\n1,2,3\n", "many.csv:3", "3 cells"),
    ("few.csv", b"x,y\n1,2\n1\n", "few.csv:3", "1 cell,"),
    ("few.tsv", b"x\ty\n1\n", "few.tsv:2", "1 cell,"),
    ("same.csv", b"x,y,x\n", "same.csv:1", "two columns are called 'x'"),
    ("columns.json", b'{"x": [1, 2], "y": [3, 4]}', "columns.json", "columns, not rows"),
    ("by-row.json", b'{"x": {"0": 1, "1": 2}, "y": {"0": 3, "1": 4}}', "by-row.json", "columns"),
    ("open.csv", b'x,y\n1,2\n"3,4\n5,6\n', "open.csv:3", "the row that starts here"),
    ("short.jsonl.gz", gzip.compress(GOOD.encode(), mtime=0)[:-20], "short.jsonl.gz", "damaged"),
    ("fake.jsonl.gz", GOOD.encode(), "fake.jsonl.gz", "damaged"),
]


@pytest.mark.parametrize(
    ("name", "content", "where", "problem"), HOSTILE, ids=lambda x: str(x)[:20]
)
def test_hostile_input(tmp_path: Path, name: str, content: bytes, where: str, problem: str) -> None:
    error = error_of(put(tmp_path / name, content))
    assert error.where == where
    assert problem in error.problem


def test_the_way_out_of_a_file_of_columns(tmp_path: Path) -> None:
    error = error_of(put(tmp_path / "a.json", '{"x": [1, 2], "y": [3, 4]}'))
    assert 'orient="records", lines=True' in error.fix
    uneven = error_of(put(tmp_path / "b.json", '{"x": [1, 2], "y": [3]}'))
    assert "neither a list of rows" in uneven.problem


def test_columns_without_a_name_are_called_as_pandas_calls_them(tmp_path: Path) -> None:
    rows = read(put(tmp_path / "a.csv", ",x,\n0,a,\n1,b,\n"))
    assert rows[1].values == {"Unnamed: 0": "1", "x": "b", "Unnamed: 2": ""}
    (row,) = read(put(tmp_path / "b.csv", ",Unnamed: 0,x\n0,7,a\n"))  # written twice
    assert row.values == {"Unnamed: 0.1": "0", "Unnamed: 0": "7", "x": "a"}


def test_all_bad_rows_are_named(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", '{\n{"x": 1}\n7\n')
    assert "a.jsonl:1" in str(error_of(path))
    assert "a.jsonl:3" in str(error_of(path))


def test_bad_rows_can_be_dropped(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "x,y\n1,2\n3\n4,5\n")
    problems = DropProblems()
    rows = list(READERS[".csv"](path, "a.csv", problems))
    assert [row.values["x"] for row in rows] == ["1", "4"]
    assert [dropped.where for dropped in problems.finish()] == ["a.csv:3"]


def test_a_line_of_ten_megabytes(tmp_path: Path) -> None:
    text = "word " * 2_000_000
    assert read(put(tmp_path / "a.jsonl", json.dumps({"x": text})))[0].values == {"x": text}
    assert read(put(tmp_path / "a.csv", f"x\n{text}\n"))[0].values == {"x": text}


def test_an_endless_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytestream, "MAX_LINE_BYTES", 1000)
    assert "longer than" in error_of(put(tmp_path / "a.jsonl", "x" * 1001)).problem


def test_a_document_may_be_one_long_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytestream, "MAX_LINE_BYTES", 1000)
    rows = [{"prompt": f"q{number}", "completion": "a"} for number in range(100)]
    assert [row.values for row in read(put(tmp_path / "a.json", json.dumps(rows)))] == rows


def test_text_in_a_parquet_file_that_is_not_utf8(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    offsets, data = (pyarrow.py_buffer(raw) for raw in (b"\0\0\0\0\2\0\0\0", b"\xff\xfe"))
    column = pyarrow.StringArray.from_buffers(1, offsets, data)
    parquet.write_table(pyarrow.table({"text": column}), tmp_path / "a.parquet")
    assert "invalid parquet" in error_of(tmp_path / "a.parquet").problem


def test_a_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "FREE_BYTES", 2**20)
    bomb = gzip.compress(b'{"x": "' + b"0" * 2**24 + b'"}')
    error = error_of(put(tmp_path / "a.jsonl.gz", bomb))
    assert "bomb" in error.problem
    assert error.where == "a.jsonl.gz"


def test_lines_are_read_in_constant_memory(tmp_path: Path) -> None:
    line = json.dumps({"x": "y" * 1000}) + "\n"
    path = put(tmp_path / "a.jsonl.gz", gzip.compress(line.encode() * 20_000, 1))
    tracemalloc.start()
    count = sum(1 for _ in READERS[".jsonl"](path, "a", RaiseProblems()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 8 * 2**20 < len(line) * count


def test_files_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cannot read" in error_of(tmp_path / "gone.jsonl").problem

    def deny(*_: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    # A chmod does not stop root, under whom tests may run.
    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(ResourceError, match="no permission to read"):
        read(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("name", "known"),
    [("a.JSONL", True), ("a.csv.gz", True), ("a.pkl", False), ("a", False), ("a.gz", False)],
)
def test_kinds_of_files(name: str, known: bool) -> None:
    assert (reader_of(Path(name)) is not None) == known
