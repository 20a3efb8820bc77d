"""Questions: rows of every format, with and without an answer, make the same prompt."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.core.errors import DataError, UsageError
from luthier.core.row import Row
from luthier.data.conversations import Rules
from luthier.data.questions import Shape
from luthier.data.row_shapes import FORMATS, Table
from luthier.tasks.bare import AS_IS
from luthier.tasks.load import library_templates, stored_task

USER = {"role": "user", "content": "Why?"}
SAID = {"role": "assistant", "content": "So."}
FORMER = [USER, SAID, {"role": "user", "content": "And?"}]
ROWS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("prompt-completion", {"prompt": "Why?"}, {"completion": "So."}),
    ("prompt-completion", {"question": "Why?"}, {"answer": "So."}),
    ("prompt-completion", {"input": "Why?", "id": 3}, {"output": "So."}),
    ("prompt-completion", {"prompt": [USER]}, {"completion": [SAID]}),
    ("alpaca", {"instruction": "Why?", "input": "It is."}, {"output": "So."}),
    ("openai", {"messages": [USER]}, {"messages": [USER, SAID]}),
    ("openai", {"messages": FORMER}, {"messages": [*FORMER, SAID]}),
    (
        "sharegpt",
        {"conversations": [{"from": "human", "value": "Why?"}]},
        {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
    ),
    (
        "glaive",
        {"system": "SYSTEM: Be kind.", "chat": "USER: Why?"},
        {"chat": "USER: Why?\n\n\nASSISTANT: So. <|endoftext|>"},
    ),
]


@pytest.mark.parametrize(("name", "asked", "answer"), ROWS)
def test_an_answer_of_the_row_changes_nothing(
    name: str, asked: dict[str, Any], answer: dict[str, Any]
) -> None:
    shape = Shape(AS_IS, name, Rules())
    example = FORMATS[name].convert(Row({**asked, **answer}, "row"))
    assert example.references == ("So.",)
    for values in (asked, {**asked, **answer}):
        found = shape.question(Row(values, "row"))
        assert found.messages == example.messages
        assert (found.references, found.answer) == ((), None)
    assert shape.missing(asked) == ()


def test_every_format_of_questions_is_known() -> None:
    shapes = [Shape(AS_IS, name, Rules()) for name in (*FORMATS, Table.name)]
    assert [shape.format for shape in shapes if not shape.has_questions] == ["text"]
    for shape in shapes:
        if shape.has_questions:
            question = shape.question(shape.row_of("Why?"))
            assert question.messages[-1].role == "user"
            assert question.messages[-1].content == "Why?"


@pytest.mark.parametrize("task", library_templates(), ids=lambda task: task.name)
def test_a_task_asks_without_the_columns_of_its_answer(task: Any) -> None:
    shape = Shape(task)
    lists = {getattr(task, name, None) for name in ("candidates", "contexts", "labels")}
    values: dict[str, Any] = {
        name: ["one", "two"] if name in lists else f"the {name}" for name in shape.columns
    }
    try:
        example = shape.question(Row(values, "row"))
    except DataError as error:
        pytest.skip(f"its columns are no texts: {error}")
    assert example.references == ()
    assert example.messages[-1].role == "user"
    assert task.question_columns <= task.columns


TASK = """\
name: sort
prompt: "{{ subject }}: {{ body }}"
label: "{{ queue }}"
choices: {a: "{{ subject }}", b: other}
group: "{{ customer }}"
metrics: accuracy
"""


def test_typed_questions_name_their_columns() -> None:
    shape = Shape(stored_task(TASK, "task.yaml"))
    assert shape.columns == ("body", "subject")
    row = shape.row_of(["subject=Refund", "body=1 = 2"])
    assert row.values == {"subject": "Refund", "body": "1 = 2"}
    example = shape.question(row)
    assert (example.messages[0].content, example.choices) == ("Refund: 1 = 2", ("Refund", "other"))
    assert shape.row_of({"subject": "x"}).values == {"subject": "x"}
    for given in (
        "Refund",
        ["subject=Refund"],
        ["subject=x", "body=y", "z"],
        ["subjct=x", "body=y"],
    ):
        with pytest.raises(UsageError, match="'body', 'subject'"):
            shape.row_of(given)
    single = Shape(AS_IS)
    assert single.row_of("prompt=x").values == {"prompt": "prompt=x"}
    assert single.row_of(["prompt=x"]).values == {"prompt": "x"}
    assert single.row_of(["x = y"]).values == {"prompt": "x = y"}
