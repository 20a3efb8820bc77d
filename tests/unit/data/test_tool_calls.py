"""Tools and calls, as OpenAI, ShareGPT, ms-swift, Hermes and glaive write them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from luthier.core.errors import DataError
from luthier.core.example import Example, Message, ToolCall
from luthier.core.row import Row
from luthier.data.conversations import Rules
from luthier.data.row_shapes import detect

FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {}}}}
TOOL = {"type": "function", "function": FUNCTION}
CALL = ToolCall("weather", '{"city": "Cremona"}')
ARGUMENTS = {"city": "Cremona"}
USER = {"role": "user", "content": "Is it warm?"}
END = {"role": "assistant", "content": "Yes."}
RESULT = {"role": "tool", "content": "25"}


def convert(values: dict[str, Any], **rules: Any) -> Example:
    return detect(values).convert(Row(values, "f:1"), "", Rules(**rules))


def openai(*calls: Any, **more: Any) -> dict[str, Any]:
    turn = {"role": "assistant", "content": None, "tool_calls": list(calls), **more}
    return {"messages": [USER, turn, RESULT, END], "tools": [TOOL]}


def sharegpt(call: Any, *names: str) -> dict[str, Any]:
    caller, answerer = names or ("function_call", "observation")
    turns = (("human", "Is it warm?"), (caller, call), (answerer, "25"), ("gpt", "Yes."))
    rows = [{"from": who, "value": text} for who, text in turns]
    return {"conversations": rows, "tools": json.dumps([FUNCTION])}


WRITTEN: dict[str, dict[str, Any]] = {
    "openai": openai({"function": {"name": "weather", "arguments": json.dumps(ARGUMENTS)}}),
    "object": openai({"type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}),
    "bare": openai({"name": "weather", "arguments": ARGUMENTS}),
    "parameters": openai({"name": "weather", "parameters": ARGUMENTS}),
    "text": openai(tool_calls=json.dumps([{"name": "weather", "arguments": ARGUMENTS}])),
    "padded": openai(
        {"id": None, "function": {"name": "weather", "arguments": {**ARGUMENTS, "stock": None}}}
    ),
    "one call": openai(
        tool_calls=None, function_call={"name": "weather", "arguments": json.dumps(ARGUMENTS)}
    ),
    "sharegpt": sharegpt(json.dumps({"name": "weather", "arguments": ARGUMENTS})),
    "sharegpt list": sharegpt(json.dumps([{"name": "weather", "arguments": ARGUMENTS}])),
    "ms-swift": sharegpt(
        json.dumps({"name": "weather", "arguments": ARGUMENTS}), "tool_call", "tool_response"
    ),
    "ipython": sharegpt(
        json.dumps({"name": "weather", "parameters": ARGUMENTS}), "tool_call", "ipython"
    ),
    "functions": {
        **sharegpt(json.dumps({"name": "weather", "arguments": ARGUMENTS})),
        "tools": None,
        "functions": [FUNCTION],
    },
    "prompt": {
        "prompt": [USER],
        "completion": openai({"name": "weather", "arguments": ARGUMENTS})["messages"][1:],
        "tools": [TOOL],
    },
    "glaive": {
        "system": "SYSTEM: You are a helpful assistant with access to the following functions. "
        f"Use them if required -\n{json.dumps(FUNCTION, indent=4)}\n",
        "chat": "USER: Is it warm?\n\n\nASSISTANT: <functioncall> "
        '{"name": "weather", "arguments": \'{"city": "Cremona"}\'} <|endoftext|>\n\n\n'
        "FUNCTION RESPONSE: 25\n\n\nASSISTANT: Yes. <|endoftext|>",
    },
}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_way_of_writing_a_call_gives_the_same(name: str) -> None:
    example = convert(WRITTEN[name])
    system = [Message("system", "You are a helpful assistant.")] if name == "glaive" else []
    assert list(example.messages) == [
        *system,
        Message("user", "Is it warm?"),
        Message("assistant", "", tool_calls=(CALL,)),
        Message("tool", "25"),
    ]
    assert example.references == ("Yes.",)
    assert json.loads(example.tools) == [TOOL]


def test_names_and_ids_of_calls_and_results_are_kept() -> None:
    row = openai({"id": "c1", "name": "weather", "arguments": ""}, content="Let me see.")
    row["messages"][2] = {**RESULT, "tool_call_id": "c1", "name": "weather"}
    _, call, result = convert(row).messages
    assert call == Message(
        "assistant", "Let me see.", tool_calls=(ToolCall("weather", "{}", "c1"),)
    )
    assert result == Message("tool", "25", name="weather", tool_call_id="c1")


def test_an_answer_that_only_calls() -> None:
    row = openai({"name": "weather", "arguments": ARGUMENTS})
    example = convert({**row, "messages": row["messages"][:2]})
    assert example.answer == Message("assistant", "", tool_calls=(CALL,))
    (reference,) = example.references
    assert json.loads(reference) == {"name": "weather", "arguments": ARGUMENTS}


def test_several_calls_belong_to_one_turn() -> None:
    """LLaMA-Factory#10178, ms-swift: calls in turns of their own, and text before a call."""
    call = json.dumps({"name": "weather", "arguments": ARGUMENTS})
    said = [("human", "Is it warm?"), ("gpt", "Let me see."), ("function_call", call)]
    said += [("function_call", call), ("observation", "25"), ("observation", "26"), ("gpt", "Yes.")]
    example = convert({"conversations": [{"from": who, "value": text} for who, text in said]})
    assert example.messages[1] == Message("assistant", "Let me see.", tool_calls=(CALL, CALL))
    assert [one.role for one in example.messages] == ["user", "assistant", "tool", "tool"]


