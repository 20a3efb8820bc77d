from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.config.data import DataConfig
from luthier.config.prompt import PromptConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, LuthierError, UsageError
from luthier.data.dataset import Dataset, load_dataset
from luthier.tasks.bare import AS_IS

Write = Callable[..., Path]


def load(path: Path | str, template: str | None = None, seed: int = 0, **data: Any) -> Dataset:
    config = DataConfig(source=str(path), **data)
    return load_dataset(config, PromptConfig(template=template), seed, Console(io.StringIO()))


def pairs(count: int, start: int = 0) -> list[dict[str, str]]:
    numbers = range(start, start + count)
    return [{"prompt": f"What is {n} + 1?", "completion": str(n + 1)} for n in numbers]


def dialogues(count: int, start: int = 0) -> list[dict[str, str]]:
    numbers = range(start, start + count)
    return [{"dialogue": f"A: {n}\nB: Yes.", "summary": f"They say {n}."} for n in numbers]


def test_one_file_is_cut_into_three(write_rows: Write) -> None:
    dataset = load(write_rows("sums.jsonl", pairs(300)))
    assert (dataset.task, dataset.format) == ("sums", "prompt-completion")
    assert dataset.template is AS_IS
    sizes = [len(dataset.split(name)) for name in ("train", "validation", "test")]
    assert sum(sizes) == 300
    assert sizes[0] > 150
    assert sizes[2] == pytest.approx(0.3 * 300, abs=30)  # a tenth would show large gains only
    assert min(sizes) > 10
    assert dataset.dropped == ()


def test_files_of_their_own(write_rows: Write) -> None:
    train = [*pairs(50), *pairs(2, start=100)]
    dataset = load(
        write_rows("train.jsonl", train),
        validation=str(write_rows("valid.jsonl", pairs(7, start=200))),
        test=str(write_rows("exam.jsonl", pairs(10, start=100))),
    )
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (50, 7, 10)
    assert [item.where for item in dataset.dropped] == ["train.jsonl:51", "train.jsonl:52"]


def test_columns_that_are_not_used_are_named(write_rows: Write) -> None:
    more = {"topic": "sums", "id": "7", "note": ""}
    rows = [{**row, **more, "author": f"A{n}"} for n, row in enumerate(pairs(40))]
    path = write_rows("sums.jsonl", rows)
    for group, said in ((None, "'topic', 'author'"), ("author", "'topic'")):
        out = io.StringIO()
        config = DataConfig(source=str(path), group=group)
        load_dataset(config, PromptConfig(), 0, Console(out))
        assert f"these columns are not used: {said};" in " ".join(out.getvalue().split())


def test_a_folder_with_splits(tmp_path: Path, write_rows: Write) -> None:
    for name, rows in (("train", pairs(9)), ("dev", pairs(4, 20)), ("test", pairs(5, 40))):
        write_rows(f"{name}.jsonl", rows)
    dataset = load(tmp_path)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (9, 4, 5)


def test_a_template_and_three_references(write_rows: Write) -> None:
    test = {"dialogue": "A: Hi.", **{f"summary{n}": f"Greeting {n}." for n in (1, 2, 3)}}
    dataset = load(
        write_rows("train.jsonl", dialogues(20)),
        "summarise-dialogue/short",
        test=str(write_rows("test.jsonl", [test])),
    )
    assert dataset.template.name == "summarise-dialogue/short"
    assert dataset.format == "table"
    assert dataset.test[0].references == ("Greeting 1.", "Greeting 2.", "Greeting 3.")
    assert all(len(example.references) == 1 for example in dataset.train)


def test_a_bundled_task_has_its_own_template() -> None:
    dataset = load("python-docstrings", num_train=50, num_test=20)
    assert dataset.task == "python-docstrings"
    assert dataset.template.cluster == "summarise-code"
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (50, 128, 20)
    groups = [
        {example.group for example in part}
        for part in (dataset.train, dataset.validation, dataset.test)
    ]
    assert all(groups)
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]


def test_bundled_text() -> None:
    dataset = load("python-topics")
    assert dataset.format == "text"
    assert dataset.train[0].is_plain_text


def test_a_column_of_groups(write_rows: Write) -> None:
    rows = [{**row, "book": number % 40} for number, row in enumerate(pairs(400))]
    path = write_rows("rows.jsonl", rows)
    dataset = load(path, group="book", num_validation=None)
    splits = (dataset.train, dataset.validation, dataset.test)
    groups = [{example.group for example in part} for part in splits]
    assert sum(map(len, groups)) == 40
    assert len(set().union(*groups)) == 40
    with pytest.raises(DataError, match=r"no column 'author', which data\.group names"):
        load(path, group="author")


