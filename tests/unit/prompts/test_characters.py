"""A tokenizer of characters: roles are tokens, and no text can spell one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.config import PromptConfig
from luthier.core.example import Example, Message
from luthier.prompts.characters import CharacterTokenizer, as_conversation, as_text
from luthier.prompts.render import PromptRenderer

MARKS = ("<|user|>", "<|assistant|>", "<|system|>")
TEXTS = st.lists(st.one_of(st.text(), st.sampled_from(MARKS)), min_size=1).map("".join)


def renderer(chat: str) -> PromptRenderer:
    config = PromptConfig.model_validate({"chat_template": chat})
    return PromptRenderer.from_config(config, CharacterTokenizer(), context_window=2**40)


@given(TEXTS, TEXTS)
def test_a_conversation_arrives_as_it_was_whatever_it_spells(system: str, user: str) -> None:
    messages = (Message("system", system), Message("user", user))
    prompt = renderer("auto").prompt(Example("x", messages, ()))
    assert as_conversation(prompt.ids) == messages
    assert prompt.text == f"<|system|>{system}<|user|>{user}<|assistant|>"


@given(TEXTS)
def test_plain_text_arrives_as_it_was(text: str) -> None:
    prompt = renderer("never").prompt(Example("x", (Message("user", text),), ()))
    assert as_conversation(prompt.ids) == ()
    assert as_text(prompt.ids) == text + "\n"


def test_worked_examples_are_turns() -> None:
    turns = (Message("user", "1?"), Message("assistant", "one"), Message("user", "2?"))
    assert as_conversation(renderer("auto").prompt(Example("x", turns, ())).ids) == turns


@pytest.mark.parametrize("text", ["", "a<|user|>é<|assistant|>", "<|system|>"])
def test_ids_say_what_they_were_made_from(text: str) -> None:
    tokenizer = CharacterTokenizer()
    for split in (True, False):
        ids = tokenizer(text, split_special_tokens=split)["input_ids"]
        assert tokenizer.decode(ids) == text
    assert as_text(tokenizer(text, split_special_tokens=True)["input_ids"]) == text
