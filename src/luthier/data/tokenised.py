"""From examples to tokens, without losing one silently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.data.problems import Dropped, collect_problems
from luthier.prompts.render import PromptRenderer, TrainingExample


@dataclass(frozen=True, slots=True)
class Tokenised:
    """Examples as tokens to train on, and those that cannot be used."""

    examples: tuple[TrainingExample, ...]
    dropped: tuple[Dropped, ...]


def tokenise(
    examples: Sequence[Example],
    renderer: PromptRenderer,
    *,
    max_length: int,
    too_long: Literal["drop", "error"],
    completions_only: bool,
) -> Tokenised:
    """Render examples for training. Nothing is ever truncated.

    Args:
        examples: the examples.
        renderer: for the model's tokenizer.
        max_length: tokens an example may have, prompt and answer.
        too_long: drop longer examples, or raise an error that lists them.
        completions_only: train on answers, not on prompts.

    Raises:
        DataError: an example is too long and ``too_long`` is "error", or none is left.
    """
    problems = collect_problems(too_long)
    kept = []
    for example in examples:
        rendered = renderer.training(example, completions_only=completions_only)
        problem = unusable(rendered, example.where, max_length)
        if problem is None:
            kept.append(rendered)
        else:
            problems.add(problem)
    dropped = problems.finish()
    if dropped and not kept:
        raise DataError(
            f"no example is left to train on: {dropped[0].reason}",
            where=dropped[0].where,
            fix="raise data.max_length, shorten the template, or take a model with a longer "
            "context window",
        )
    return Tokenised(tuple(kept), dropped)


def unusable(rendered: TrainingExample, where: str, max_length: int) -> DataError | None:
    """Why an example cannot be trained on; None if it can."""
    if rendered.length > max_length:
        answer = rendered.length - rendered.prompt_length
        return DataError(
            f"longer than {max_length} tokens",
            where=f"{where} ({rendered.length} tokens: prompt {rendered.prompt_length}, "
            f"completion {answer})",
            fix="raise data.max_length, or drop such rows with data.too_long=drop",
        )
    if rendered.num_trained == 0:
        return DataError("no token to train on", where=where)
    return None
