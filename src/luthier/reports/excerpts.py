"""One-line excerpts of prompts: the last question, without the common ending."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile

# The start of words or of special tokens.
_BOUNDARY = re.compile(r"[\s<\[]")
# Special tokens of chat templates: <|im_end|>, <s>, </s>, <end_of_turn>, [INST].
_SPECIAL = re.compile(r"<[|｜][^<>|｜]{1,60}[|｜]>|</?[\w:.-]{1,60}>|\[/?[A-Z_]{1,60}\]")
MARK = (
    r"(?:<[|｜][^<>|｜]{1,60}[|｜]>|</?s>|<(?:bos|eos|sop|start_of_turn|end_of_turn|SPECIAL_\d+)>"
    r"|\[/?INST\]|\[gMASK\])"
)
"""Special tokens that are unlikely in ordinary text."""
ROLE = r"(?:system|developer|user|assistant|model|tool|ipython|human)"
_HEAD = re.compile(rf"\s*(?:{MARK}\s*)+(?:{ROLE}\b\s*(?:{MARK}\s*)*)?", re.I)
"""The start of a turn."""
_ASKED = re.compile(
    rf"{MARK}user\b\s*(?:{MARK}\s*)*|<[|｜]user(?:_token)?[|｜]>\s*"
    r"|\[INST\]\s*(?:<<SYS>>.*?<</SYS>>)?\s*",
    re.I | re.S,
)
"""The start of a user's turn."""


def common_ending(prompts: Iterable[str]) -> str:
    """The common ending of all prompts, which a template puts after each question.

    It starts at a word or a special token, so no word is cut; it is empty if all prompts are equal.
    """
    turned = sorted({prompt[::-1] for prompt in prompts})
    if len(turned) < 2:
        return ""
    # The first and last prompts in sorted order share the prefix of all.
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(turned[0], turned[-1], strict=False))
    ending = "".join(one for one, _ in alike)[::-1]
    boundary = _BOUNDARY.search(ending)
    return ending[boundary.start() :] if boundary else ""


def prompt_end(prompt: str, ending: str, longest: int) -> str:
    """The last question of a prompt, or its last ``longest`` characters, on one line.

    If possible, it starts with words of the conversation instead of special tokens.

    Args:
        prompt: the full prompt.
        ending: the common ending of all prompts, which is removed.
        longest: maximum characters; words and special tokens stay whole.
    """
    flat = " ".join(prompt.removesuffix(ending).split())
    asked = [match.end() for match in _ASKED.finditer(flat) if flat[match.end() :].strip()]
    begin = asked[-1] if asked else _behind_head(flat, 0)
    if len(flat) - begin <= longest:
        return flat[begin:]
    return f"… {flat[_behind_head(flat, _whole_from(flat, len(flat) - longest)) :]}"


def _behind_head(flat: str, start: int) -> int:
    """The position after the special tokens and the role at ``start``; ``start`` if at the end."""
    head = _HEAD.match(flat, start)
    return head.end() if head and flat[head.end() :] else start


def _whole_from(text: str, start: int) -> int:
    """The first position from ``start`` on that cuts neither a word nor a special token.

    A word longer than the whole excerpt is cut, because nothing else would remain.
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
