"""From examples to tokens, without losing one silently."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.data.problems import Dropped, collect_problems
from luthier.prompts.render import PromptRenderer, TrainingExample


@dataclass(frozen=True, slots=True)
class Rendered:
    """Examples as tokens, before any is judged.

    Attributes:
        pairs: each training example with the example that it is from; a conversation can give
            several.
        dropped: examples that the chat template cannot write.
    """

    pairs: tuple[tuple[Example, TrainingExample], ...]
    dropped: tuple[Dropped, ...] = ()


@dataclass(frozen=True, slots=True)
class Tokenised:
    """Examples as tokens to train on, and those that cannot be used.

    Attributes:
        examples: what can be trained on.
        dropped: what cannot, with the reasons.
        rendered: all of them, before any was judged.
    """

    examples: tuple[TrainingExample, ...]
    dropped: tuple[Dropped, ...]
    rendered: Rendered


def tokenise(
    examples: Sequence[Example],
    renderer: PromptRenderer,
    *,
    max_length: int,
    too_long: Literal["drop", "error"],
    completions_only: bool,
    invalid: Literal["drop", "error"] = "error",
) -> Tokenised:
    """Render examples for training, and take out what cannot be used. Nothing is ever truncated.

    Args:
        examples: the examples.
        renderer: for the model's tokenizer.
        max_length: tokens an example may have, prompt and answer.
        too_long: drop longer examples, or raise an error that lists them.
        completions_only: train on answers, not on prompts.
        invalid: what to do with an example that the chat template cannot write.

    Raises:
        DataError: an example is too long and ``too_long`` is "error", or cannot be written and
            ``invalid`` is "error".
    """
    pairs: list[tuple[Example, TrainingExample]] = []
    refused = collect_problems(invalid)
    for example in examples:
        try:
            made = renderer.trainings(example, completions_only=completions_only)
        except DataError as problem:
            refused.add(problem)
        else:
            pairs += [(example, each) for each in made]
    rendered = Rendered(tuple(pairs), refused.finish())
    return select_usable(rendered, max_length=max_length, too_long=too_long)


def select_usable(
    rendered: Rendered, *, max_length: int, too_long: Literal["drop", "error"]
) -> Tokenised:
    """Take out rendered examples that are too long, have nothing to train on, or weigh nothing.

    Args:
        rendered: examples as tokens.
        max_length: as for `tokenise`.
        too_long: as for `tokenise`.

    Raises:
        DataError: an example is too long and ``too_long`` is "error", or a weight is no number of
            at least 0.
    """
    kept: list[TrainingExample] = []
    empty: list[Dropped] = []
    long = collect_problems(too_long)
    for example, tokens in rendered.pairs:
        if not 0 <= tokens.weight < math.inf:
            raise DataError(
                f"the weight of an example is {tokens.weight}",
                where=example.where,
                fix="give a number of at least 0; 0 leaves the example out",
            )
        if tokens.length > max_length:
            long.add(_too_long(tokens, example.where, max_length))
        elif not tokens.num_trained:
            empty.append(Dropped(example.where, "no token to train on"))
        elif not tokens.weight:
            empty.append(Dropped(example.where, "its weight is 0"))
        else:
            kept.append(tokens)
    return Tokenised(tuple(kept), (*rendered.dropped, *long.finish(), *empty), rendered)


def _too_long(rendered: TrainingExample, where: str, max_length: int) -> DataError:
    answer = rendered.length - rendered.prompt_length
    lengths = f"{rendered.length} tokens: prompt {rendered.prompt_length}, completion {answer}"
    return DataError(
        f"longer than {max_length} tokens",
        where=f"{where} ({lengths})",
        fix="raise data.max_length, or drop such rows with data.too_long=drop",
    )
