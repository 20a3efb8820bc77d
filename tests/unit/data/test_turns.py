"""One reader of turns for every format: roles, keys, parts, order, and no key that is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.core.row import Row
from luthier.data.conversations import Rules
from luthier.data.fields import Notes
from luthier.data.row_shapes import FORMATS, detect
from luthier.data.turns import REASONING_KEYS, ROLE_KEYS, ROLES, TEXT_KEYS

NAMES = {
    "system": ["system", "developer", "System"],
    "user": ["user", "human", "User", "HUMAN", "prompter"],
    "assistant": ["assistant", "gpt", "chatgpt", "model", "bot", "Assistant"],
    "tool": ["tool", "function", "observation", "ipython", "tool_response"],
}


def convert(values: dict[str, Any], notes: Notes | None = None, **rules: Any) -> Example:
    return detect(values).convert(Row(values, "f:1"), "", Rules(**rules), notes)


def chat(*turns: tuple[str, str], role: str = "role", text: str = "content") -> list[Any]:
    return [{role: who, text: said} for who, said in turns]


def said(example: Example) -> list[tuple[str, str]]:
    return [(one.role, one.content) for one in (*example.messages, example.trained_answer)]


@pytest.mark.parametrize("column", ["messages", "conversations", "conversation"])
@pytest.mark.parametrize("role", ROLE_KEYS)
@pytest.mark.parametrize("text", TEXT_KEYS)
def test_every_column_takes_every_key(column: str, role: str, text: str) -> None:
    for user in NAMES["user"]:
        for assistant in NAMES["assistant"]:
            turns = chat(("system", "s"), (user, "a"), (assistant, "b"), role=role, text=text)
            for written in (turns, json.dumps(turns)):
                example = convert({column: written})
                assert said(example) == [("system", "s"), ("user", "a"), ("assistant", "b")]
                for name in ("openai", "sharegpt"):  # the format's name excludes no column
                    assert FORMATS[name].convert(Row({column: written}, "f:1")).id == example.id


def test_every_role_is_known_by_all_its_names() -> None:
    for role, names in NAMES.items():
        assert {ROLES[name.lower()] for name in names} == {role}


@pytest.mark.parametrize("role", ROLE_KEYS)
@pytest.mark.parametrize("text", TEXT_KEYS)
def test_prompt_and_completion_as_turns(role: str, text: str) -> None:
    asked = chat(("system", "s"), ("user", "a"), role=role, text=text)
    answered = chat(("assistant", "b"), role=role, text=text)
    expected = [("system", "s"), ("user", "a"), ("assistant", "b")]
    assert said(convert({"prompt": asked, "completion": answered})) == expected
    assert said(convert({"prompt": asked, "completion": "b"})) == expected
    assert said(convert({"prompt": "a", "system": "s", "completion": answered})) == expected
    as_text = {"prompt": json.dumps(asked), "completion": json.dumps(answered)}
    assert said(convert(as_text)) == expected
    assert said(convert({"question": asked, "answer": answered})) == expected


def test_a_text_that_begins_like_a_list_is_a_text() -> None:
    for text in ("[1, 2] reversed", '[{"x": 1}]', "[{", "{}"):
        assert said(convert({"prompt": text, "completion": text}))[0] == ("user", text)


KEY = st.text("abcdefgh_", min_size=1, max_size=8).filter(
    lambda key: key not in (*ROLE_KEYS, *TEXT_KEYS, *REASONING_KEYS, "id", "date")
)
VALUE = st.one_of(st.text(min_size=1).filter(str.strip), st.integers(), st.booleans(), st.just([0]))


@given(KEY, VALUE, st.sampled_from(("messages", "conversations", "prompt")), st.integers(0, 1))
def test_no_key_of_a_turn_is_lost(key: str, value: Any, column: str, index: int) -> None:
    turns = chat(("user", "a"), ("assistant", "b"))
    turns[index][key] = value
    row = {"prompt": turns[:1], "completion": turns[1:]} if column == "prompt" else {column: turns}
    with pytest.raises(DataError) as caught:
        convert(row)
    assert key in caught.value.where
    assert "data.ignore_keys" in caught.value.fix
    assert said(convert(row, ignore_keys=frozenset({key}))) == [("user", "a"), ("assistant", "b")]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("do_train", False),
        ("should_train", 0),
        ("ignore", True),
        ("thoughts", "Let me see."),
        ("images", ["a.png"]),
        ("redacted", False),
        ("content_type", "code"),
    ],
)
def test_keys_that_might_mean_something_are_refused(key: str, value: Any) -> None:
    with pytest.raises(DataError, match=f"unknown key '{key}'"):
        convert({"messages": [*chat(("user", "a")), {**chat(("assistant", "b"))[0], key: value}]})


def test_all_keys_that_are_not_known_are_named_at_once() -> None:
    turns = [{**one, "country": "IT", "toxic": False} for one in chat(("user", "a"))]
    with pytest.raises(DataError, match="unknown keys 'country', 'toxic'"):
        convert({"messages": [*turns, *chat(("assistant", "b"))]})


def test_harmless_keys_are_counted() -> None:
    notes = Notes()
    turns = [{**one, "id": n, "timestamp": "2026"} for n, one in enumerate(chat(("user", "a")), 1)]
    convert({"messages": [*turns, *chat(("assistant", "b"))]}, notes)
    convert({"messages": [*turns, *chat(("assistant", "b"))]}, notes)
    assert [(note.reason, note.count, note.where) for note in notes.counts()] == [
        ("the key 'id' of turns is ignored", 2, "f:1"),
        ("the key 'timestamp' of turns is ignored", 2, "f:1"),
    ]


def test_what_a_table_of_nested_columns_adds_says_nothing() -> None:
    """Arrow gives every turn the keys of all others, with null."""
    padding: dict[str, Any] = {
        "images": None,
        "loss": None,
        "tool_calls": [],
        "meta": {"x": None, "y": ""},
    }
    turns = [{**one, **padding} for one in chat(("user", "a"), ("assistant", "b"))]
    notes = Notes()
    example = convert({"messages": turns, "tools": None}, notes)
    assert example == convert({"messages": chat(("user", "a"), ("assistant", "b"))})
    assert notes.counts() == ()


def test_two_texts_in_a_turn() -> None:
    turns = [{"role": "user", "content": "a", "text": "c"}, *chat(("assistant", "b"))]
    with pytest.raises(DataError, match="only one can be used"):
        convert({"messages": turns})
    turns[0]["text"] = "a"
    assert said(convert({"messages": turns}))[0] == ("user", "a")
    turns[0]["from"] = "human"
    with pytest.raises(DataError, match="'role' and 'from' both"):
        convert({"messages": turns})


@pytest.mark.parametrize("key", REASONING_KEYS)
def test_reasoning_is_kept_apart(key: str) -> None:
    expected = Message("assistant", "b", reasoning="I think.")
    answer = {"role": "assistant", "content": "b", key: "I think.\n"}
    assert convert({"messages": [*chat(("user", "a")), answer]}).answer == expected
    for row in ({"prompt": "a", "completion": "b"}, {"instruction": "a", "output": "b"}):
        assert convert({**row, key: "I think."}).answer == expected
    for value, problem in ((["x"], "expected a text"), ({"x": 1}, "expected a text")):
        with pytest.raises(DataError, match=problem):
            convert({"messages": [*chat(("user", "a")), {**answer, key: value}]})
    user = {"role": "user", "content": "a", key: "I think."}
    with pytest.raises(DataError, match="only the assistant"):
        convert({"messages": [user, *chat(("assistant", "b"))]})
    assert convert({"messages": [{**user, key: ""}, *chat(("assistant", "b"))]}).answer is None


def test_parts_of_a_turn() -> None:
    parts: list[Any] = [
        {"type": "text", "text": "b", "image_url": None},
        {"type": "text", "text": "c"},
    ]
    thought = {"type": "thinking", "thinking": "Hm."}
    row = {"messages": [*chat(("user", "a")), {"role": "assistant", "content": [thought, *parts]}]}
    assert convert(row).answer == Message("assistant", "b\nc", reasoning="Hm.")
    for part, problem in (
        ({"type": "image_url", "image_url": "x"}, "not text"),
        ({"text": "b"}, "no type"),
        ({"type": "text", "text": "b", "cache": "x"}, "unknown key 'cache'"),
        ({"type": "text", "text": 3}, "expected a text"),
        (7, "no type"),
    ):
        turns = [{"role": "user", "content": [part]}, *chat(("assistant", "b"))]
        with pytest.raises(DataError, match=problem):
            convert({"messages": turns})


@pytest.mark.parametrize("values", [{"images": ["a.png"]}, {"image": "a.png"}, {"audios": [1]}])
def test_rows_with_more_than_text_are_refused(values: dict[str, Any]) -> None:
    row = {"messages": chat(("user", "<image>a"), ("assistant", "b")), **values}
    with pytest.raises(DataError, match="only text is supported"):
        convert(row)
    assert convert(row, ignore_keys=frozenset(values)).references == ("b",)
    assert convert({**row, **dict.fromkeys(values)}).references == ("b",)


def test_an_empty_system_message_is_left_out() -> None:
    for text in ("", "  \n", None):
        turns = [{"from": "system", "value": text}, *chat(("user", "a"), ("assistant", "b"))]
        assert said(convert({"conversations": turns})) == [("user", "a"), ("assistant", "b")]


def test_a_system_column_beside_a_system_message() -> None:
    turns = chat(("system", "s"), ("user", "a"), ("assistant", "b"))
    same = said(convert({"messages": turns, "system": "s"}))
    assert same == [("system", "s"), ("user", "a"), ("assistant", "b")]
    row = {"messages": turns, "system_prompt": "t"}
    with pytest.raises(DataError, match="two turns of the system in a row"):
        convert(row)
    assert said(convert(row, consecutive_turns="merge"))[0] == ("system", "t\n\ns")


ORDER: list[tuple[str, dict[str, Any], str | list[str]]] = [
    ("ua", {}, ["user: 0", "assistant: 1"]),
    ("uua", {}, "two turns of the user in a row"),
    ("uua", {"consecutive_turns": "merge"}, ["user: 0\n\n1", "assistant: 2"]),
    ("ssuuaaua", {}, "two turns of the system in a row"),
    (
        "ssuuaaua",
        {"consecutive_turns": "merge"},
        ["system: 0\n\n1", "user: 2\n\n3", "assistant: 4\n\n5", "user: 6", "assistant: 7"],
    ),
    ("aua", {}, "starts with the assistant"),
    ("aua", {"opening": "drop"}, ["user: 1", "assistant: 2"]),
    ("aua", {"opening": "keep"}, ["assistant: 0", "user: 1", "assistant: 2"]),
    ("saua", {"opening": "drop"}, ["system: 0", "user: 2", "assistant: 3"]),
    ("saua", {"opening": "keep"}, ["system: 0", "assistant: 1", "user: 2", "assistant: 3"]),
    ("a", {"opening": "keep"}, "starts with the assistant"),
    ("a", {"opening": "drop"}, "has no assistant turn"),
    ("sa", {"opening": "keep"}, "starts with the assistant"),
    ("uau", {}, "does not end with the assistant"),
    ("uau", {"ending": "drop"}, ["user: 0", "assistant: 1"]),
    ("uat", {"ending": "drop"}, ["user: 0", "assistant: 1"]),
    ("u", {"ending": "drop"}, "has no assistant turn"),
    ("su", {"ending": "drop"}, "has no assistant turn"),
    ("usa", {}, "in the middle"),
    ("uasua", {"consecutive_turns": "merge", "opening": "keep"}, "in the middle"),
    ("us", {"ending": "drop"}, "has no assistant turn"),
    ("uatta", {}, ["user: 0", "assistant: 1", "tool: 2", "tool: 3", "assistant: 4"]),
    ("utua", {}, "follows the user"),
]


@pytest.mark.parametrize(("order", "rules", "expected"), ORDER)
def test_the_order_of_turns(order: str, rules: dict[str, Any], expected: str | list[str]) -> None:
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    turns = chat(*((roles[letter], str(index)) for index, letter in enumerate(order)))
    notes = Notes()
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected) as caught:
            convert({"messages": turns}, **rules)
        assert 'field "messages' in caught.value.where
        assert caught.value.fix
    else:
        found = said(convert({"messages": turns}, notes, **rules))
        assert [f"{role}: {text}" for role, text in found] == expected
        left = sum(len(text.split("\n\n")) for _, text in found) != len(order)
        assert bool(notes.counts()) == left


def test_every_order_that_can_be_mended_is_said() -> None:
    for order, setting in (("uua", "consecutive_turns"), ("aua", "opening"), ("uau", "ending")):
        roles = {"u": "user", "a": "assistant"}
        with pytest.raises(DataError) as caught:
            convert({"messages": chat(*((roles[letter], "x") for letter in order))})
        assert f"data.{setting}=" in caught.value.fix


def test_only_alike_turns_are_merged() -> None:
    turns = chat(("user", "a"), ("assistant", "b"), ("assistant", "c"))
    turns[1]["train"] = False
    with pytest.raises(DataError, match="only one of them is trained"):
        convert({"messages": turns}, consecutive_turns="merge")


def test_python_is_not_json() -> None:
    turns = chat(("user", "a"), ("assistant", "b"))
    with pytest.raises(DataError, match="looks like JSON but is invalid") as caught:
        convert({"messages": str(turns)})
    assert "json.dumps" in caught.value.fix
    for hostile in ("[" * 100_000, '[{"role": "\\ud83d"}]', '[{"role": 1, "role": 2}]'):
        with pytest.raises(DataError, match="looks like JSON but is invalid"):
            convert({"messages": hostile})


REFUSED = {
    "a key": {"content": None, "refusal": "I cannot say."},
    "a key beside nothing": {"content": "", "refusal": "I cannot say."},
    "a key without content": {"refusal": "I cannot say."},
    "a part": {"content": [{"type": "refusal", "refusal": "I cannot say."}]},
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_a_refusal_is_named_and_trained_by_choice(refused: dict[str, Any]) -> None:
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", **refused}]}
    with pytest.raises(DataError, match=r"the answer is a refusal: 'I cannot say\.'") as caught:
        convert(row)
    assert "data.refusals=train" in caught.value.fix
    example = convert(row, refusals="train")
    assert said(example) == [("user", "a"), ("assistant", "I cannot say.")]


def test_a_refusal_that_is_none_or_has_an_answer_beside_it() -> None:
    row = {"messages": [{"role": "user", "content": "a", "refusal": None}]}
    row["messages"].append({"role": "assistant", "content": "b", "refusal": None})
    assert said(convert(row)) == [("user", "a"), ("assistant", "b")]
    row["messages"][1]["refusal"] = "No."
    for rules in ({}, {"refusals": "train"}):
        with pytest.raises(DataError, match="both a text and a refusal"):
            convert(row, **rules)
    row["messages"][0]["refusal"], row["messages"][1]["refusal"] = "No.", None
    with pytest.raises(DataError, match="unknown key 'refusal'"):
        convert(row, refusals="train")


MERGED, KEPT = {"system_turns": "merge"}, {"system_turns": "keep"}
ALL_MERGED = {**MERGED, "consecutive_turns": "merge"}


@pytest.mark.parametrize(
    ("order", "rules", "expected"),
    [
        ("usa", MERGED, "u01 a2"),
        ("uasua", MERGED, "u0 a1 u23 a4"),
        ("suasua", MERGED, "s0 u1 a2 u34 a5"),
        ("uassua", MERGED, "u0 a1 u234 a5"),
        ("suusa", ALL_MERGED, "s0 u123 a4"),
        ("uasa", MERGED, "in the middle"),
        ("uatsa", MERGED, "in the middle"),
        ("uas", MERGED, "does not end with the assistant"),
        ("uas", {**MERGED, "ending": "drop"}, "u0 a1"),
        ("usa", KEPT, "u0 s1 a2"),
        ("uasua", KEPT, "u0 a1 s2 u3 a4"),
        ("uasa", KEPT, "u0 a1 s2 a3"),
        ("uassua", KEPT, "two turns of the system"),
        ("uaa", KEPT, "two turns of the assistant"),
    ],
)
def test_a_system_message_in_the_middle(order: str, rules: dict[str, Any], expected: str) -> None:
    """vllm#41114, Rapid-MLX#1543: agents write them, and many templates refuse them."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    row = {"messages": chat(*((roles[who], str(index)) for index, who in enumerate(order)))}
    if len(expected) > 2 and " " in expected and expected[1].isdigit():
        found = [role[0] + text.replace("\n\n", "") for role, text in said(convert(row, **rules))]
        assert " ".join(found) == expected
    else:
        with pytest.raises(DataError, match=expected):
            convert(row, **rules)
