"""What a model thinks before it answers, and how that is told from the answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from luthier.core.example import Message


class ThinkTags(NamedTuple):
    """What stands around reasoning."""

    open: str
    close: str

    def around(self, reasoning: str) -> str:
        """Reasoning as it stands before an answer; nothing in it stands for no reasoning."""
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
    """The beginning of an answer.

    Attributes:
        text: all that stands before the answer, with its tags.
        reasoning: what is between the tags.
    """

    text: str
    reasoning: str


NO_THOUGHT = Thought("", "")
_BEGINNING = 200  # characters in which reasoning begins, behind white space


def split_thought(content: str, known: Iterable[ThinkTags] = KNOWN_TAGS) -> tuple[Thought, str]:
    """Reasoning that stands at the beginning of a text, and the rest of it.

    What a thinking model generated has no opening tag where the prompt ended with it.
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
    """The reasoning of a turn, whether it is kept apart or stands in the content; and the rest."""
    if turn.role != "assistant":
        return NO_THOUGHT, turn.content
    if turn.reasoning.strip():
        return Thought(tags.around(turn.reasoning), turn.reasoning.strip()), turn.content
    return split_thought(turn.content)


def answer_only(text: str) -> str:
    """An answer without the reasoning before it."""
    return split_thought(text)[1]


def inline(turn: Message) -> str:
    """What a turn says where no chat template writes it: reasoning in tags, then the answer."""
    thought, content = thought_of(turn, KNOWN_TAGS[0])
    return thought.text + content


def without_thought(text: str, known: Sequence[ThinkTags], *, is_opened: bool) -> str:
    """A generated text without the reasoning before the answer.

    Args:
        text: what was generated.
        known: the tags that may stand around reasoning.
        is_opened: the prompt ends with the tag that opens reasoning.

    Returns:
        Nothing where the reasoning does not end. A text that closes what it did not open began
        within its reasoning, whatever stands in the prompt. Reasoning may come in several parts.
    """
    beginning = text.lstrip()
    begun = [tags for tags in known if beginning.startswith(tags.open)]
    for tags in begun or known:  # some open alike and close otherwise
        before, closed, answer = text.partition(tags.close)
        unopened = tags in KNOWN_TAGS and tags.open not in before
        if closed and (begun or is_opened or unopened):
            return without_thought(answer.lstrip(), known, is_opened=False)
    return "" if begun or is_opened else text


def missing_part(whole: str, before: str) -> str:
    """``whole`` without the beginning with which ``before`` ends already."""
    for length in range(min(len(whole), len(before)), 0, -1):
        if before.endswith(whole[:length]):
            return whole[length:]
    return whole
