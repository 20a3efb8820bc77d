from __future__ import annotations

from typing import Any

import pytest

from luthier.core.errors import DataError
from luthier.core.example import Message
from luthier.core.row import Row
from luthier.data.row_shapes import FORMATS, Table, detect
from luthier.tasks.likelihood import ChoiceTask


def convert(name: str, **values: Any) -> Any:
    return FORMATS[name].convert(Row(values, "file.jsonl:3"))


def turns(*pairs: tuple[str, str], keys: tuple[str, str] = ("from", "value")) -> list[Any]:
    return [dict(zip(keys, pair, strict=True)) for pair in pairs]


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        (["prompt", "completion"], "prompt-completion"),
        (["template", "prompt", "completion"], "prompt-completion"),
        (["input", "output"], "prompt-completion"),
        (["id", "url", "question", "answer"], "prompt-completion"),
        (["instruction", "input", "output"], "alpaca"),
        (["instruction", "output"], "alpaca"),
        (["conversations", "tools"], "sharegpt"),
        (["messages"], "openai"),
        (["conversation"], "sharegpt"),
        (["system", "chat"], "glaive"),
        (["prompt", "messages", "prompt_id"], "openai"),
        (["text", "weight", "Unnamed: 0"], "text"),
        (["text"], "text"),
        (["text", "url", "timestamp"], "text"),
    ],
)
def test_columns_tell_the_format(columns: list[str], name: str) -> None:
    assert detect(columns).name == name


@pytest.mark.parametrize(
    "columns",
    [
        ["text", "label"],
        ["dialogue", "summary"],
        ["question", "A", "B", "C", "D", "answer"],
        ["context", "question", "answer"],
        ["Prompt", "Completion"],
        [],
    ],
)
def test_unknown_columns(columns: list[str]) -> None:
    with pytest.raises(DataError, match="no known format") as caught:
        detect(columns, "file.jsonl:1")
    assert all(repr(column) in caught.value.problem for column in columns)
    assert all(name in caught.value.fix for name in FORMATS)


def test_ambiguous_columns() -> None:
    with pytest.raises(DataError, match="more than one format: prompt-completion and openai"):
        detect(["messages", "prompt", "completion"])


@pytest.mark.parametrize(
    "pair", [("prompt", "completion"), ("input", "output"), ("question", "answer")]
)
def test_pairs(pair: tuple[str, str]) -> None:
    example = convert(
        "prompt-completion", **dict(zip(pair, ("  def f():", "    pass\n"), strict=True))
    )
    assert example.messages == (Message("user", "  def f():"),)
    assert example.references == ("    pass",)
    assert example.where == "file.jsonl:3"


def test_alpaca() -> None:
    example = convert(
        "alpaca",
        system="Be brief.",
        history=[["Hi", "Hello"]],
        instruction="Add.",
        input="1 2",
        output="3",
    )
    assert example.messages == (
        Message("system", "Be brief."),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "Add.\n\n1 2"),
    )
    assert example.references == ("3",)
    assert convert("alpaca", instruction="Add.", input="", output="3").messages[0].content == "Add."


