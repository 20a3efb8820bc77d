"""Every flag, in every format, of a turn and of a row: what is not to be trained never is."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.core.row import Row
from luthier.data.conversations import Rules
from luthier.data.fields import Notes
from luthier.data.flag_names import FLAGS, HIDDEN_IF_TRUE, TRAINED_IF_TRUE, WEIGHTS
from luthier.data.row_shapes import FORMATS, detect

ON = (
    "weight",
    "loss",
    "loss_mask",
    "loss_weight",
    "loss_scale",
    "train",
    "training",
    "trainable",
    "learn",
)
OFF = ("masked",)
UNCLEAR = ("mask", "train_detail", "training_detail")
BAD, GOOD = "BAD answer", "good answer"
FALSE = (False, 0, 0.0, "false", "False", "0", "no", "0.0")
TRUE = (True, 1, 1.0, "true", "True", "1", "yes")
KEYS = (("role", "content"), ("from", "value"), ("role", "text"), ("from", "content"))


def turn(role: str, text: str, keys: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {keys[0]: role, keys[1]: text, **more}


def conversation(keys: tuple[str, str], **flags: Any) -> list[dict[str, Any]]:
    return [
        turn("user", "Where?", keys),
        turn("assistant", BAD, keys, **flags),
        turn("user", "Please be exact.", keys),
        turn("assistant", GOOD, keys),
    ]


def in_messages(keys: tuple[str, str], **flags: Any) -> dict[str, Any]:
    return {"messages": conversation(keys, **flags)}


def in_conversations(keys: tuple[str, str], **flags: Any) -> dict[str, Any]:
    return {"conversations": conversation(keys, **flags)}


def in_json_text(keys: tuple[str, str], **flags: Any) -> dict[str, Any]:
    return {"messages": json.dumps(conversation(keys, **flags))}


def in_completion(keys: tuple[str, str], **flags: Any) -> dict[str, Any]:
    turns = conversation(keys, **flags)
    return {"prompt": turns[:1], "completion": turns[1:]}


def in_columns(keys: tuple[str, str], **flags: Any) -> dict[str, Any]:
    """As Hub data sets hold a sequence of features."""
    turns = conversation(keys, **flags)
    names = {name: None for one in turns for name in one}
    return {"conversations": {name: [one.get(name) for one in turns] for name in names}}


def in_prompt(keys: tuple[str, str], **flags: Any) -> dict[str, Any]:
    turns = conversation(keys, **flags)
    return {"prompt": turns[:3], "completion": turns[3:]}


CHATS: tuple[Callable[..., dict[str, Any]], ...] = (
    in_messages,
    in_conversations,
    in_json_text,
    in_columns,
    in_completion,
    in_prompt,
)
ROWS: dict[str, dict[str, Any]] = {
    "prompt-completion": {"prompt": "Where?", "completion": BAD},
    "alpaca": {"instruction": "Where?", "output": BAD},
    "sharegpt": {"conversations": [turn("human", "Where?", KEYS[1]), turn("gpt", BAD, KEYS[1])]},
    "openai": {"messages": [turn("user", "Where?", KEYS[0]), turn("assistant", BAD, KEYS[0])]},
    "glaive": {"system": "SYSTEM: Be brief.", "chat": f"USER: Where?\n\n\nASSISTANT: {BAD}"},
    "text": {"text": BAD},
}


def convert(values: dict[str, Any], rules: Rules | None = None) -> Example:
    return detect(values).convert(Row(values, "f:1"), "", rules or Rules(), Notes())


def trained(example: Example) -> list[str]:
    """What the loss counts."""
    turns = (*example.messages, example.trained_answer)
    if not example.weight:
        return []
    return [one.content for one in turns if one.role == "assistant" and one.is_trained]


def test_every_flag_is_tried() -> None:
    assert set(ON + OFF + UNCLEAR) | {"is_trained", "output_with_loss"} == set(FLAGS)
    assert set(ROWS) == set(FORMATS)


@pytest.mark.sample(60)
@pytest.mark.parametrize("name", TRAINED_IF_TRUE + HIDDEN_IF_TRUE)
@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("keys", KEYS)
def test_a_turn_that_is_not_to_be_trained(
    name: str, chat: Callable[..., dict[str, Any]], keys: tuple[str, str]
) -> None:
    for hides, value in [(name in HIDDEN_IF_TRUE, v) for v in TRUE] + [
        (name not in HIDDEN_IF_TRUE, v) for v in FALSE
    ]:
        example = convert(chat(keys, **{name: value}))
        assert trained(example) == ([GOOD] if hides else [BAD, GOOD])
        assert [one.content for one in example.messages][1] == BAD  # it is still read
    expected = [GOOD] if chat is in_prompt else [BAD, GOOD]
    assert trained(convert(chat(keys, **{name: None}))) == expected


@pytest.mark.parametrize("name", UNCLEAR)
@pytest.mark.parametrize("chat", CHATS)
def test_a_flag_without_one_meaning_is_refused(
    name: str, chat: Callable[..., dict[str, Any]]
) -> None:
    for value in (True, False, 1, [{"begin_offset": 0, "end_offset": 3, "train": False}]):
        values = chat(KEYS[0], **{name: value})
        with pytest.raises(DataError) as caught:
            convert(values)
        assert name in caught.value.where
        assert "data.ignore_keys" in caught.value.fix
        assert BAD in trained(convert(values, Rules(ignore_keys=frozenset({name})))) or (
            chat is in_prompt
        )


@pytest.mark.parametrize("value", ["maybe", 0.5, 2, [1], {"x": 1}, -1])
@pytest.mark.parametrize("name", ["weight", "loss", "masked"])
def test_a_flag_is_true_or_false(name: str, value: Any) -> None:
    with pytest.raises(DataError, match="true or false"):
        convert(in_messages(KEYS[0], **{name: value}))


def test_flags_that_contradict_each_other() -> None:
    with pytest.raises(DataError, match="'weight' and 'train' contradict"):
        convert(in_messages(KEYS[0], weight=1, train=False))
    assert trained(convert(in_messages(KEYS[0], weight=0, train=False, masked=True))) == [GOOD]


@pytest.mark.parametrize("format_", ROWS)
@pytest.mark.parametrize("name", [*TRAINED_IF_TRUE, *HIDDEN_IF_TRUE, "sample_weight"])
def test_a_row_that_is_not_to_be_trained(format_: str, name: str) -> None:
    hides = name in HIDDEN_IF_TRUE
    for value in TRUE if hides else FALSE:
        if name in WEIGHTS and str(value).lower() in ("false", "no"):
            continue  # a weight is a number
        assert convert({**ROWS[format_], name: value}).weight == 0
    for value in (False, "0") if hides else (1, "1.0"):
        assert trained(convert({**ROWS[format_], name: value})) == [BAD]


@pytest.mark.parametrize("format_", ROWS)
@pytest.mark.parametrize("name", ["mask", "train_detail"])
def test_a_row_with_a_flag_without_one_meaning(format_: str, name: str) -> None:
    for value in ("User", True, [0, 1]):
        with pytest.raises(DataError, match="f:1"):
            convert({**ROWS[format_], name: value})


@pytest.mark.parametrize("name", [*TRAINED_IF_TRUE, *HIDDEN_IF_TRUE])
@pytest.mark.parametrize("chat", CHATS)
def test_a_row_that_lists_a_flag_for_every_turn(
    name: str, chat: Callable[..., dict[str, Any]]
) -> None:
    """LLaMA-Factory's ``loss_mask``."""
    for flags in itertools.product((0, 1), repeat=4):
        values = [1 - flag for flag in flags] if name in HIDDEN_IF_TRUE else list(flags)
        expected = [text for text, flag in ((BAD, flags[1]), (GOOD, flags[3])) if flag]
        for written in (values, [bool(value) for value in values], json.dumps(values)):
            example = convert({**chat(KEYS[0], train=True), name: written})
            assert trained(example) == expected


