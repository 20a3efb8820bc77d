"""Whatever a row holds, it is read or refused with a place; nothing else comes out."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.core.row import Row
from luthier.data.conversations import Rules
from luthier.data.fields import Notes
from luthier.data.flag_names import FLAGS, WEIGHTS
from luthier.data.row_shapes import FORMATS
from luthier.data.turns import REASONING_KEYS, ROLE_KEYS, ROLES, TEXT_KEYS

WORDS = [
    *("", " ", "a", "[", "{", "[]", "{}", "[1]", '{"name": "f"}', "USER: a", "ASSISTANT: b"),
    *(
        "<functioncall>",
        "USER: a\nASSISTANT: <functioncall> {}",
        "\x00",
        "true",
        "0",
        "nan",
        "1e999",
    ),
    *("-1", "9" * 5000, '["\\ud83d"]', "[" * 5000, "x with access to the following functions {"),
]
TEXTS = st.sampled_from(WORDS)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just(10**400)
TURN_KEYS = (*ROLE_KEYS, *TEXT_KEYS, *REASONING_KEYS, *FLAGS, "tool_calls", "function_call", "name")
CALL = st.dictionaries(st.sampled_from(["name", "arguments", "function", "id", "type"]), PLAIN)
VALUE = PLAIN | CALL | st.lists(PLAIN | CALL, max_size=3)
KINDS = st.sampled_from(["text", "thinking", 3])
PART = st.fixed_dictionaries({"type": KINDS}, optional={"text": PLAIN})
SAID = st.sampled_from(
    ["a", "b\n", "[1]", '{"name": "f", "arguments": {"x": null}}', "{", "<think>"]
)
MORE = st.dictionaries(
    st.sampled_from(TURN_KEYS), st.none() | VALUE | st.lists(PART, max_size=2), max_size=1
)
TURN = st.builds(
    lambda role, text, more: {"role": role, "content": text, **more},
    st.sampled_from(list(ROLES)),
    SAID,
    MORE,
)
TURNS = st.lists(TURN, max_size=3).flatmap(
    lambda more: st.permutations(
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, *more]
    )
)
WRITTEN = TURNS | TURNS.map(lambda turns: json.dumps(turns, default=str))
COLUMNS = (
    *("prompt", "completion", "instruction", "input", "output", "messages", "conversations"),
    *("history", "system", "chat", "text", "tools", "functions", "images", "label"),
    *(*FLAGS, *WEIGHTS),
)
BASES = {
    "prompt-completion": {"prompt": SAID | WRITTEN, "completion": SAID | WRITTEN},
    "alpaca": {"instruction": SAID, "output": SAID},
    "openai": {"messages": WRITTEN},
    "sharegpt": {"conversations": WRITTEN},
    "glaive": {"system": TEXTS, "chat": st.lists(TEXTS, max_size=4).map("\n".join)},
    "text": {"text": SAID},
}
BESIDE = st.dictionaries(st.sampled_from(COLUMNS), VALUE, max_size=2)
NAMED_ROWS = st.sampled_from(sorted(BASES)).flatmap(
    lambda name: st.tuples(st.just(name), st.fixed_dictionaries(BASES[name]), BESIDE)
)
RULES = st.builds(
    Rules,
    consecutive_turns=st.sampled_from(["error", "merge"]),
    opening=st.sampled_from(["error", "keep", "drop"]),
    ending=st.sampled_from(["error", "drop"]),
)


def test_all_formats_are_tried() -> None:
    assert set(BASES) == set(FORMATS)


@settings(max_examples=600)
@given(NAMED_ROWS, RULES)
def test_a_row_is_read_or_refused(
    row: tuple[str, dict[str, Any], dict[str, Any]], rules: Rules
) -> None:
    name, base, beside = row
    values = {**base, **beside}
    try:
        example = FORMATS[name].convert(Row(values, "f:1"), "", rules, Notes())
    except DataError as error:
        refused = error.where
    else:
        _check(example)
        refused = "f:1"
    assert refused.startswith("f:1")


def _check(example: Example) -> None:
    example.id.encode()
    assert example.references[0].strip()
    assert example.trained_answer.role == "assistant"
    assert example.weight >= 0
    if example.tools:
        assert all(tool["function"]["name"] for tool in json.loads(example.tools))
    for turn in example.messages:
        assert all(isinstance(json.loads(call.arguments), dict) for call in turn.tool_calls)