def test_smaller_draws_are_the_beginning_of_larger_ones(write_rows: Write) -> None:
    path = write_rows("rows.jsonl", pairs(400))
    small, large = (load(path, num_train=number, num_test=5) for number in (100, 200))
    assert small.train == large.train[:100]
    assert small.test == large.test
    assert len(small.test) == 5
    assert small.fingerprint != large.fingerprint


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path, write_rows: Write) -> None:
    rows = pairs(100)
    one = load(write_rows("one.jsonl", rows))
    same = load(write_rows("two.jsonl", rows[::-1]))
    assert one.fingerprint == same.fingerprint
    rows[0]["completion"] = "something else"
    assert load(write_rows("three.jsonl", rows)).fingerprint != one.fingerprint
    assert load(tmp_path / "one.jsonl", seed=1).fingerprint != one.fingerprint


def test_all_mistakes_are_shown_at_once(write_rows: Write) -> None:
    rows: list[Any] = pairs(20)
    rows[3]["completion"] = ""
    rows[16] = ["prompt"]
    with pytest.raises(DataError, match=r'(?s)2 problems.*:4, field "completion".*:17: '):
        load(write_rows("rows.jsonl", rows))


def test_mistakes_can_be_dropped_with_their_reason(write_rows: Write) -> None:
    rows = pairs(50)
    rows[3]["completion"] = ""
    stream = io.StringIO()
    config = DataConfig(source=str(write_rows("rows.jsonl", rows)), invalid="drop")
    dataset = load_dataset(config, PromptConfig(), 0, Console(stream))
    (dropped,) = dataset.dropped
    assert dropped.where == 'rows.jsonl:4, field "completion"'
    assert dropped.reason == "the text is empty"
    assert "1 left out: the text is empty" in stream.getvalue()


def test_a_table_needs_a_template(write_rows: Write) -> None:
    path = write_rows("rows.jsonl", dialogues(5))
    for format_ in ("auto", "table"):
        with pytest.raises(DataError) as caught:
            load(path, format=format_)
        assert "summarise-dialogue/short" in caught.value.fix
        assert caught.value.where == "rows.jsonl:1"


def test_columns_that_nothing_knows(write_rows: Write) -> None:
    with pytest.raises(DataError, match="'x', 'y' match no known format") as caught:
        load(write_rows("rows.jsonl", [{"x": "a", "y": "b"}]))
    assert "luthier init FILE --label COLUMN" in caught.value.fix
    assert "alpaca (instruction, output" in caught.value.fix


def test_a_format_can_be_named(write_rows: Write) -> None:
    rows = [{"text": f"once {n}", "label": n} for n in range(50)]
    assert load(write_rows("rows.jsonl", rows), format="text").format == "text"


def test_a_template_excludes_other_formats(write_rows: Write) -> None:
    path = write_rows("rows.jsonl", dialogues(5))
    for source, template in ((path, "summarise-dialogue/short"), ("python-docstrings", None)):
        with pytest.raises(UsageError, match=r"data\.format is alpaca"):
            load(source, template, format="alpaca")


def test_fractions_that_leave_nothing() -> None:
    with pytest.raises(UsageError, match="leave nothing to train on"):
        load("python-docstrings", validation_fraction=0.6, test_fraction=0.4)


EMPTY: list[tuple[dict[str, list[Any]], dict[str, str], str]] = [
    ({"all.jsonl": []}, {}, "train split is empty: there are no rows"),
    ({"all.jsonl": pairs(2)}, {}, "test split is empty: of 2 examples"),
    ({"all.jsonl": pairs(50), "exam.jsonl": []}, {"test": "exam.jsonl"}, "test split is empty"),
    ({"all.jsonl": pairs(9), "exam.jsonl": pairs(9)}, {"test": "exam.jsonl"}, "9 are duplicates"),
]


@pytest.mark.parametrize(("files", "options", "problem"), EMPTY)
def test_an_empty_split_says_why(
    tmp_path: Path,
    write_rows: Write,
    files: dict[str, list[Any]],
    options: dict[str, str],
    problem: str,
) -> None:
    for name, rows in files.items():
        write_rows(name, rows)
    paths = {name: str(tmp_path / file) for name, file in options.items()}
    with pytest.raises(DataError, match=problem) as caught:
        load(tmp_path / "all.jsonl", **paths)
    assert caught.value.fix


def test_a_folder_without_training_data(tmp_path: Path, write_rows: Write) -> None:
    write_rows("x.test.jsonl", pairs(5))
    with pytest.raises(DataError, match="no data to train on") as caught:
        load(tmp_path)
    assert "test" in caught.value.fix


