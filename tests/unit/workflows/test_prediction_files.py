"""Files of predictions: every format in and out, rows that cannot be answered, own files."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.core.console import Console
from luthier.core.errors import DataError, ResourceError, UsageError
from luthier.data.writers import WRITERS
from luthier.workflows import predict as workflow

QUIET = Console(quiet=True)
TASK = """\
prompt: |
  {{ text }}
  Sign:
label: "{{ sign }}"
choices: {plus: plus, minus: minus}
metrics: [accuracy]
"""
ADDED = ["prediction", "probability", "probability.plus", "probability.minus"]


@pytest.fixture(scope="module")
def run(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """A zero-shot evaluation of a choice between two signs."""
    folder = tmp_path_factory.mktemp("signs")
    (folder / "sign.yaml").write_text(TASK, encoding="utf-8")
    rows = [(f"Number {n} and more", ("plus", "minus")[n % 2]) for n in range(40)]
    with (folder / "signs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "sign"), *rows])
    settings = {
        "data.source": str(folder / "signs.csv"),
        "prompt.template": str(folder / "sign.yaml"),
        "model.dtype": "float32",
        "evaluate.resamples": 200,
        "evaluate.general_text": None,
        "output": str(folder / "runs"),
        "name": "signs",
    }
    return luthier.evaluate(str(tiny_llama), None, settings, QUIET).run.path


ROWS: list[dict[str, Any]] = [
    {"id": "007", "text": 'One, "two"', "more": "é ☃"},
    {"id": "08", "text": "Line\nbreak", "more": ""},
    {"id": "9", "text": "Three", "more": " kept "},
]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".parquet":
        from pyarrow import parquet

        found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return found
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".tsv":
            return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        return list(csv.DictReader(file))


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("given", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("wanted", [".csv", ".jsonl", ".parquet", ".tsv"])
def test_columns_come_first_and_unchanged(
    run: Path, tmp_path: Path, given: str, wanted: str
) -> None:
    path, out = written(tmp_path / f"new{given}", ROWS), tmp_path / f"out{wanted}"
    made = luthier.predict(run, path, out, QUIET)
    assert (made.rows, made.rejected, made.rejected_file) == (3, 0, "")
    found = read(out)
    assert [list(row) for row in found] == [["id", "text", "more", *ADDED]] * 3
    kept = [{name: row[name] for name in ROWS[0]} for row in found]
    if wanted == ".tsv":
        expected = [{name: " ".join(v.splitlines()) for name, v in row.items()} for row in ROWS]
        assert kept == expected
    else:
        assert kept == ROWS
    for row in found:
        shares = {name: float(row[f"probability.{name}"]) for name in ("plus", "minus")}
        assert float(row["probability"]) == shares[row["prediction"]] == max(shares.values())
        assert sum(shares.values()) == pytest.approx(1, abs=2e-6)
    assert left(tmp_path) == {path.name, out.name}


def test_values_keep_their_types(run: Path, tmp_path: Path) -> None:
    day = datetime.date(2026, 1, 31)
    rows = [{"text": "a b", "n": 3, "x": 0.5, "day": day, "tags": ["p", "q"], "none": None}] * 2
    path = written(tmp_path / "new.parquet", rows)
    luthier.predict(run, path, tmp_path / "out.parquet", QUIET)
    luthier.predict(run, path, tmp_path / "out.jsonl", QUIET)
    luthier.predict(run, path, tmp_path / "out.csv", QUIET)
    names = list(rows[0])
    assert [{n: row[n] for n in names} for row in read(tmp_path / "out.parquet")] == rows
    (first, _) = read(tmp_path / "out.jsonl")
    assert {n: first[n] for n in names} == {**rows[0], "day": "2026-01-31"}
    (cells, _) = read(tmp_path / "out.csv")
    assert [cells[n] for n in names] == ["a b", "3", "0.5", "2026-01-31", '["p", "q"]', ""]
    mixed = written(tmp_path / "mixed.jsonl", [{"text": "a", "n": 1}, {"text": "b", "n": "one"}])
    with pytest.raises(DataError, match="the column 'n' has values that parquet cannot") as caught:
        luthier.predict(run, mixed, tmp_path / "mixed.parquet", QUIET)
    assert ".jsonl" in caught.value.fix


def test_rows_of_json_lines_may_have_other_columns(run: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "new.jsonl", [{"text": "a"}, {"b": 2, "text": "c", "sign": "plus"}])
    luthier.predict(run, path, tmp_path / "out.csv", QUIET)
    assert [list(row.values())[:3] for row in read(tmp_path / "out.csv")] == [
        ["a", "", ""], ["c", "2", "plus"],
    ]  # fmt: skip
    luthier.predict(run, path, tmp_path / "out.jsonl", QUIET)
    assert [list(row) for row in read(tmp_path / "out.jsonl")] == [
        ["text", *ADDED], ["b", "text", "sign", *ADDED],
    ]  # fmt: skip


BAD = [
    '{"text": "fine"}',
    '{"text": ""}',
    "{no json}",
    '{"text": null}',
    '{"txt": "another name"}',
    json.dumps({"text": "much " * 2000}),
    "[1]",
    '{"text": "fine too"}',
]
REASONS = {2: "empty", 3: "invalid JSON", 4: "empty", 5: "'text'", 6: "tokens", 7: "object"}


@pytest.mark.parametrize("chunk", [1, 3, 2048])
def test_bad_rows_are_named_and_kept_apart(
    run: Path, tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "CHUNK", chunk)
    path, out = tmp_path / "new.jsonl", tmp_path / "out.csv"
    path.write_text("\n".join(BAD) + "\n", encoding="utf-8")
    made = luthier.predict(run, path, out, QUIET)
    assert (made.rows, made.rejected) == (2, len(REASONS))
    assert [row["text"] for row in read(out)] == ["fine", "fine too"]
    rejected = read(tmp_path / "out.rejected.jsonl")
    assert made.rejected_file == str(tmp_path / "out.rejected.jsonl")
    found = {int(row["where"].rpartition(":")[2]): row for row in rejected}
    assert found.keys() == REASONS.keys()
    for line, reason in REASONS.items():
        assert reason in found[line]["reason"], line
        assert found[line]["where"] == f"new.jsonl:{line}"
        readable = BAD[line - 1].startswith('{"')
        assert found[line]["values"] == (json.loads(BAD[line - 1]) if readable else None)


def test_the_file_of_bad_rows_goes_when_they_are_mended(run: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "new.jsonl", tmp_path / "out.csv"
    path.write_text("\n".join(BAD) + "\n", encoding="utf-8")
    luthier.predict(run, path, out, QUIET)
    path.write_text(BAD[0] + "\n", encoding="utf-8")
    luthier.predict(run, path, out, QUIET)
    assert left(tmp_path) == {"new.jsonl", "out.csv"}
    assert len(read(out)) == 1


@pytest.mark.parametrize("line", sorted(REASONS))
def test_strict_stops_at_the_first_bad_row(run: Path, tmp_path: Path, line: int) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text("\n".join([BAD[0], BAD[line - 1], BAD[0]]) + "\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        luthier.predict(run, path, tmp_path / "out.csv", QUIET, strict=True)
    assert caught.value.where.startswith("new.jsonl:2")
    assert not (tmp_path / "out.csv").exists()
    assert not (tmp_path / "out.rejected.jsonl").exists()


def test_a_column_that_no_row_has_is_one_error(run: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "new.csv", [{"txt": f"row {n}", "id": n} for n in range(50)])
    with pytest.raises(DataError, match="no row has the column 'text'") as caught:
        luthier.predict(run, path, tmp_path / "out.csv", QUIET)
    assert "did you mean 'txt'?" in caught.value.fix
    (tmp_path / "empty.csv").write_text("text\n")
    with pytest.raises(DataError, match="no rows"):
        luthier.predict(run, tmp_path / "empty.csv", tmp_path / "out.csv", QUIET)
    assert left(tmp_path) == {"new.csv", "empty.csv"}


def test_abstention_leaves_answers_out(run: Path, tmp_path: Path) -> None:
    rows = [{"text": f"Number {n} and {'more ' * n}"} for n in range(12)]
    path = written(tmp_path / "new.csv", rows)
    luthier.predict(run, path, tmp_path / "all.csv", QUIET)
    shares = sorted(float(row["probability"]) for row in read(tmp_path / "all.csv"))
    threshold = (shares[5] + shares[6]) / 2
    made = luthier.predict(run, path, tmp_path / "sure.csv", QUIET, abstain=threshold)
    sure = read(tmp_path / "sure.csv")
    assert made.abstained == sum(share < threshold for share in shares) == 6
    for row, given in zip(sure, read(tmp_path / "all.csv"), strict=True):
        abstains = float(row["probability"]) < threshold
        assert row["abstained"] == ("true" if abstains else "false")
        assert row["prediction"] == ("" if abstains else given["prediction"])


def test_columns_of_the_same_name_are_not_overwritten(run: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "new.csv", [{"text": "a", "probability.plus": "mine"}])
    with pytest.raises(UsageError, match=r"'probability\.plus'") as caught:
        luthier.predict(run, path, tmp_path / "out.csv", QUIET)
    assert "--prefix" in caught.value.fix
    luthier.predict(run, path, tmp_path / "out.csv", QUIET, prefix="luthier.")
    (row,) = read(tmp_path / "out.csv")
    assert list(row) == ["text", "probability.plus", *(f"luthier.{name}" for name in ADDED)]
    assert row["probability.plus"] == "mine"


def test_only_files_of_the_same_command_are_overwritten(run: Path, tmp_path: Path) -> None:
    path, out = written(tmp_path / "new.csv", ROWS), tmp_path / "out.csv"
    other = written(tmp_path / "other.csv", ROWS)
    luthier.predict(run, path, out, QUIET)
    content = out.read_bytes()
    luthier.predict(run, path, out, QUIET)
    assert out.read_bytes() == content
    refused: list[Callable[[], object]] = [
        lambda: luthier.predict(run, other, out, QUIET),
        lambda: luthier.predict(run, path, other, QUIET),
    ]
    for call in refused:
        with pytest.raises(UsageError, match="not written by the same command"):
            call()
    with out.open("a") as file:
        file.write("my own row\n")
    with pytest.raises(UsageError, match="not written by the same command"):
        luthier.predict(run, path, out, QUIET)
    luthier.predict(run, path, out, QUIET, force=True)
    assert out.read_bytes() == content


@pytest.mark.parametrize("name", ["out", "out.xls", "out.csv.gz"])
def test_unknown_formats_are_refused_before_anything(run: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        luthier.predict(run, written(tmp_path / "new.csv", ROWS), tmp_path / name, QUIET)


def test_a_run_that_cannot_be_written_is_only_read(run: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    luthier.predict(run, written(tmp_path / "new.csv", ROWS), tmp_path / "out.csv", QUIET)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_place_that_cannot_be_written_is_named(run: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "new.csv", ROWS)
    with pytest.raises(ResourceError) as caught:
        luthier.predict(run, path, path / "out.csv", QUIET)
    assert "new.csv" in str(caught.value)


@pytest.mark.parametrize("input_name", ["in.csv", "out.csv", "out.rejected.jsonl"])
@pytest.mark.parametrize("way", ["itself", "link", "hard link"])
def test_the_rows_are_never_overwritten_or_deleted(
    run: Path, tmp_path: Path, input_name: str, way: str
) -> None:
    rows = tmp_path / input_name
    bad = {"id": "0", "text": "", "more": ""}
    content = written(rows, [*ROWS, bad]).read_bytes()
    named, out = rows, tmp_path / "out.csv"
    if way == "link":
        named = tmp_path / f"link{rows.suffix}"
        named.symlink_to(rows)
    if way == "hard link":
        named = tmp_path / f"link{rows.suffix}"
        named.hardlink_to(rows)
    if input_name == "in.csv":
        out = named if way != "itself" else rows
    with pytest.raises(UsageError, match="the rows are read from this file"):
        luthier.predict(run, named, out, QUIET, force=True)
    assert rows.read_bytes() == content
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["out.csv", "out.rejected.jsonl"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_place_that_is_no_file_is_refused_before_anything(
    run: Path, tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    new = written(tmp_path / "new.csv", ROWS)
    make(tmp_path / name)
    with pytest.raises(UsageError, match="this is no file"):
        luthier.predict(run, new, tmp_path / "out.csv", QUIET, force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"new.csv", name}


@pytest.mark.parametrize("value", ["1e999", "-1e999", "NaN", "Infinity", "[1e999]", '{"k": NaN}'])
@pytest.mark.parametrize("key", ["v", "weight", "train"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_numbers_that_are_not_finite_are_written_as_null(value: str, key: str, suffix: str) -> None:
    number = json.loads(value)
    file = io.BytesIO()
    WRITERS[f".{suffix}"](file, [key, "n"]).write([{key: number, "n": 1}])
    last = file.getvalue().decode().splitlines()[-1]
    null = {"[": "[null]", "{": '{"k": null}'}.get(value[0], "null")
    if suffix == "jsonl":
        assert last == f'{{"{key}": {null}, "n": 1}}'
    else:
        cell = last[:-2].strip('"').replace('""', '"')
        assert cell == ("" if null == "null" else null)


@pytest.mark.parametrize("name", ["t\tab", "line\nbreak", "cr\rhere", 'a "quote"', "plain"])
def test_names_of_columns_stay_in_one_cell(name: str) -> None:
    file = io.BytesIO()
    writer = WRITERS[".tsv"](file, [name, "b"])
    writer.write([{name: name, "b": 1}])
    header, row = file.getvalue().decode().splitlines()
    assert header.split("\t") == [" ".join(name.split()), "b"]
    assert row.split("\t") == [" ".join(name.split()), "1"]


@pytest.mark.parametrize("values", [[10**30], [1, "x"], [1, [2]], ["\ud800"]])
def test_parquet_names_the_column_that_it_cannot_store(values: list[Any]) -> None:
    pytest.importorskip("pyarrow")
    writer = WRITERS[".parquet"](io.BytesIO(), ["fine", "wrong"])
    with pytest.raises(DataError, match="the column 'wrong'"):
        writer.write([{"fine": 1, "wrong": value} for value in values])


def test_bytes_that_are_no_text_are_not_lost() -> None:
    file = io.BytesIO()
    WRITERS[".csv"](file, ["b"]).write([{"b": b"\xff1"}, {"b": "é".encode()}])
    assert file.getvalue().decode().splitlines() == ["b", "\\xff1", "é"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"text": "\\ud800"}\n', "the only row cannot be read: .*surrogate"),
        ("[1]\n[2]\n", "none of 2 rows can be read: .*list"),
        ("", "there are no rows to answer"),
        ("{}\n", "no row has the column 'text'"),
    ],
)
def test_a_file_without_a_readable_row_says_why(
    run: Path, tmp_path: Path, content: str, says: str
) -> None:
    new = tmp_path / "new.jsonl"
    new.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=says):
        luthier.predict(run, new, tmp_path / "out.csv", QUIET)


@pytest.mark.parametrize("place", [".", "parts", "parts/rows", "parts/000000.answers.jsonl"])
@pytest.mark.parametrize("leads_to", ["folder", "file", "nowhere"])
def test_nothing_is_written_behind_links(
    run: Path, tmp_path: Path, place: str, leads_to: str
) -> None:
    new = written(tmp_path / "new.csv", ROWS)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    link = tmp_path / ".out.csv.luthier" / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(tmp_path / leads_to)
    with pytest.raises((UsageError, DataError), match="this is a link"):
        luthier.predict(run, new, tmp_path / "out.csv", QUIET)
    assert not list((tmp_path / "folder").iterdir())
    assert (tmp_path / "file").read_text() == "kept"
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "out.csv").exists()


def test_a_folder_of_texts_is_answered_as_folders_of_labels_are_read(
    run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    for name, text in (("b.txt", "Two"), ("a.txt", "One"), ("c.txt", " "), ("d.md", "No")):
        (folder / name).write_text(text, encoding="utf-8")
    out = tmp_path / "out.csv"
    made = luthier.predict(run, folder, out, console=QUIET)
    rows = list(csv.DictReader(out.open(encoding="utf-8", newline="")))
    assert [(row["file"], row["text"]) for row in rows] == [("a.txt", "One"), ("b.txt", "Two")]
    assert all(row["prediction"] in {"plus", "minus"} for row in rows)
    assert made.rejected == 1  # the empty file


def test_folders_of_labels_are_answered_with_their_labels(run: Path, tmp_path: Path) -> None:
    for label in ("plus", "minus"):
        (tmp_path / "new" / label).mkdir(parents=True)
        (tmp_path / "new" / label / "a.txt").write_text(f"It is {label}", encoding="utf-8")
    luthier.predict(run, tmp_path / "new", tmp_path / "out.csv", console=QUIET)
    rows = list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8", newline="")))
    assert [(row["text"], row["label"]) for row in rows] == [
        ("It is minus", "minus"),
        ("It is plus", "plus"),
    ]


def test_a_folder_without_texts_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.md").write_text("No", encoding="utf-8")
    with pytest.raises(DataError, match="the folder has no text files"):
        luthier.predict(run, tmp_path / "new", tmp_path / "out.csv", console=QUIET)