@pytest.mark.parametrize("name", TRAINED_IF_TRUE)
def test_a_question_with_its_answer_in_one_turn(name: str) -> None:
    """XTuner, Capybara."""
    pairs = [
        {"system": "Be exact.", "input": "Where?", "output": BAD, name: False},
        {"input": "Please be exact.", "output": GOOD, "source": "x"},
    ]
    example = convert({"conversation": pairs})
    assert [one.role for one in example.messages] == ["system", "user", "assistant", "user"]
    assert trained(example) == [GOOD]
    with pytest.raises(DataError, match="unknown key 'thoughts'"):
        convert({"conversation": [{**pairs[0], "thoughts": "Hm."}]})


def test_a_list_of_flags_has_an_entry_for_every_turn() -> None:
    system = {"role": "system", "content": "Be exact."}
    row = {"messages": [system, *conversation(KEYS[0])]}
    for flags in ([0, 0, 0, 1], [0, 0, 0, 0, 1]):  # without the system message, and with it
        assert trained(convert({**row, "loss_mask": flags})) == [GOOD]
    for flags in ([0], [0, 0, 1], [0] * 6):
        with pytest.raises(DataError, match="entries, but the conversation has 5 turns"):
            convert({**row, "loss_mask": flags})
    history = {"instruction": "b", "output": GOOD, "history": [["a", BAD]]}
    assert trained(convert({**history, "loss_mask": [0, 0, 0, 1]})) == [GOOD]


