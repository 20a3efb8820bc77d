"""The telling part of a prompt, on one line: its end, without what all prompts end with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile

# Where words, or the tokens of a chat template, begin.
_BOUNDARY = re.compile(r"[\s<\[]")


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
    """The last ``longest`` characters of a prompt, on one line.

    Args:
        prompt: as a model sees it.
        ending: what all prompts end with; it is left out.
        longest: characters that are kept.
    """
    flat = " ".join(prompt.removesuffix(ending).split())
    return flat if len(flat) <= longest else f"… {flat[-longest:]}"