def test_a_call_can_be_left_out_of_the_training() -> None:
    row = openai({"name": "weather", "arguments": ARGUMENTS}, loss=False)
    assert [one.is_trained for one in convert(row).messages] == [True, False, True]


def test_calls_written_as_text_stay_text() -> None:
    """Hermes: the text is as the model is to write it."""
    text = '<tool_call>\n{"name": "weather", "arguments": {"city": "Cremona"}}\n</tool_call>'
    turns = [("human", "Is it warm?"), ("gpt", text), ("tool", "25"), ("gpt", "Yes.")]
    example = convert({"conversations": [{"from": who, "value": said} for who, said in turns]})
    assert [one.content for one in example.messages] == ["Is it warm?", text, "25"]
    assert not any(one.tool_calls for one in example.messages)


def test_a_result_that_is_data() -> None:
    for content, text in (({"t": 25}, '{"t": 25}'), (None, ""), ("", ""), ([1, 2], "[1, 2]")):
        row = openai({"name": "weather"})
        row["messages"][2] = {"role": "tool", "content": content}
        assert convert(row).messages[2].content == text
    row["messages"][2] = {"role": "tool", "content": [{"type": "text", "text": "25"}]}
    assert convert(row).messages[2].content == "25"


def test_nulls_that_a_table_adds_are_no_arguments() -> None:
    """ms-swift#6467: Arrow gives every tool the parameters of all others, with null."""
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string", "default": None}, "stock": None},
    }
    padded = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    row = openai({"name": "weather", "arguments": {"city": None, "stock": None}})
    example = convert({**row, "tools": [padded]})
    (tool,) = json.loads(example.tools)
    assert tool["function"]["parameters"]["properties"] == {
        "city": {"type": "string", "default": None}
    }
    assert example.messages[1].tool_calls[0].arguments == '{"city": null}'


@pytest.mark.parametrize("tools", [None, "", "[]", [], {}, "null", " "])
def test_no_tools(tools: Any) -> None:
    row = {"messages": [USER, END], "tools": tools}
    if tools == "null":
        with pytest.raises(DataError, match="a list of objects"):
            convert(row)
    else:
        assert convert(row).tools == ""


DEEP: Any = {}
for _ in range(200):
    DEEP = {"a": DEEP}
HOSTILE: list[tuple[dict[str, Any], str, str]] = [
    (openai({"arguments": {}}), "messages[1].tool_calls[0].name", "missing"),
    (
        openai({"name": "f", "arguments": "x"}),
        "messages[1].tool_calls[0].arguments",
        "invalid JSON",
    ),
    (openai({"name": "f", "arguments": "[1]"}), "messages[1].tool_calls[0].arguments", "a list"),
    (openai({"name": "f", "arguments": 7}), "messages[1].tool_calls[0].arguments", "a number"),
    (openai({"name": "f", "code": "x"}), "messages[1].tool_calls[0].code", "'code'"),
    (openai({"type": "python", "name": "f"}), "messages[1].tool_calls[0].type", "'python'"),
    (openai("f()"), "messages[1].tool_calls[0]", "a text"),
    (openai(tool_calls="f()"), "messages[1].tool_calls", "a text"),
    (openai(tool_calls={"x": 1}), "messages[1].tool_calls.name", "missing"),
    (sharegpt("weather()"), "conversations[1].value", "a text"),
    (sharegpt('{"name": '), "conversations[1].value", "like JSON"),
    ({**openai({"name": "f"}), "tools": "weather"}, "tools", "a list of objects"),
    ({**openai({"name": "f"}), "tools": ["weather"]}, "tools[0]", "a text"),
    ({**openai({"name": "f"}), "tools": [{"function": {"x": 1}}]}, "tools[0]", "no name"),
    ({**openai({"name": "f"}), "tools": [{"name": "f", "x": DEEP}]}, "tools[0]", "too deep"),
    ({"system": "", "chat": "Is it warm?"}, "chat", "does not start"),
    ({"system": "", "chat": "USER: a\n\nASSISTANT: <functioncall> f()"}, "chat[1]", "is invalid"),
    ({"system": "", "chat": "USER: \n\nASSISTANT: b"}, "chat[0]", "empty"),
    (
        {"system": "with access to the following functions -\n{x}", "chat": "USER: a"},
        "system",
        "invalid JSON",
    ),
]


@pytest.mark.parametrize(("values", "field", "problem"), HOSTILE)
def test_hostile_tools(values: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        convert(values)
    assert f'field "{field}"' in caught.value.where
    assert problem in caught.value.problem


def test_only_the_assistant_calls() -> None:
    row = openai({"name": "weather"})
    row["messages"][0] = {**USER, "tool_calls": [{"name": "weather"}]}
    with pytest.raises(DataError, match="only the assistant"):
        convert(row)
