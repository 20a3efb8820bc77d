"""A small file that would become far more in memory is refused before it does; others are read."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from luthier.core.errors import DataError, ResourceError
from luthier.data import budget, parquet
from luthier.data.problems import DropProblems, RaiseProblems
from luthier.data.sources import read_rows

_LONG = "a" * 1_000_000
_ROW = b'{"prompt": "a", "completion": "b"}'
_PACKED = {
    "lists.json.gz": b"[" + b"[]," * 4_000_000 + b"[]]",
    "lists.jsonl.gz": b'{"a": [' + b"[]," * 4_000_000 + b"[]]}",
    "deep.json.gz": b'{"data": [{"a": [' + b"[]," * 4_000_000 + b"[]]}]}",
    "numbers.json.gz": b"[" + b"0," * 4_000_000 + b"0]",
    "objects.json.gz": b"[" + b"{}," * 800_000 + b"{}]",
    "rows.jsonl.gz": (_ROW + b"\n") * 200_000,
    "rows.json.gz": b"[" + (_ROW + b", ") * 200_000 + _ROW + b"]",
    "cells.csv.gz": b"prompt,completion\n" + b"a,b\n" * 800_000,
    "lines.csv.gz": b"prompt,completion\n" + b'"\n",' * 800_000,
    "tabs.tsv.gz": b"prompt\tcompletion\n" + b"a\tb\n" * 800_000,
    "texts.txt.gz": b"a\n\n" * 800_000,
    "zeros.jsonl.gz": b'{"prompt": "' + b"0" * (60 * 2**20) + b'"}',
}
# Nothing may be built first, so the reading runs where there is no room for it.
_READ = """
import resource, sys
from luthier.core.errors import DataError
from luthier.data import budget
from luthier.data.problems import DropProblems
from luthier.data.sources import read_rows
try:
    import pyarrow.parquet, pyarrow.compute
except ImportError:
    pass
budget.FREE_BYTES = 2**25
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    for _ in read_rows(sys.argv[1], DropProblems()):
        pass
except DataError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def _read(path: Path) -> tuple[str, int]:
    """What a process says that reads the rows, and by how many KiB it grew."""
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(path)], capture_output=True, text=True, check=True
    )
    *said, grown = done.stdout.splitlines()
    return "\n".join(said), int(grown)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize("name", _PACKED)
def test_a_packed_file_that_becomes_far_more_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(_PACKED[name], 1))
    said, grown = _read(path)
    assert said.startswith(name)
    assert "a decompression bomb" in said or "longer than" in said
    assert grown < 48 * 2**10


def _flat(count: int, text: str) -> dict[str, object]:
    return {"prompt": [text] * count, "completion": [f"x{n}" for n in range(count)]}


def _nested(count: int, text: str) -> dict[str, object]:
    turns = ({"role": "user", "content": text}, {"role": "assistant", "content": "x"})
    return {"messages": [turns] * count}


_TABLES: dict[str, Callable[[], dict[str, object]]] = {
    "texts": lambda: _flat(60, _LONG),
    "texts-in-lists": lambda: _nested(60, _LONG),
    "many-rows": lambda: {"prompt": ["a"] * 200_000},
    "a-long-list": lambda: {"prompt": [[None] * 2_000_000]},
}


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize("suffix", ["parquet", "parquet.gz"])
@pytest.mark.parametrize("kind", _TABLES)
def test_a_parquet_file_that_becomes_far_more_is_refused(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    path = tmp_path / f"rows.{suffix}"
    files.write_table(pyarrow.table(_TABLES[kind]()), tmp_path / "rows.parquet")
    content = (tmp_path / "rows.parquet").read_bytes()
    path.write_bytes(gzip.compress(content, 1) if suffix.endswith("gz") else content)
    said, grown = _read(path)
    assert said.startswith(f"rows.{suffix} row 1: it unpacks to more than 32.0 MiB")
    assert grown < 48 * 2**10


def test_a_dictionary_that_is_declared_one_is_counted_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    monkeypatch.setattr(budget, "FREE_BYTES", 2**20)
    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 200), [_LONG[:100_000]])
    files.write_table(pyarrow.table({"text": column}), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="a decompression bomb") as caught:
        list(read_rows(str(tmp_path / "rows.parquet")))
    assert caught.value.where == "rows.parquet row 1"
    monkeypatch.setattr(budget, "FREE_BYTES", 2**25)
    assert len(list(read_rows(str(tmp_path / "rows.parquet")))) == 200


