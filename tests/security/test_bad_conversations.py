"""Conversations that are wrong, each in its own way: file, line and field, before a model loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.security import test_bad_input

USER, ANSWER = {"role": "user", "content": "Is 1 odd?"}, {"role": "assistant", "content": "yes"}
GOOD = [{"messages": [{**USER, "content": f"Is {n} odd?"}, ANSWER]} for n in range(40)]
CALL = {"id": "a", "type": "function", "function": {"name": "find", "arguments": "{}"}}
TOOL = {"name": "find", "parameters": {"type": "object", "properties": {}}}


def _turns(*turns: Any, **more: Any) -> dict[str, Any]:
    return {"messages": list(turns), **more}


# A row, and the field that the error names.
ROWS: dict[str, tuple[Any, str]] = {
    "an unknown role": (_turns({**USER, "role": "wizard"}, ANSWER), "messages[0].role"),
    "a role in another alphabet": (_turns({**USER, "role": "usеr"}, ANSWER), "messages[0].role"),
    "a role that is a number": (_turns({**USER, "role": 7}, ANSWER), "messages[0].role"),
    "a role that is null": (_turns({**USER, "role": None}, ANSWER), "messages[0].role"),
    "a role that is a list": (_turns({**USER, "role": ["user"]}, ANSWER), "messages[0].role"),
    "a role that is empty": (_turns({**USER, "role": ""}, ANSWER), "messages[0].role"),
    "no role": (_turns({"content": "a"}, ANSWER), "messages[0].role"),
    "two roles": (_turns({**USER, "from": "gpt"}, ANSWER), "messages[0].from"),
    "no content": (_turns({"role": "user"}, ANSWER), "messages[0].content"),
    "an empty content": (_turns({**USER, "content": ""}, ANSWER), "messages[0].content"),
    "a blank content": (_turns({**USER, "content": " \n"}, ANSWER), "messages[0].content"),
    "a content that is a number": (_turns({**USER, "content": 7}, ANSWER), "messages[0].content"),
    "a content that is true": (_turns({**USER, "content": True}, ANSWER), "messages[0].content"),
    "a content that is an object": (
        _turns({**USER, "content": {"a": 1}}, ANSWER), "messages[0].content",
    ),
    "two contents": (_turns({**USER, "text": "b"}, ANSWER), "messages[0].text"),
    "an empty answer": (_turns(USER, {**ANSWER, "content": ""}), "messages[1].content"),
    "an answer that is null": (_turns(USER, {**ANSWER, "content": None}), "messages[1].content"),
    "an image": (
        _turns({**USER, "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, ANSWER),
        "messages[0].content",
    ),
    "a part with no type": (_turns({**USER, "content": [{"a": 1}]}, ANSWER), "messages[0].content"),
    "a part with more": (
        _turns({**USER, "content": [{"type": "text", "text": "a", "cache": 1}]}, ANSWER),
        "messages[0].content[0].cache",
    ),
    "a part without text": (
        _turns({**USER, "content": [{"type": "text", "text": 7}]}, ANSWER),
        "messages[0].content[0].text",
    ),
    "an unknown key": (_turns(USER, {**ANSWER, "emotion": "joy"}), "messages[1].emotion"),
    "a mask": (_turns(USER, {**ANSWER, "mask": True}), "messages[1].mask"),
    "a flag that is maybe": (_turns(USER, {**ANSWER, "train": "maybe"}), "messages[1].train"),
    "a flag that is off": (_turns(USER, {**ANSWER, "train": "off"}), "messages[1].train"),
    "a flag that is 2": (_turns(USER, {**ANSWER, "train": 2}), "messages[1].train"),
    "a flag that is a list": (_turns(USER, {**ANSWER, "train": [True]}), "messages[1].train"),
    "flags that contradict": (
        _turns(USER, {**ANSWER, "train": "yes", "masked": "yes"}), "messages[1].train",
    ),
    "characters that are trained": (
        _turns(USER, {**ANSWER, "train_detail": [{"begin_offset": 0}]}), "messages[1].train_detail",
    ),
    "a flag of the row that is none": (_turns(USER, ANSWER, train="none"), "train"),
    "a mask of the row": (_turns(USER, ANSWER, mask=[0, 1]), "mask"),
    "too many flags": (_turns(USER, ANSWER, loss_mask=[0, 0, 1]), "loss_mask"),
    "a weight that is no": (_turns(USER, ANSWER, weight="no"), "weight"),
    "a weight below 0": (_turns(USER, ANSWER, weight=-1), "weight"),
    "a weight that is a list": (_turns(USER, ANSWER, weight={"a": 1}), "weight"),
    "a call of the user": (_turns({**USER, "tool_calls": [CALL]}, ANSWER), "messages[0].role"),
    "a call without a name": (
        _turns(USER, {"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}),
        "messages[1].tool_calls[0]",
    ),
    "calls that are a text": (
        _turns(USER, {"role": "assistant", "tool_calls": "find"}), "messages[1].tool_calls",
    ),
    "arguments that are no JSON": (
        _turns(
            USER,
            {"role": "assistant", "tool_calls": [
                {"function": {"name": "find", "arguments": "{a: 1}"}}
            ]},
            tools=[TOOL],
        ),
        "messages[1].tool_calls[0]",
    ),
    "tools that are a number": (_turns(USER, ANSWER, tools=7), "tools"),
    "messages that are empty": ({"messages": []}, "messages"),
    "messages that are a number": ({"messages": 7}, "messages"),
    "messages that are an object": ({"messages": {"a": 1}}, "messages"),
    "messages that are broken JSON": ({"messages": "[{'role': 'user'}]"}, "messages"),
    "a turn that is a text": (_turns("Is 1 odd?", ANSWER), "messages[0]"),
    "a turn that is null": (_turns(None, ANSWER), "messages[0]"),
    "a turn that is a list": (_turns([USER], ANSWER), "messages[0]"),
    "no answer": (_turns(USER), "messages"),
    "only an answer": (_turns(ANSWER), "messages"),
    "only a system": (_turns({"role": "system", "content": "Be brief."}), "messages"),
    "no messages": ({"note": "a"}, ""),
    "a refusal": (
        _turns(USER, {"role": "assistant", "content": None, "refusal": "No."}),
        "messages[1].refusal",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("row", "field"), ROWS.values(), ids=ROWS)
def test_a_wrong_conversation_is_named_and_the_dry_run_says_the_same(
    row: Any, field: str, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [*GOOD[:20], row, *GOOD[20:]]
    file.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    said = test_bad_input.refusal(file, tiny_llama, capsys)
    assert "rows.jsonl:21" in said
    if field:
        assert f'field "{field}' in said
    assert " do: " in said


def test_there_are_hundreds_of_bad_inputs() -> None:
    """Of configurations, lines and conversations, each different."""
    texts = {text for text, _ in test_bad_input.WRONG.values()}
    lines = {line for line, _ in test_bad_input.DATA.values()}
    rows = {json.dumps(row) for row, _ in ROWS.values()}
    assert len(rows) >= 50
    assert len(texts) + len(lines) + len(rows) >= 500
