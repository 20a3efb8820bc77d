"""Prompts that leave room for their answers."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.core.errors import DataError, ProblemList
from luthier.core.example import Example
from luthier.prompts.batched import prompts_of
from luthier.prompts.prompt import Prompt
from luthier.prompts.renderer import Renderer


def fitting_prompts(
    renderer: Renderer, examples: Sequence[Example], answer_tokens: int
) -> list[Prompt]:
    """The prompt of every example.

    Rendering needs no model, so it can also check examples in advance.

    Args:
        renderer: renders prompts.
        examples: the questions.
        answer_tokens: the room to reserve for each answer.

    Raises:
        DataError: a prompt leaves no room for its answer; all such prompts are listed.
    """
    prompts: list[Prompt] = []
    problems = ProblemList()
    for _, prompt in prompts_of(renderer, examples, answer_tokens=answer_tokens):
        if isinstance(prompt, DataError):
            problems.add(prompt)
        else:
            prompts.append(prompt)
    problems.raise_if_any()
    return prompts