def test_what_follows_the_last_trained_answer_is_no_reference() -> None:
    turns = [*conversation(KEYS[0]), turn("user", "And?", KEYS[0]), turn("assistant", BAD, KEYS[0])]
    notes = Notes()
    values = {"messages": turns, "loss_mask": [1, 1, 1, 1, 1, 0]}
    example = FORMATS["openai"].convert(Row(values, "f:1"), "", Rules(), notes)
    assert example.references == (GOOD,)
    assert [note.reason for note in notes.counts()] == [
        "turns after the last trained answer are dropped"
    ]


def test_only_the_assistants_turns_are_trained_and_that_is_said() -> None:
    notes = Notes()
    turns = [{**one, "weight": 1} for one in conversation(KEYS[0])]
    example = FORMATS["openai"].convert(Row({"messages": turns}, "f:1"), "", Rules(), notes)
    assert trained(example) == [BAD, GOOD]
    (note,) = notes.counts()
    assert note.count == 2
    assert "a turn of the user is marked as trained" in note.reason


def test_earlier_answers_of_a_prompt_are_no_completion() -> None:
    """TRL's conversational prompt and completion: the loss counts the completion."""
    assert trained(convert(in_prompt(KEYS[0]))) == [GOOD]
    assert trained(convert(in_completion(KEYS[0]))) == [BAD, GOOD]


@given(st.floats(0, 1e9), st.sampled_from(WEIGHTS), st.sampled_from(sorted(ROWS)), st.booleans())
def test_a_weight_is_any_number_from_zero(
    weight: float, name: str, format_: str, as_text: bool
) -> None:
    value = repr(weight) if as_text else weight
    assert convert({**ROWS[format_], name: value}).weight == weight
    row = Row({**ROWS[format_], "importance": value}, "f:1")
    assert FORMATS[format_].convert(row, "", Rules(weight="importance")).weight == weight


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "12 kg", {"x": 1}, "-0.5"])
def test_a_weight_that_is_none(value: Any) -> None:
    for name, rules in (("weight", Rules()), ("w", Rules(weight="w"))):
        with pytest.raises(DataError, match="a number of at least 0") as caught:
            convert({**ROWS["prompt-completion"], name: value}, rules)
        assert name in caught.value.where
    row = {**ROWS["prompt-completion"], "weight": value}
    assert convert(row, Rules(ignore_keys=frozenset({"weight"}))).weight == 1


def test_two_weights_need_a_choice() -> None:
    row = {**ROWS["alpaca"], "weight": 2, "sample_weight": 3}
    with pytest.raises(DataError, match="only one can be used"):
        convert(row)
    assert convert(row, Rules(weight="sample_weight")).weight == 3


@pytest.mark.parametrize("name", ["label", "kto_tag"])
@pytest.mark.parametrize("value", [True, False, "False"])
def test_rows_that_say_whether_an_answer_is_good_are_not_all_trained(name: str, value: Any) -> None:
    """KTO's data; a number or a word as a label stays a column that is not used."""
    with pytest.raises(DataError, match="good answers"):
        convert({**ROWS["prompt-completion"], name: value})
    assert convert({**ROWS["prompt-completion"], name: 3}).weight == 1


ONE_ANSWER, TEXT, TWO_ANSWERS = "a804ad36fb49df66", "63708a6fe06252e0", "4858d5090b5e30a7"
"""Ids as they were before flags, tools and weights were read."""


def test_ids_of_plain_rows_do_not_change() -> None:
    for name in ("prompt-completion", "alpaca", "sharegpt", "openai"):
        assert convert(ROWS[name]).id == ONE_ANSWER
    assert convert(ROWS["text"]).id == TEXT
    assert convert(in_messages(KEYS[0])).id == TWO_ANSWERS
    assert convert({**ROWS["alpaca"], "weight": 3}).id == ONE_ANSWER
    assert convert(in_messages(KEYS[0], loss=True)).id == TWO_ANSWERS
    assert convert(in_messages(KEYS[0], loss=False)).id != TWO_ANSWERS