def _prose(count: int, length: int) -> list[dict[str, str]]:
    """Rows of words that are drawn, so that they compress as texts do."""
    draw = random.Random(0)
    words = [f"word{draw.randrange(10**6)}" for _ in range(2000)]
    texts = (" ".join(draw.choices(words, k=length)) for _ in range(2 * count))
    return [{"prompt": text, "completion": next(texts)} for text in texts]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "txt", "parquet"])
@pytest.mark.parametrize("packed", [False, True])
def test_ordinary_rows_fit_into_a_budget_without_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, packed: bool
) -> None:
    monkeypatch.setattr(budget, "FREE_BYTES", 0)
    rows = _prose(500, 40)
    path = tmp_path / f"rows.{suffix}"
    lines = [json.dumps(row) for row in rows]
    texts = {
        "jsonl": "\n".join(lines),
        "json": f"[{', '.join(lines)}]",
        "csv": "prompt,completion\n" + "\n".join(",".join(row.values()) for row in rows),
        "txt": "\n\n".join(row["prompt"] for row in rows),
    }
    if suffix == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet as files

        files.write_table(pyarrow.Table.from_pylist(rows), path, compression="zstd")
    else:
        path.write_text(texts[suffix])
    if packed:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 9))
        path = path.with_name(f"{path.name}.gz")
    found = list(read_rows(str(path)))
    assert len(found) == len(rows)
    if suffix != "txt":
        assert [row.values for row in found] == rows


def test_texts_of_a_parquet_file_are_counted_where_they_are_used() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    words = pyarrow.array(["abc", None, "é"]).dictionary_encode()
    pairs = pyarrow.array([[("k", "vv")], None], pyarrow.map_(pyarrow.string(), pyarrow.string()))
    nested = pyarrow.array([[{"a": "xyz", "b": 1}], [], None])
    lists = pyarrow.array([["ab", "c"], None], pyarrow.list_(pyarrow.large_string(), 2))
    sizes = [parquet._text_bytes(array) for array in (words, pairs, nested, lists)]
    assert sizes == [5, 3, 3, 3]
    assert parquet._text_bytes(pyarrow.array([1, 2]).dictionary_encode()) == 0


def test_a_document_that_memory_cannot_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Memory:
        total = 2**26

    monkeypatch.setattr("psutil.virtual_memory", Memory)
    path = tmp_path / "rows.json"
    path.write_text("[" + "[]," * 1_000_000 + "[]]")
    with pytest.raises(
        ResourceError, match=r"about 124\.\d MiB of memory.* has 64\.0 MiB"
    ) as caught:
        list(read_rows(str(path)))
    assert caught.value.where == "rows.json"


def test_the_rows_of_a_list_are_read_one_at_a_time(tmp_path: Path) -> None:
    """So that progress is shown, and a mistake comes after the rows before it."""
    path = tmp_path / "rows.json"
    path.write_text('[\n{"a": 1},\n {"a": NaN} ,{"a": 2},\n{"a" 3}]')
    rows = read_rows(str(path), RaiseProblems())
    assert [next(rows).values["a"] for _ in range(3)] == [1, None, 2]
    with pytest.raises(DataError, match="expecting ':' delimiter at column 6") as caught:
        next(rows)
    assert caught.value.where == "rows.json:4"


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ('[{"a": 1}', "rows.json:1", "delimiter"),
        ('[{"a": 1},\n]', "rows.json:2", "expecting value"),
        ('[{"a": 1}]\n\n[{"a": 1}]', "rows.json:3", "a second JSON document starts here"),
        ('[{"a": 1}] x', "rows.json:1", "extra data"),
        ("[", "rows.json:1", "expecting value"),
        ('[{"a": 1, "a": 2}]', "rows.json:1", "duplicate key"),
        ('[{"a": "\\ud83d"}]', "rows.json:1", "lone surrogate"),
        ("[" * 100_000, "rows.json:1", "nested too deep"),
    ],
)
def test_lists_that_are_no_json(tmp_path: Path, text: str, where: str, says: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(DataError, match=says) as caught:
        list(read_rows(str(path)))
    assert caught.value.where == where


@pytest.mark.parametrize("text", ["[]", " [ \n ] \n", '{"data": []}'])
def test_empty_lists_have_no_rows(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    assert list(read_rows(str(path), DropProblems())) == []