@pytest.mark.parametrize("source", ["nothing.jsonl", "nothing"])
def test_a_source_that_is_not_there(source: str) -> None:
    with pytest.raises(LuthierError, match="no data called"):
        load(source)


def warned(path: Path, template: str | None = None, **data: Any) -> tuple[Dataset, str]:
    out = io.StringIO()
    config = DataConfig(source=str(path), **data)
    dataset = load_dataset(config, PromptConfig(template=template), 0, Console(out))
    return dataset, " ".join(out.getvalue().split())


def flagged(count: int, **flags: Any) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"Where is {n}?"},
                {"role": "assistant", "content": f"BAD {n}", **flags},
                {"role": "user", "content": "Be exact."},
                {"role": "assistant", "content": f"In depot {n}."},
            ]
        }
        for n in range(count)
    ]


def test_answers_that_are_not_to_be_trained_are_kept_as_context(write_rows: Write) -> None:
    dataset, said = warned(write_rows("rows.jsonl", flagged(40, weight=0)))
    assert said == ""
    for example in dataset.train:
        answers = [one for one in example.messages if one.role == "assistant"]
        assert [one.is_trained for one in answers] == [False]
        assert answers[0].content.startswith("BAD")
        assert example.trained_answer.content.startswith("In depot")


def test_rows_with_nothing_to_train_are_left_out_and_named(write_rows: Write) -> None:
    rows: list[Any] = [*pairs(40), {**pairs(1, 90)[0], "train": False}]
    rows += [{**pairs(1, 91)[0], "weight": 0}]
    dataset, said = warned(write_rows("rows.jsonl", rows))
    assert sum(len(dataset.split(name)) for name in ("train", "validation", "test")) == 40
    assert [item.where for item in dataset.dropped] == ["rows.jsonl:41", "rows.jsonl:42"]
    assert "2 left out: its flags or weight exclude it from training" in said


def test_a_column_of_weights(write_rows: Write) -> None:
    rows = [{**row, "w": n % 3 + 1} for n, row in enumerate(pairs(60))]
    path = write_rows("rows.jsonl", rows)
    test = write_rows("exam.jsonl", pairs(5, 100))  # rows of a test need no weight
    dataset, said = warned(path, weight="w", test=str(test))
    assert {example.weight for example in dataset.train} == {1.0, 2.0, 3.0}
    assert {example.weight for example in dataset.test} == {1.0}
    assert said == ""
    plain, said = warned(path, test=str(test))
    assert "these columns are not used: 'w'" in said
    assert [one.id for one in plain.train] == [one.id for one in dataset.train]
    assert plain.fingerprint != dataset.fingerprint
    with pytest.raises(DataError, match="a number of at least 0"):
        load(path, weight="note")


def test_a_column_of_weights_beside_a_template(write_rows: Write) -> None:
    rows = [{**row, "weight": 2} for row in dialogues(30)]
    path = write_rows("rows.jsonl", rows)
    dataset, said = warned(path, "summarise-dialogue/short", weight="weight")
    assert {example.weight for example in dataset.train} == {2.0}
    assert said == ""
    dataset, said = warned(path, "summarise-dialogue/short")  # it may mean anything there
    assert {example.weight for example in dataset.train} == {1.0}
    assert "not used: 'weight'; data.weight names a column of weights" in said


def test_columns_that_a_setting_names_do_not_hide_the_format(write_rows: Write) -> None:
    rows = [{"text": f"once {n}", "book": n, "w": 1, "junk": "x"} for n in range(50)]
    path = write_rows("rows.jsonl", rows)
    assert load(path, group="book", weight="w", ignore_keys=("junk",)).format == "text"


def news(counts: tuple[int, ...]) -> list[dict[str, Any]]:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    return [{"text": f"Item {n}.", "label": label} for n, label in enumerate(labels)]


def test_balanced_classes_count_alike(write_rows: Write) -> None:
    path = write_rows("news.jsonl", news((200, 40, 20, 10)))
    plain = load(path, "classify-topic/plain")
    dataset = load(path, "classify-topic/plain", class_weights="balanced")
    sums: dict[str, float] = {}
    for example in dataset.train:
        answer = example.references[0]
        sums[answer] = sums.get(answer, 0.0) + example.weight
    assert len(sums) == 4
    assert list(sums.values()) == pytest.approx([len(dataset.train) / 4] * 4)
    assert {example.weight for example in dataset.test} == {1.0}
    assert plain.fingerprint != dataset.fingerprint
    assert [one.id for one in plain.train] == [one.id for one in dataset.train]


