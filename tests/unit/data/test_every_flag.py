"""Every format with every flag in every spelling: as it says, or refused; never ignored."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.core.row import Row
from luthier.data.conversations import Rules
from luthier.data.fields import Notes
from luthier.data.flag_names import FLAGS, HIDDEN_IF_TRUE, TRAINED_IF_TRUE, WEIGHTS
from luthier.data.problems import RaiseProblems
from luthier.data.row_shapes import FORMATS, Table, detect
from luthier.data.sources import read_file
from luthier.tasks.generation import GenerationTask

BAD = "BAD answer"
UNKNOWN = ("supervised", "is_supervised", "masking", "trained", "no_loss", "lossMask", "skip")
"""No published meaning is known, but they look as if they had one."""
CLEAR = (*TRAINED_IF_TRUE, *HIDDEN_IF_TRUE)
NAMES = (*FLAGS, *WEIGHTS[-1:], *UNKNOWN)
YES = (True, 1, 1.0, "1", "true", "True", "yes", " TRUE ", "1.0")
NO = (False, 0, 0.0, "0", "false", "False", "no", "0.0", -0.0)
NOTHING = (None, "", "  ")
NOT_A_NUMBER = (math.nan, math.inf, -math.inf, "NaN", "nan")
NO_FLAG = ("maybe", "off", "n", "f", "none", "nope", 2, -1, "off?", {"x": 1})
VALUES = (*YES, *NO, *NOTHING, *NOT_A_NUMBER, *NO_FLAG)

USER, ANSWER = {"role": "user", "content": "Where?"}, {"role": "assistant", "content": BAD}
GIVEN, SAID = {"from": "human", "value": "Where?"}, {"from": "gpt", "value": BAD}
CALL = {"role": "assistant", "content": None}
CALL["tool_calls"] = [{"function": {"name": "find", "arguments": {"what": BAD}}}]
ROWS: dict[str, dict[str, Any]] = {
    "openai": {"messages": [USER, ANSWER]},
    "openai as text": {"messages": json.dumps([USER, ANSWER])},
    "sharegpt": {"conversations": [GIVEN, SAID]},
    "alpaca": {"instruction": "Where?", "output": BAD},
    "alpaca with history": {"instruction": "Where?", "output": BAD, "history": [["a", "b"]]},
    "prompt and completion": {"prompt": "Where?", "completion": BAD},
    "question and answer": {"question": "Where?", "answer": BAD},
    "prompt and completion as turns": {"prompt": [USER], "completion": [ANSWER]},
    "text": {"text": BAD},
    "glaive": {"system": "SYSTEM: Be brief.", "chat": f"USER: Where?\n\n\nASSISTANT: {BAD}"},
    "a call": {"messages": [USER, CALL], "tools": [{"name": "find"}]},
    "exchange": {"conversation": [{"input": "Where?", "output": BAD}]},
}
TURNS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "openai": lambda flag: {"messages": [USER, ANSWER | flag]},
    "openai as text": lambda flag: {"messages": json.dumps([USER, ANSWER | flag])},
    "by columns": lambda flag: {
        "messages": {
            "role": ["user", "assistant"],
            "content": ["Where?", BAD],
            **{name: [None, value] for name, value in flag.items()},
        }
    },
    "sharegpt": lambda flag: {"conversations": [GIVEN, SAID | flag]},
    "completion": lambda flag: {"prompt": [USER], "completion": [ANSWER | flag]},
    "prompt": lambda flag: {"prompt": [USER, ANSWER | flag, USER], "completion": "Good."},
    "a call": lambda flag: {"messages": [USER, CALL | flag], "tools": [{"name": "find"}]},
    "a call as a turn": lambda flag: {
        "conversations": [
            GIVEN,
            {
                "from": "function_call",
                "value": json.dumps({"name": "find", "arguments": {"a": BAD}}),
            }
            | flag,
        ]
    },
    "exchange": lambda flag: {"conversation": [{"input": "Where?", "output": BAD} | flag]},
}
TEMPLATE = GenerationTask.model_validate(
    {
        "kind": "generate",
        "name": "x",
        "prompt": "{{ a }}",
        "completion": "{{ b }}",
        "metrics": ["exact_match"],
    }
)


def outcome(row: dict[str, Any], notes: Notes | None = None) -> str:
    try:
        example = detect(row).convert(Row(row, "f:1"), "", Rules(), notes)
    except DataError as error:
        return "refused" if error.problem else "without a reason"
    return "trained" if BAD in said(example) else "hidden"


def said(example: Example) -> str:
    """What the loss counts."""
    turns = (*example.messages, example.trained_answer) if example.weight else ()
    return " ".join(
        turn.content + "".join(call.arguments for call in turn.tool_calls)
        for turn in turns
        if turn.role == "assistant" and turn.is_trained
    )


def is_one_of(value: Any, values: tuple[Any, ...]) -> bool:
    return any(type(value) is type(other) and repr(value) == repr(other) for other in values)


def meant(name: str, value: Any, unsaid: str = "trained") -> str:
    """What a flag says."""
    if is_one_of(value, NOTHING):
        return unsaid
    if name not in CLEAR or not is_one_of(value, (*YES, *NO)):
        return "refused"
    return "trained" if is_one_of(value, YES) is not (name in HIDDEN_IF_TRUE) else "hidden"


@pytest.mark.sample(60)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "sample_weight"])
@pytest.mark.parametrize("kind", TURNS)
def test_a_flag_of_a_turn(kind: str, name: str) -> None:
    for value in VALUES:
        # The answers in a prompt are not trained unless a flag says so.
        expected = meant(name, value, "hidden" if kind == "prompt" else "trained")
        if kind == "openai as text" and name in UNKNOWN and value in NOT_A_NUMBER[:3]:
            expected = "trained"  # under any other key they are read as null
        assert (value, outcome(TURNS[kind]({name: value}))) == (value, expected)


@pytest.mark.sample(60)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ROWS)
def test_a_flag_of_a_row(kind: str, name: str) -> None:
    for value in VALUES:
        found = outcome({**ROWS[kind], name: value})
        if name in WEIGHTS and not is_one_of(value, NOTHING):  # a number from 0
            number = float(value) if is_number(value) else math.nan
            counts = "trained" if number else "hidden"
            assert (value, found) == (value, counts if 0 <= number < math.inf else "refused")
        elif name in UNKNOWN and not is_one_of(value, (*YES, *NO)):
            assert found in ("trained", "refused")  # a column like any other, which is named
        else:
            assert (value, found) == (value, meant(name, value))


def is_number(value: Any) -> bool:
    try:
        return isinstance(value, (str, int, float)) and math.isfinite(float(value))
    except ValueError:
        return False


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["openai", "openai as text", "sharegpt", "glaive", "a call"])
def test_a_flag_for_every_turn(kind: str, name: str) -> None:
    for value in VALUES:
        flags = [value, value, value] if kind == "glaive" else [value, value]
        found = outcome({**ROWS[kind], name: flags})
        if name in UNKNOWN and not is_one_of(value, (*YES, *NO)):
            assert found in ("trained", "refused")
        elif name not in CLEAR:
            assert found == "refused"
        else:
            assert (value, found) == (value, meant(name, value))


@pytest.mark.parametrize("name", NAMES)
def test_a_preference_row_is_refused(name: str) -> None:
    for value in VALUES:
        for row in (
            {"prompt": "Where?", "chosen": "Good.", "rejected": BAD},
            {"chosen": [USER, ANSWER], "rejected": [USER, ANSWER]},
            {"prompt": "Where?", "completion": BAD, "label": False},
        ):
            assert outcome({**row, name: value}) == "refused"


@pytest.mark.parametrize("name", NAMES)
def test_a_flag_beside_a_template(name: str) -> None:
    """A weight may be anything there, and is named; what a template uses says nothing else."""
    for value in (*YES, *NO, *NOTHING):
        notes = Notes()
        row = {"a": "Where?", "b": BAD, name: value}
        example = Table(TEMPLATE).convert(Row(row, "f:1"), "", Rules(), notes)
        if name in CLEAR and name not in WEIGHTS:
            assert (said(example) == BAD) is (meant(name, value) == "trained")
        else:
            assert example.weight == 1
            assert (name in notes.unused) is not is_one_of(value, NOTHING)
    used = {"a": "Where?", "b": BAD, "train": False}
    uses = TEMPLATE.model_copy(update={"prompt": "{{ a }} {{ train }}"})
    assert Table(uses).convert(Row(used, "f:1"), "", Rules(), notes).weight == 1


def test_every_format_is_tried() -> None:
    assert {detect(row).name for row in ROWS.values()} == set(FORMATS)


def read(path: Path) -> list[str]:
    problems = RaiseProblems()
    return [outcome(row.values) for row in read_file(path, problems)]


def test_flags_in_files(tmp_path: Path) -> None:
    """An absent cell says nothing; NaN is a number that somebody failed to compute."""
    lines = tmp_path / "a.jsonl"
    row = json.dumps(ROWS["openai"])[:-1]
    lines.write_text("\n".join(f'{row}, "weight": {v}}}' for v in ("NaN", "null", "0", "Infinity")))
    assert read(lines) == ["refused", "trained", "hidden", "refused"]
    lines.write_text(json.dumps(TURNS["openai"]({"weight": math.nan})))
    assert read(lines) == ["refused"]
    lines.write_text(json.dumps(TURNS["openai as text"]({"loss": math.nan})))
    assert read(lines) == ["refused"]
    lines.write_text(json.dumps(TURNS["openai"]({"timestamp": math.nan})))
    assert read(lines) == ["trained"]
    cells = tmp_path / "a.csv"
    cells.write_text(f"prompt,completion,train\na,{BAD},\nb,{BAD},NaN\nc,{BAD},0\nd,{BAD},1.0\n")
    assert read(cells) == ["trained", "refused", "hidden", "trained"]


def test_flags_in_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    rows = [
        {"messages": [USER | {"weight": None}, ANSWER | {"weight": value}], "more": math.nan}
        for value in (1.0, 0.0, None, math.nan)
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    assert read(path) == ["trained", "hidden", "trained", "refused"]
