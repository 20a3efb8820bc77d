"""Prompts for a server: messages stay apart, so no row can speak in another's name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.config import PromptConfig
from luthier.core.errors import DataError, UsageError
from luthier.core.example import Example, Message, ToolCall
from luthier.prompts.prompt import Conversation
from luthier.prompts.served import ServedRenderer

MARKS = ("<|user|>", "<|assistant|>", "<|system|>")
TEXTS = st.lists(st.one_of(st.text(), st.sampled_from(MARKS)), min_size=1).map("".join)


def renderer(*, continues: bool = True, **settings: object) -> ServedRenderer:
    return ServedRenderer.from_config(PromptConfig.model_validate(settings), continues=continues)


@given(TEXTS, TEXTS)
def test_a_conversation_arrives_as_it_was_whatever_it_spells(system: str, user: str) -> None:
    messages = (Message("system", system), Message("user", user))
    prompt = renderer().prompt(Example("x", messages, ()))
    assert prompt.content == Conversation(messages)
    assert prompt.text == f"<|system|>{system}<|user|>{user}<|assistant|>"


@given(TEXTS)
def test_plain_text_arrives_as_it_was(text: str) -> None:
    example = Example("x", (Message("user", text),), ())
    assert renderer(chat_template="never").prompt(example).content == f"{text}\n"
    said = renderer(chat_template="never", continues=False).prompt(example).content
    assert said == Conversation((Message("user", f"{text}\n"),))


def test_worked_examples_are_turns_with_their_reasoning() -> None:
    turns = (
        Message("user", "1?"),
        Message("assistant", "one", reasoning="It is 1."),
        Message("user", "2?"),
    )
    example = Example("x", turns, ())
    kept = renderer(system="Count.").prompt(example).content
    assert isinstance(kept, Conversation)
    assert [turn.role for turn in kept.messages] == ["system", "user", "assistant", "user"]
    assert kept.messages[2].content == "<think>\nIt is 1.\n</think>\n\none"
    dropped = renderer(reasoning="drop").prompt(example).content
    assert isinstance(dropped, Conversation)
    assert dropped.messages[1] == Message("assistant", "one")


def test_a_blank_line_ends_plain_answers_that_have_none() -> None:
    examples = [Example("x", (), ("one\ntwo",))]
    assert renderer(chat_template="never").stop_strings(examples) == ("\n\n",)
    assert renderer(chat_template="never").stop_strings([Example("x", (), ("a\n\nb",))]) == ()
    assert renderer().stop_strings(examples) == ()


def test_what_a_server_cannot_take_is_refused() -> None:
    with pytest.raises(DataError, match="no prompt"):
        renderer().prompt(Example("x", (), ("text",)))
    calls = (Message("user", "?"), Message("assistant", "", tool_calls=(ToolCall("look"),)))
    for example in (Example("x", calls, ()), Example("x", calls[:1], (), tools="[]")):
        with pytest.raises(DataError, match="tools are not sent"):
            renderer().prompt(example)
    with pytest.raises(UsageError, match="on its server"):
        renderer().tokenised()
    for settings in ({"chat_template": "own.jinja"}, {"chat_template_kwargs": {"a": 1}}):
        with pytest.raises(UsageError, match="its own chat template"):
            renderer(**settings)
