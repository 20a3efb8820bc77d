"""The telling part of a prompt, on one line: its last question, without what all end with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile

# Where words, or the tokens of a chat template, begin.
_BOUNDARY = re.compile(r"[\s<\[]")
# As chat templates write them: <|im_end|>, <s>, </s>, <end_of_turn>, [INST].
_SPECIAL = re.compile(r"<[|｜][^<>|｜]{1,60}[|｜]>|</?[\w:.-]{1,60}>|\[/?[A-Z_]{1,60}\]")
# Those that no text of a person or a program is likely to hold.
_MARK = (
    r"(?:<[|｜][^<>|｜]{1,60}[|｜]>|</?s>|<(?:bos|eos|sop|start_of_turn|end_of_turn|SPECIAL_\d+)>"
    r"|\[/?INST\]|\[gMASK\])"
)
_ROLE = r"(?:system|developer|user|assistant|model|tool|ipython|human)"
_HEAD = re.compile(rf"\s*(?:{_MARK}\s*)+(?:{_ROLE}\b\s*(?:{_MARK}\s*)*)?", re.I)
"""Where somebody begins to speak."""
_ASKED = re.compile(
    rf"{_MARK}user\b\s*(?:{_MARK}\s*)*|<[|｜]user(?:_token)?[|｜]>\s*"
    r"|\[INST\]\s*(?:<<SYS>>.*?<</SYS>>)?\s*",
    re.I | re.S,
)
"""Where the user does."""


def common_ending(prompts: Iterable[str]) -> str:
    """What all prompts end with: what a template puts after each question.

    It begins where a word or a template's token does, so that no word is cut; of prompts that are
    all the same there is none.
    """
    turned = sorted({prompt[::-1] for prompt in prompts})
    if len(turned) < 2:
        return ""
    # Between the first and the last in order, all begin alike.
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(turned[0], turned[-1], strict=False))
    ending = "".join(one for one, _ in alike)[::-1]
    boundary = _BOUNDARY.search(ending)
    return ending[boundary.start() :] if boundary else ""


def prompt_end(prompt: str, ending: str, longest: int) -> str:
    """The last question of a prompt, or its last ``longest`` characters, on one line.

    It begins with words of the conversation, where it has any, not with a chat template's tokens.

    Args:
        prompt: as a model sees it.
        ending: what all prompts end with; it is left out.
        longest: characters that are kept at most; words and special tokens stay whole.
    """
    flat = " ".join(prompt.removesuffix(ending).split())
    asked = [match.end() for match in _ASKED.finditer(flat) if flat[match.end() :].strip()]
    begin = asked[-1] if asked else _behind_head(flat, 0)
    if len(flat) - begin <= longest:
        return flat[begin:]
    return f"… {flat[_behind_head(flat, _whole_from(flat, len(flat) - longest)) :]}"


def _behind_head(flat: str, start: int) -> int:
    """The place behind the tokens and the role at ``start``; ``start`` where nothing follows."""
    head = _HEAD.match(flat, start)
    return head.end() if head and flat[head.end() :] else start


def _whole_from(text: str, start: int) -> int:
    """The first place from ``start`` on where neither a word nor a special token is cut.

    A word longer than all that is kept is cut: nothing else would be left of it.
    """
    inside = next((m for m in _SPECIAL.finditer(text) if m.start() < start < m.end()), None)
    if inside:
        return inside.end() + (text[inside.end() : inside.end() + 1] == " ")
    if text[start - 1].isspace() or _BOUNDARY.match(text, start):
        return start + text[start].isspace()
    boundary = _BOUNDARY.search(text, start)
    if boundary is None:
        return start
    return boundary.end() if boundary.group().isspace() else boundary.start()
