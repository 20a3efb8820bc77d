"""Reasoning before an answer, and its separation from the answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from luthier.core.example import Message


class ThinkTags(NamedTuple):
    """The tags around reasoning."""

    open: str
    close: str

    def around(self, reasoning: str) -> str:
        """The reasoning in tags, as it precedes an answer; empty tags mean no reasoning."""
        return f"{self.open}\n{reasoning.strip()}\n{self.close}\n\n"


KNOWN_TAGS = tuple(
    ThinkTags(*pair)
    for pair in (
        ("<think>", "</think>"),  # DeepSeek-R1, Qwen3, QwQ, SmolLM3, GLM-4.5, Nemotron
        ("<thinking>", "</thinking>"),
        ("<thought>", "</thought>"),  # EXAONE Deep
        ("<reasoning>", "</reasoning>"),
        ("[THINK]", "[/THINK]"),  # Magistral
        ("<seed:think>", "</seed:think>"),  # Seed-OSS
        ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
        ("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThinker, Sky-T1
        ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
        ("◁think▷", "◁/think▷"),  # Kimi
        ("<|channel>thought", "<channel|>"),  # Gemma 4
        (  # gpt-oss; a message of its own, or the same one
            "<|channel|>analysis<|message|>",
            "<|end|><|start|>assistant<|channel|>final<|message|>",
        ),
        ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
    )
)


class Thought(NamedTuple):
    """The reasoning before an answer.

    Attributes:
        text: all text before the answer, with the tags.
        reasoning: the text between the tags.
    """

    text: str
    reasoning: str


NO_THOUGHT = Thought("", "")
_BEGINNING = 200  # the opening tag ends within these characters, white space included


def split_thought(content: str, known: Iterable[ThinkTags] = KNOWN_TAGS) -> tuple[Thought, str]:
    """Split a text into the reasoning at its beginning and the rest.

    A generated text lacks the opening tag if the prompt ended with it.
    """
    beginning = content[:_BEGINNING].lstrip()
    for tags in known:
        begins = beginning.startswith(tags.open)
        if begins and (match := _pattern(tags).match(content)):
            return Thought(match[0], match[1].strip()), content[match.end() :]
    usual = KNOWN_TAGS[0]
    reasoning, closed, answer = content.partition(usual.close)
    if closed and usual.open not in reasoning:
        return Thought(usual.around(reasoning), reasoning.strip()), answer.lstrip()
    return NO_THOUGHT, content


@lru_cache(maxsize=64)
def _pattern(tags: ThinkTags) -> re.Pattern[str]:
    return re.compile(rf"\s*{re.escape(tags.open)}(.*?){re.escape(tags.close)}\s*", re.DOTALL)


def thought_of(turn: Message, tags: ThinkTags) -> tuple[Thought, str]:
    """The reasoning of a turn, from its own field or from the content, and the rest."""
    if turn.role != "assistant":
        return NO_THOUGHT, turn.content
    if turn.reasoning.strip():
        return Thought(tags.around(turn.reasoning), turn.reasoning.strip()), turn.content
    return split_thought(turn.content)


def answer_only(text: str) -> str:
    """An answer without the reasoning before it."""
    return split_thought(text)[1]


def inline(turn: Message) -> str:
    """The text of a turn without a chat template: reasoning in tags, then the answer."""
    thought, content = thought_of(turn, KNOWN_TAGS[0])
    return thought.text + content


def without_thought(text: str, known: Sequence[ThinkTags], *, is_opened: bool) -> str:
    """A generated text without the reasoning before the answer.

    Args:
        text: the generated text.
        known: the possible tags around reasoning.
        is_opened: whether the prompt ends with the tag that opens reasoning.

    Returns:
        The answer; empty if the reasoning does not end. A text with a closing but no opening tag
        began within its reasoning, whatever the prompt is. Reasoning may have several parts.
    """
    beginning = text.lstrip()
    begun = [tags for tags in known if beginning.startswith(tags.open)]
    for tags in begun or known:  # some share the opening tag and differ in the closing one
        before, closed, answer = text.partition(tags.close)
        unopened = tags in KNOWN_TAGS and tags.open not in before
        if closed and (begun or is_opened or unopened):
            return without_thought(answer.lstrip(), known, is_opened=False)
    return "" if begun or is_opened else text


def missing_part(whole: str, before: str) -> str:
    """``whole`` without its longest prefix that is a suffix of ``before``."""
    for length in range(min(len(whole), len(before)), 0, -1):
        if before.endswith(whole[:length]):
            return whole[length:]
    return whole