def test_sharegpt() -> None:
    conversation = turns(
        ("system", "s"), ("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d")
    )
    example = convert("sharegpt", conversations=conversation, tools="[]")
    roles = [message.role for message in example.messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert example.references == ("d",)


def test_sharegpt_system_column() -> None:
    conversation = turns(("human", "a"), ("gpt", "b"))
    example = convert("sharegpt", conversations=conversation, system="s")
    assert example.messages[0] == Message("system", "s")


def test_openai() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    example = convert(
        "openai",
        messages=[
            {"role": "developer", "content": "s"},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": "c", "tool_calls": None},
        ],
    )
    assert example.messages == (Message("system", "s"), Message("user", "a\nb"))
    assert example.references == ("c",)


def test_text() -> None:
    example = convert("text", text=" once\n")
    assert example.is_plain_text
    assert example.references == (" once",)


def test_table() -> None:
    task = ChoiceTask(
        kind="choices",
        name="t",
        prompt="{{ x }}?",
        label="{{ y }}",
        choices={0: "no", 1: "yes"},
        metrics=("accuracy",),
    )
    example = Table(task).convert(Row({"x": "ok", "y": 1}, "a.csv:2"), "g")
    assert (example.references, example.choices, example.group) == (("yes",), ("no", "yes"), "g")
    with pytest.raises(DataError, match="'2' has no words"):
        Table(task).convert(Row({"x": "ok", "y": 2}, "a.csv:2"))


def test_ids_follow_from_content_alone() -> None:
    one, other = (
        FORMATS["text"].convert(Row({"text": "a", "n": n}, f"f:{n}"), f"g{n}") for n in (1, 2)
    )
    assert one.id == other.id != convert("text", text="b").id
    pair = convert("prompt-completion", prompt="a", completion="b")
    assert pair.id != convert("prompt-completion", prompt="b", completion="a").id


HUMAN, GPT = ("human", "a"), ("gpt", "b")
USER, ASSISTANT = ("user", "a"), ("assistant", "b")
OPENAI = ("role", "content")


def chat(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"messages": turns(*pairs, keys=OPENAI)}


HOSTILE: list[tuple[str, dict[str, Any], str, str]] = [
    ("prompt-completion", {"prompt": "a", "completion": ""}, "completion", "empty"),
    ("prompt-completion", {"prompt": "a", "completion": " \n"}, "completion", "empty"),
    ("prompt-completion", {"prompt": None, "completion": "b"}, "prompt", "missing"),
    ("prompt-completion", {"prompt": "a", "completion": 7}, "completion", "a number"),
    ("prompt-completion", {"prompt": ["a"], "completion": "b"}, "prompt", "a list"),
    ("alpaca", {"instruction": "a", "output": ""}, "output", "empty"),
    ("alpaca", {"instruction": "a", "input": {}, "output": "b"}, "input", "an object"),
    ("alpaca", {"output": "b"}, "instruction", "missing"),
    (
        "alpaca",
        {"instruction": "a", "output": "b", "history": [["c"]]},
        "history[0]",
        "expected a pair",
    ),
    (
        "alpaca",
        {"instruction": "a", "output": "b", "history": [["c", ""]]},
        "history[0][1]",
        "empty",
    ),
    ("sharegpt", {"conversations": []}, "conversations", "empty"),
    ("sharegpt", {"conversations": None}, "conversations", "null"),
    ("sharegpt", {"conversations": "a"}, "conversations", "a text"),
    ("sharegpt", {"conversations": ["a"]}, "conversations[0]", "a turn must be an object"),
    ("sharegpt", {"conversations": [{"value": "a"}]}, "conversations[0].from", "missing"),
    ("sharegpt", {"conversations": turns(HUMAN, ("gpt", " "))}, "conversations[1].value", "empty"),
    ("sharegpt", {"conversations": turns(HUMAN, ("elf", "b"))}, "conversations[1].from", "'elf'"),
    (
        "sharegpt",
        {"conversations": turns(HUMAN, ("function_call", "b"))},
        "conversations[1].value",
        "a call must be an object",
    ),
    (
        "sharegpt",
        {"conversations": turns(HUMAN, HUMAN, GPT)},
        "conversations[1]",
        "two turns of the user",
    ),
    (
        "sharegpt",
        {"conversations": turns(HUMAN, GPT, GPT)},
        "conversations[2]",
        "two turns of the assistant",
    ),
    ("sharegpt", {"conversations": turns(HUMAN, GPT, HUMAN)}, "conversations[2]", "does not end"),
    ("sharegpt", {"conversations": turns(GPT)}, "conversations[0]", "starts with the assistant"),
    ("sharegpt", {"conversations": turns(("system", "s"))}, "conversations[0]", "does not end"),
    ("sharegpt", {"conversations": turns(HUMAN, GPT), "tools": "[{}]"}, "tools[0]", "no name"),
    ("sharegpt", {"conversations": turns(HUMAN, GPT), "tools": "[{"}, "tools", "like JSON"),
    ("openai", chat(USER, ("system", "s"), ASSISTANT), "messages[1]", "in the middle"),
    ("openai", chat(USER, ("tool", "b"), ASSISTANT), "messages[1]", "follows the user"),
    ("openai", chat(("tool", "b"), ASSISTANT), "messages[0]", "follows nothing"),
    (
        "openai",
        chat(USER, ASSISTANT, ("tool", "r"), USER, ASSISTANT),
        "messages[3]",
        "does not respond to a tool's result",
    ),
    (
        "openai",
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content",
        "not text",
    ),
    (
        "openai",
        {"messages": [{"role": "assistant", "content": "", "tool_calls": [{"x": 1}]}]},
        "messages[0].tool_calls[0].name",
        "missing",
    ),
    ("text", {"text": ""}, "text", "empty"),
]


@pytest.mark.parametrize(("name", "values", "field", "problem"), HOSTILE)
def test_hostile_rows(name: str, values: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        convert(name, **values)
    assert caught.value.where == f'file.jsonl:3, field "{field}"'
    assert problem in caught.value.problem
    assert caught.value.fix


def test_a_row_without_its_pair() -> None:
    with pytest.raises(DataError, match="has no prompt or no completion"):
        convert("prompt-completion", prompt="a")


@pytest.mark.parametrize(
    "columns",
    [
        {"instruction", "context", "output"},
        {"question", "answer", "document"},
        {"prompt", "completion", "article"},
    ],
)
def test_a_column_that_belongs_to_the_question_needs_a_template(columns: set[str]) -> None:
    with pytest.raises(DataError, match="match no known format"):
        detect(columns)


def test_every_format_honours_a_system_column() -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    rows: dict[str, dict[str, Any]] = {
        "prompt-completion": {"prompt": "Hi", "completion": "Ho"},
        "alpaca": {"instruction": "Hi", "output": "Ho"},
        "openai": {"messages": turns},
    }
    for name, values in rows.items():
        row = Row({"system": "Be kind.", **values}, "x.jsonl:1")
        assert detect(row.values).name == name
        example = FORMATS[name].convert(row)
        assert [m.content for m in example.messages] == ["Be kind.", "Hi"]
        assert example.references == ("Ho",)