def test_weights_of_classes_by_label_or_word(write_rows: Write) -> None:
    path = write_rows("news.jsonl", news((60, 60, 60, 60)))
    word = load(path, "classify-topic/plain").train[0].choices[1]
    for name in ("1", word):
        dataset = load(path, "classify-topic/plain", class_weights={name: 3})
        weights = {(one.references[0] == word, one.weight) for one in dataset.train}
        assert weights == {(True, 3.0), (False, 1.0)}
    with pytest.raises(UsageError, match="'Weather' is not an answer") as caught:
        load(path, "classify-topic/plain", class_weights={"Weather": 3})
    assert word in caught.value.fix


def test_open_answers_have_no_classes(write_rows: Write) -> None:
    path = write_rows("sums.jsonl", pairs(60))
    with pytest.raises(UsageError, match="the answers are open"):
        load(path, class_weights="balanced")
    rows = [{"prompt": f"Is {n} odd?", "completion": ("no", "yes")[n % 2]} for n in range(90)]
    dataset = load(write_rows("odd.jsonl", rows), class_weights="balanced")
    assert sum(one.weight for one in dataset.train) == pytest.approx(len(dataset.train))


def test_every_column_that_is_not_used_is_named_not_only_those_of_the_first_row(
    write_rows: Write,
) -> None:
    rows: list[Any] = pairs(40)
    rows[30]["mood"] = "bad"
    assert "these columns are not used: 'mood'" in warned(write_rows("rows.jsonl", rows))[1]


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "index", "level_0", "__index_level_0__"])
@pytest.mark.parametrize("columns", [("prompt", "completion"), ("text",), ("dialogue", "summary")])
def test_row_numbers_of_pandas_are_left_aside(
    tmp_path: Path, name: str, columns: tuple[str, ...]
) -> None:
    path = tmp_path / "rows.csv"
    lines = [",".join((name, *columns))]
    lines += [",".join((str(n), *(f"{column} {n}" for column in columns))) for n in range(40)]
    path.write_text("\n".join(lines), encoding="utf-8")
    template = "summarise-dialogue/short" if "dialogue" in columns else None
    dataset, said = warned(path, template)
    assert sum(len(dataset.split(part)) for part in ("train", "validation", "test")) == 40
    assert f"pandas' row numbers: {name or 'Unnamed: 0'!r}; to_csv" in said
    assert "not used" not in said


def test_a_column_without_a_name_that_is_no_index_is_said_not_to_be_used(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    lines = ["prompt,completion,", *(f"What is {n}?,{n},well" for n in range(40))]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert "these columns are not used: 'Unnamed: 2'" in warned(path)[1]


def test_turns_in_cells(tmp_path: Path) -> None:
    rows = flagged(40, train=False)
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["messages"])
        writer.writerows([json.dumps(row["messages"])] for row in rows)
    in_cells = load(path)
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert in_cells.fingerprint == load(tmp_path / "rows.jsonl").fingerprint


def test_turns_are_mended_as_the_configuration_says(write_rows: Write) -> None:
    rows = flagged(40)
    for row in rows:
        hello = {"role": "assistant", "content": "Hello."}
        row["messages"] = [hello, *row["messages"], {"role": "user", "content": "Thanks."}]
    path = write_rows("rows.jsonl", rows)
    for fix, setting in (("data.ending", {}), ("data.opening", {"ending": "drop"})):
        with pytest.raises(DataError, match=r"\(40 places\)") as caught:
            load(path, **setting)
        assert f"{fix}=drop" in str(caught.value)
    dataset, said = warned(path, opening="drop", ending="drop")
    assert dataset.train[0].messages[0].role == "user"
    assert "turns after the last answer are dropped (data.ending) (40 times" in said
    assert "an assistant turn before the user's is dropped" in said


@pytest.mark.parametrize(
    ("different", "says"),
    [
        (30, "70 of 100 rows (70%) are left out; if they should differ, the question lacks"),
        (85, ""),
    ],
)
def test_a_question_that_lacks_a_column(different: int, says: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"question {n % different}", "completion": "yes"} for n in range(100)]
    path.write_text("\n".join(map(json.dumps, rows)))
    stream = io.StringIO()
    load_dataset(DataConfig(source=str(path)), PromptConfig(), 0, Console(stream))
    said = " ".join(stream.getvalue().split())
    assert (says in said) if says else ("rows (" not in said)


def test_rows_that_are_left_out_on_purpose_are_no_loss(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"question {n}", "completion": "yes" * (n % 2 * 99 + 1)} for n in range(60)]
    path.write_text("\n".join(map(json.dumps, rows)))
    stream = io.StringIO()
    data = DataConfig(source=str(path), max_characters=40)
    load_dataset(data, PromptConfig(), 0, Console(stream))
    assert "30 left out" in stream.getvalue()
    assert "rows (" not in stream.getvalue()
