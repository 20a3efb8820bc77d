"""A row of data as what a task asks, and as the example that is trained."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.core.row import Row
from luthier.tasks.generation import GenerationTask
from luthier.tasks.likelihood import ChoiceTask
from luthier.tasks.task import Task

WHERE = "rows.jsonl:7"


def make(**fields: Any) -> GenerationTask:
    values = {"kind": "generate", "name": "mine", "metrics": "rougeL", **fields}
    values.setdefault("completion", "{{ summary }}")
    return GenerationTask.model_validate({"prompt": "Sum up:\n{{ dialogue }}\n", **values})


def classify(**fields: Any) -> ChoiceTask:
    keys = {"kind": "choices", "name": "mine", "metrics": "acc", "prompt": "{{ text }}"}
    return ChoiceTask.model_validate(
        {**keys, "label": "{{ label }}", "choices": {0: "bad", 1: "good"}, **fields}
    )


def render(task: Task, **row: Any) -> Example:
    return task.document(Row(row, WHERE), 7, {}).example("g")


def test_renders_an_open_answer() -> None:
    example = render(make(system="Be {{ tone }}."), dialogue="Hi.  \n", summary=" A\n", tone="kind")
    assert example == Example(
        id="7",
        messages=(Message("system", "Be kind."), Message("user", "Sum up:\nHi.")),
        references=(" A",),
        group="g",
        where=WHERE,
    )


def test_white_space_at_the_end_is_kept_where_the_task_says_so() -> None:
    kept = make(system="Be kind.\n", trailing_whitespace="keep")
    row = Row({"dialogue": "Hi. ", "summary": " A\n"}, WHERE)
    document = kept.document(row, 0, {})
    assert (document.system, document.prompt) == ("Be kind.\n", "Sum up:\nHi. \n")
    assert (document.solution, kept.after_system) == (" A\n", "")
    stripped = make(system="Be kind.\n")
    document = stripped.document(row, 0, {})
    assert (document.system, document.prompt) == ("Be kind.", "Sum up:\nHi.")
    assert (document.solution, stripped.after_system) == (" A", "\n\n")
    words = classify(choices={0: "bad ", 1: "good"}).document(
        Row({"text": "x", "label": 0}, ""), 0, {}
    )
    assert words.words == ("bad", "good")


def test_several_references_as_far_as_they_are_there() -> None:
    task = make(references=["{{ summary1 }}", "{{ summary2 }}"])
    assert render(task, dialogue="x", summary1="a", summary2="b ").references == ("a", "b")
    assert render(task, dialogue="x", summary2="b").references == ("b",)
    assert render(task, dialogue="x", summary="a", summary1="a").references == ("a",)
    with pytest.raises(DataError, match="'summary'") as caught:
        render(task, dialogue="x", sumary="a")
    assert "did you mean 'sumary'?" in caught.value.fix


@pytest.mark.parametrize(
    ("references", "row", "accepted"),
    [
        ("more", {"more": ["b", "c"]}, ("a", "b", "c")),
        ("{{ more }}", {"more": ["b", "c"]}, ("a", "b", "c")),
        ("more.text", {"more": {"text": ["b"]}}, ("a", "b")),
        ("{{ more[1] }}", {"more": ["b", "c"]}, ("a", "c")),
        ("the {{ more }}", {"more": "b"}, ("a", "the b")),
        (["more", "{{ x }}!"], {"more": 3, "x": "b"}, ("a", "3", "b!")),
        ("more", {}, ("a",)),
    ],
)
def test_references_are_columns_or_texts(
    references: Any, row: dict[str, Any], accepted: tuple[str, ...]
) -> None:
    task = make(references=references)
    assert render(task, dialogue="x", summary="a", **row).references == accepted


def test_reasoning_is_trained_and_no_part_of_the_answer() -> None:
    example = render(make(), dialogue="x", summary="<think>why</think>A")
    assert example.references == ("A",)
    assert example.trained_answer == Message("assistant", "<think>why</think>A")


def test_label_becomes_its_words() -> None:
    for label in (1, "1"):
        example = render(classify(), text="x", label=label)
        assert (example.references, example.choices) == (("good",), ("bad", "good"))
    truth = classify(choices={True: "yes", False: "no"})
    assert render(truth, text="x", label=True).references == ("yes",)


def test_words_may_come_from_the_row() -> None:
    task = classify(choices={"A": "{{ a }}", "B": "{{ b }}"})
    example = render(task, text="x", a="Rome", b="Oslo", label="B")
    assert (example.references, example.choices) == (("Oslo",), ("Rome", "Oslo"))
    assert task.columns == {"text", "a", "b", "label"}


def test_label_outside_the_mapping_is_named_with_the_choices() -> None:
    with pytest.raises(DataError, match="'-1'") as caught:
        render(classify(), text="x", label=-1)
    assert caught.value.where == WHERE
    assert "'0' ('bad'), '1' ('good')" in caught.value.fix
    with pytest.raises(DataError, match="'Bad'") as caught:
        render(classify(choices={"bad": "b", "good": "g"}), text="x", label="Bad")
    assert caught.value.fix.startswith("did you mean 'bad'? the labels are")


def test_without_an_answer() -> None:
    for task, row in ((classify(), {"text": "x"}), (make(), {"dialogue": "x"})):
        assert task.document(Row(row, WHERE), 0, {}, answered=False).references == ()
        with pytest.raises(DataError, match="needs the column"):
            render(task, **row)


def test_missing_column_names_what_there_is() -> None:
    with pytest.raises(DataError, match="needs the column 'dialogue'") as caught:
        render(make(), dialog="x", summary="y")
    assert caught.value.where == WHERE
    assert caught.value.fix == "did you mean 'dialog'? the columns are dialog, summary"


@pytest.mark.parametrize(
    ("field", "row"),
    [
        ("completion", {"summary": " \n"}),
        ("prompt", {"dialogue": "", "summary": "y"}),
        ("system", {"tone": "", "summary": "y"}),
    ],
)
def test_empty_text_is_refused(field: str, row: dict[str, str]) -> None:
    task = make(prompt="{{ dialogue }}", system="{{ tone }}")
    with pytest.raises(DataError, match=f"'{field}' of the task 'mine' is empty") as caught:
        render(task, **{"dialogue": "x", "tone": "kind", **row})
    assert caught.value.fix.startswith("it is made of ")


def test_an_empty_reference_is_refused_outside_of_lists() -> None:
    task = make(references="more")
    assert render(task, dialogue="x", summary="y", more=["", "b"]).references == ("y", "", "b")
    with pytest.raises(DataError, match=r"'references.0' of the task 'mine' is empty") as caught:
        render(task, dialogue="x", summary="y", more=" ")
    assert caught.value.fix == "it is made of more"


def test_a_constant_completion_needs_no_column() -> None:
    task = make(completion="none", references="more")
    assert render(task, dialogue="x", more="b").references == ("none", "b")


def test_null_is_refused_and_its_column_named() -> None:
    with pytest.raises(DataError, match="null") as caught:
        render(make(), dialogue=None, summary="y")
    assert caught.value.fix == "null here: dialogue"
    assert caught.value.where == f"{WHERE}, 'prompt' of the task 'mine'"
    with pytest.raises(DataError, match="null") as caught:
        render(make(references="a b.c"), dialogue="x", summary="y", **{"a b": {"c": None}})
    assert caught.value.fix == "null here: a b.c"
    with pytest.raises(DataError, match="'more' holds something other than text") as caught:
        render(make(references="more"), dialogue="x", summary="y", more=["a", None])
    assert caught.value.fix == "null is no text"


def test_columns() -> None:
    task = make(system="{{ tone }}", prompt="{{ a }}{{ b | default }}", references=["{{ c }}"])
    assert task.columns == {"tone", "a", "summary"}
    assert classify(group="{{ g }}").columns == {"text", "label", "g"}


def test_the_fingerprint_follows_what_is_rendered() -> None:
    same = make(name="other", metrics="bleu", cluster="instruction", about="x")
    assert make().stamp.hash == same.stamp.hash
    others = [make(prompt="{{ dialogue }}"), make(system="x"), make(references=["{{ s }}"])]
    others.append(make(trailing_whitespace="keep"))
    hashes = {task.stamp.hash for task in (make(), *others, classify())}
    assert len(hashes) == 6


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"completion": None}, "give the accepted answer"),
        ({"choices": {0: "a"}}, "not permitted"),
        ({"prompt": "{{ x"}, "refused"),
        ({"references": ["{{ f() }}"]}, "nothing can be called"),
        ({"references": [""]}, "at least 1"),
        ({"metrics": []}, "at least 1"),
        ({"max_new_tokens": 0}, "greater"),
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        make(**fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"choices": {None: "a"}}, "null"),
        ({"choices": {0: "a"}}, "at least 2"),
        ({"choices": {0: "{{ f() }}", 1: "a"}}, "nothing can be called"),
        ({"references": ["y"]}, "not permitted"),
    ],
)
def test_wrong_choices_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        classify(**fields)
