"""Rows become questions: data that is missing or wrong, shots, and contexts."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import DataError
from luthier.data.task_rows import MissingDataError
from luthier.evaluation.asking import load_task
from luthier.evaluation.asking.encode import TextEncoder
from luthier.evaluation.asking.prepared import prepare_task
from luthier.evaluation.comparison.paired import align_samples
from luthier.tasks.task import Task

MakeTask = Callable[..., Task]
TEST = [{"text": f"test {n}", "label": n % 2} for n in range(4)]
TRAIN = [{"text": f"train {n}", "label": n % 2} for n in range(8)]


def test_a_question_follows_the_description_and_the_shots(
    make_task: MakeTask, choices: dict[str, Any], tokenizer: Any
) -> None:
    task = make_task(
        {**choices, "system": "Say it.\n", "trailing_whitespace": "keep", "draw": "first"},
        test=TEST,
        train=TRAIN,
    )
    questions, fewer = prepare_task(task, shots=2).questions(TextEncoder(tokenizer, 1000))
    assert questions[1].context == ("Say it.\ntrain 0 is cold\n\ntrain 1 is hot\n\ntest 1 is")
    assert questions[1].document.words == ("cold", "hot")
    assert questions[1].document.references == ("1",)
    assert fewer == 0


def test_a_system_message_without_white_space_is_told_apart(
    make_task: MakeTask, choices: dict[str, Any], tokenizer: Any
) -> None:
    keys = {**choices, "system": "Say {{ how }}.\n", "draw": "first", "separator": "\n"}
    rows = [{**row, "how": "it"} for row in TEST]
    task = make_task(keys, test=rows, train=[{**row, "how": "no"} for row in TRAIN])
    questions, _ = prepare_task(task, shots=1).questions(TextEncoder(tokenizer, 1000))
    assert questions[1].context == "Say it.\ntrain 0 is cold\ntest 1 is"


def test_shots_are_drawn_with_the_seed_and_the_labels_take_turns(
    make_task: MakeTask, choices: dict[str, Any]
) -> None:
    task = make_task(choices, test=TEST, train=TRAIN)
    drawn = [prepare_task(task, shots=4, seed=seed).shots for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert sorted(shot.references[0] for shot in drawn[0]) == ["0", "0", "1", "1"]
    assert prepare_task(task, shots=2, seed=0).shots == drawn[0][:2]
    with pytest.raises(DataError, match="9 shots are wanted"):
        prepare_task(task, shots=9)


def test_no_worked_example_is_asked_too(make_task: MakeTask, choices: dict[str, Any]) -> None:
    task = make_task(choices, test=TRAIN[:3], train=TRAIN)
    prepared = prepare_task(task, shots=3)
    asked = {document.prompt for document in prepared.documents}
    assert len(asked) == 3
    assert not asked & {shot.prompt for shot in prepared.shots}
    with pytest.raises(DataError, match=f"has {len(TRAIN)} rows, 3 of which are asked too"):
        prepare_task(task, shots=len(TRAIN) - 2)
    published = make_task(choices | {"draw": "first"}, test=TRAIN[:3], train=TRAIN)
    assert len(prepare_task(published, shots=3).shots) == 3


def test_a_context_that_does_not_fit_loses_shots_where_the_task_says_so(
    make_task: MakeTask, choices: dict[str, Any], tokenizer: Any
) -> None:
    keys = {**choices, "too_long": "fewer-shots", "draw": "first"}
    prepared = prepare_task(make_task(keys, test=TEST[:1], train=TRAIN), shots=4)
    (whole,), _ = prepared.questions(TextEncoder(tokenizer, 1000))
    (question,), fewer = prepared.questions(TextEncoder(tokenizer, len(whole.context) - 10))
    assert fewer == 1
    assert question.context == whole.context.replace("train 3 is hot\n\n", "")


def test_the_limit_draws_rows_with_the_seed(make_task: MakeTask, choices: dict[str, Any]) -> None:
    rows = [{"text": f"test {n}", "label": n % 2} for n in range(200)]
    task = make_task(choices, test=rows)
    prepared = [prepare_task(task, limit=20, seed=seed) for seed in (0, 0, 1)]
    drawn = [[int(document.id) for document in each.documents] for each in prepared]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(set(drawn[0]))
    assert max(drawn[0]) > 100  # not the first rows
    assert all(d.prompt == f"test {d.id} is" for d in prepared[0].documents)
    assert prepared[2].drawn == "20 of 200 rows, drawn with the seed 1"
    smaller = {document.id for document in prepare_task(task, limit=5).documents}
    assert smaller < {document.id for document in prepared[0].documents}
    assert prepare_task(task, limit=200).drawn == prepare_task(task).drawn == ""


def test_the_limit_takes_the_first_rows_on_request(
    make_task: MakeTask, choices: dict[str, Any]
) -> None:
    prepared = prepare_task(make_task(choices, test=TEST), limit=2, limit_draw="first")
    assert [document.prompt for document in prepared.documents] == ["test 0 is", "test 1 is"]
    assert prepared.drawn == "the first 2 rows"


def test_the_limit_draws_what_is_scored_together_together(
    make_task: MakeTask, choices: dict[str, Any]
) -> None:
    rows = [{"text": f"test {n}", "label": n % 2, "set": n // 3} for n in range(30)]
    task = make_task({**choices, "question_id": "{{ set }}"}, test=rows)
    documents = prepare_task(task, limit=10).documents
    assert len(documents) == 9
    assert set(Counter(document.question_id for document in documents).values()) == {3}
    with pytest.raises(DataError, match="a limit of 2 rows holds no whole set"):
        prepare_task(task, limit=2)


def test_other_rows_of_the_limit_are_not_compared(
    make_task: MakeTask, choices: dict[str, Any]
) -> None:
    rows = [{"text": f"test {n}", "label": n % 2} for n in range(50)]
    task = make_task(choices, test=rows)
    first, second = (
        [document.sample("", "0") for document in prepare_task(task, limit=10, seed=seed).documents]
        for seed in (0, 1)
    )
    with pytest.raises(DataError):
        align_samples(first, second)


LEAKING = [
    {"text": "Snow", "label": 0},
    {"text": "Fire", "label": 1},
    {"text": "Ice", "label": 0},
    {"text": "Lava", "label": 1},
]


@pytest.mark.parametrize(
    "own",
    ["Snow", " snow ", "SNOW", "\uff33now"],
    ids=["equal", "spaces", "case", "full-width"],
)
@pytest.mark.parametrize("place", ["first", "examples"])
def test_no_question_is_shown_to_itself(
    make_task: MakeTask, choices: dict[str, Any], tokenizer: Any, own: str, place: str
) -> None:
    keys: dict[str, Any] = {**choices, "draw": "first"}
    if place == "examples":
        keys["examples"] = LEAKING
    test = [{"text": own, "label": 0}, {"text": "Steam", "label": 1}, {"text": own, "label": 0}]
    prepared = prepare_task(make_task(keys, test=test, train=LEAKING), shots=2)
    assert prepared.other_shots == 2
    questions, _ = prepared.questions(TextEncoder(tokenizer, 1000))
    shown = [question.context.split("\n\n")[:-1] for question in questions]
    assert shown[0] == shown[2] == ["Fire is hot", "Ice is cold"]
    assert shown[1] == ["Snow is cold", "Fire is hot"]


def test_one_file_may_be_asked_and_shown(
    make_task: MakeTask, choices: dict[str, Any], tokenizer: Any
) -> None:
    rows = [{"text": f"row {n}", "label": n % 2} for n in range(6)]
    task = make_task({**choices, "draw": "first"}, test=rows, train=rows)
    questions, _ = prepare_task(task, shots=2).questions(TextEncoder(tokenizer, 1000))
    for question in questions:
        assert question.document.prompt not in question.context.split("\n\n")[:-1]
        assert question.context.count(question.document.prompt) == 1
        assert question.context.count(" is ") == 2
    assert len(prepare_task(task, shots=5).documents) == 6
    with pytest.raises(DataError, match="1 ask what this row asks") as caught:
        prepare_task(task, shots=6)
    assert caught.value.where.startswith("test.jsonl:1")


@pytest.mark.parametrize(
    ("keys", "asked", "shown"),
    [
        (
            {"kind": "generate", "prompt": "{{ q }}", "completion": "{{ a }}", "metrics": ["em"]},
            {"q": "Who?", "a": "Al"},
            {"q": "Who?", "a": "Bo"},
        ),
        (
            {
                "kind": "cloze",
                "prompt": "{{ q }}",
                "completion": "{{ a }}",
                "metrics": ["greedy_acc"],
            },
            {"q": "He is", "a": "old"},
            {"q": "He is", "a": "new"},
        ),
        (
            {
                "kind": "candidates",
                "prompt": "{{ q }}",
                "candidates": "c",
                "references": "a",
                "metrics": ["acc"],
            },
            {"q": "Who?", "c": ["Al", "Bo"], "a": ["Al"]},
            {"q": "Who?", "c": ["Bo", "Al"], "a": ["Al"]},
        ),
        (
            {
                "kind": "contexts",
                "contexts": "c",
                "continuation": "{{ q }}",
                "answer_index": "a",
                "metrics": ["acc"],
            },
            {"q": "ran.", "c": ["Al", "Bo"], "a": 0},
            {"q": "ran.", "c": ["Al", "Bo"], "a": 1},
        ),
        (
            {
                "kind": "rating",
                "prompt": "{{ q }}",
                "label": "{{ a }}",
                "scale": {"0": "no", "1": "yes"},
                "metrics": ["pearson"],
            },
            {"q": "How?", "a": 0},
            {"q": "How?", "a": 1},
        ),
    ],
    ids=["generate", "cloze", "candidates", "contexts", "rating"],
)
def test_every_kind_knows_its_own_question(
    make_task: MakeTask, keys: dict[str, Any], asked: dict[str, Any], shown: dict[str, Any]
) -> None:
    other = {name: "Other" if name == "q" else value for name, value in asked.items()}
    task = make_task({**keys, "draw": "first"}, test=[asked], train=[shown, other])
    prepared = prepare_task(task, shots=1)
    (document,) = prepared.documents
    (shot,) = prepared.shots_of(document)
    assert shot.where.startswith("train.jsonl:2")
    assert prepared.other_shots == 1
    seeded = prepare_task(make_task(keys, test=[asked], train=[shown, other]), shots=1)
    assert seeded.shots[0].where.startswith("train.jsonl:2")


def test_another_answer_about_the_same_passage_is_another_question(
    make_task: MakeTask, choices: dict[str, Any]
) -> None:
    keys = {
        **choices,
        "draw": "first",
        "choices": {"0": "{{ answer }} no", "1": "{{ answer }} yes"},
    }
    row = {"text": "Snow", "label": 0}
    task = make_task(keys, test=[row | {"answer": "a"}], train=[row | {"answer": "b"}])
    assert prepare_task(task, shots=1).other_shots == 0


@pytest.mark.parametrize(
    ("row", "problem", "fix"),
    [
        ({"text": "x"}, "needs the column 'label'", "the columns are text"),
        ({"label": 1}, "needs the column 'text'", "the columns are label"),
        ({"text": "x", "label": "warm"}, "the label 'warm' has no words", "'0' ('cold')"),
        ({"text": None, "label": 1}, "a value is null", ""),
    ],
)
def test_a_wrong_row_is_named_with_its_line(
    make_task: MakeTask, choices: dict[str, Any], row: dict[str, Any], problem: str, fix: str
) -> None:
    with pytest.raises(DataError) as caught:
        prepare_task(make_task(choices, test=[*TEST, row]))
    assert problem in caught.value.problem
    assert fix in caught.value.fix
    assert caught.value.where.startswith("test.jsonl:5")


def test_labels_of_the_source_are_translated(make_task: MakeTask, choices: dict[str, Any]) -> None:
    keys = {
        **choices,
        "choices": {"cold": "cold", "hot": "hot"},
        "files": {"splits": {"test": "test.jsonl"}, "labels": {0: "cold", 1: "hot"}},
    }
    documents = prepare_task(make_task(keys, test=TEST)).documents
    assert [document.references for document in documents[:2]] == [("cold",), ("hot",)]


def test_an_empty_split_and_a_repeated_id_are_refused(
    make_task: MakeTask, choices: dict[str, Any]
) -> None:
    with pytest.raises(DataError, match="'test' of own has no rows") as empty:
        prepare_task(make_task(choices, test=[]))
    assert (empty.value.where, empty.value.fix) == ("test.jsonl", "fill it, or name another split")
    with pytest.raises(DataError, match="'same' of own stands twice") as caught:
        prepare_task(make_task({**choices, "id": "same"}, test=TEST[:2]))
    assert caught.value.where == "test.jsonl:1 and test.jsonl:2"


def test_missing_data_says_where_it_was_looked_for(
    make_task: MakeTask,
    choices: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LUTHIER_DATA", "/data/of/mine")
    with pytest.raises(MissingDataError) as caught:
        prepare_task(make_task(choices))
    assert str(tmp_path / "test.jsonl") in caught.value.where
    assert "/data/of/mine/test.jsonl" in caught.value.where
    assert "under LUTHIER_DATA" in caught.value.fix


def test_the_hub_is_named_where_there_is_no_file(
    choices: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    task = load_task("glue/qqp")
    assert isinstance(task, Task)
    with pytest.raises(MissingDataError) as caught:
        prepare_task(task)
    assert "the Hub (nyu-mll/glue" in caught.value.where
    assert "hf download --repo-type dataset nyu-mll/glue" in caught.value.fix


def test_files_without_a_header_are_read_compressed_or_not(
    make_task: MakeTask, choices: dict[str, Any], tmp_path: Path
) -> None:
    files = {"splits": {"test": "cells.tsv"}, "columns": ["label", "text"], "separator": "tab"}
    task = make_task({**choices, "files": files})
    lines = '0\tice "on" it\textra\n1\tfire\n'
    (tmp_path / "cells.tsv.gz").write_bytes(gzip.compress(lines.encode()))
    prompts = [document.prompt for document in prepare_task(task).documents]
    assert prompts == ['ice "on" it is', "fire is"]
    (tmp_path / "cells.tsv").write_text("0\n", encoding="utf-8")
    with pytest.raises(DataError, match="1 cell, but label, text are expected"):
        prepare_task(task)


def test_a_prediction_needs_no_label(make_task: MakeTask, choices: dict[str, Any]) -> None:
    task = make_task(choices, test=[{"text": "x"}, {"text": "y", "label": -1}])
    documents = prepare_task(task, split="test").documents
    assert [document.references for document in documents] == [(), ()]
    assert documents[0].words == ("cold", "hot")


def test_long_groups_are_named_by_a_fingerprint(
    make_task: MakeTask, choices: dict[str, Any]
) -> None:
    rows = [{"text": "a" * 200, "label": 0}, {"text": "a" * 200, "label": 1}]
    first, second = prepare_task(make_task({**choices, "group": "{{ text }}"}, test=rows)).documents
    assert first.group == second.group
    assert len(first.group) == 16
