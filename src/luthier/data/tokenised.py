"""Tokenising examples, with every loss reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.data.problems import Dropped, Problems, collect_problems
from luthier.prompts.batched import trainings_of
from luthier.prompts.render import PromptRenderer
from luthier.prompts.training_example import TrainingExample


@dataclass(frozen=True, slots=True)
class Rendered:
    """Tokenised examples, before any is rejected.

    Attributes:
        pairs: each training example with its source example; a conversation can give several.
        dropped: examples that the chat template cannot render.
    """

    pairs: tuple[tuple[Example, TrainingExample], ...]
    dropped: tuple[Dropped, ...] = ()


@dataclass(frozen=True, slots=True)
class Tokenised:
    """Tokenised training examples, and unusable ones.

    Attributes:
        examples: the usable examples.
        dropped: the unusable ones, with reasons.
        rendered: all of them, before any was rejected.
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
    completion_only_loss: bool,
    invalid: Literal["drop", "error"] = "error",
) -> Tokenised:
    """Tokenised training examples without the unusable ones. Nothing is ever truncated.

    Args:
        examples: the examples.
        renderer: the renderer for the model's tokenizer.
        max_length: maximum tokens per example, prompt and answer.
        too_long: drop longer examples, or raise an error that lists them.
        completion_only_loss: train on answers, not on prompts.
        invalid: the treatment of examples that the chat template cannot render.

    Raises:
        DataError: an example is too long and ``too_long`` is "error", or cannot be rendered and
            ``invalid`` is "error".
    """
    refused = collect_problems(invalid)
    pairs = render_all(examples, renderer, refused, completion_only_loss=completion_only_loss)
    rendered = Rendered(tuple(pairs), refused.finish())
    return select_usable(rendered, max_length=max_length, too_long=too_long)


def render_all(
    examples: Iterable[Example],
    renderer: PromptRenderer,
    refused: Problems,
    *,
    completion_only_loss: bool,
    advance: Callable[[], object] = lambda: None,
) -> Iterator[tuple[Example, TrainingExample]]:
    """A stream of training examples as tokens, each with its source example.

    Args:
        examples: the examples.
        renderer: the renderer for the model's tokenizer.
        refused: receives those that the chat template cannot render.
        completion_only_loss: train on answers, not on prompts.
        advance: called for each example.
    """
    made = trainings_of(renderer, examples, completion_only_loss=completion_only_loss)
    for example, tokens in made:
        advance()
        if isinstance(tokens, DataError):
            refused.add(tokens)
        else:
            yield from ((example, each) for each in tokens)


def select_usable(
    rendered: Rendered, *, max_length: int, too_long: Literal["drop", "error"]
) -> Tokenised:
    """The rendered examples without those that are too long, untrained or of zero weight.

    Args:
        rendered: examples as tokens.
        max_length: as in `tokenise`.
        too_long: as in `tokenise`.

    Raises:
        DataError: an example is too long and ``too_long`` is "error", or a weight is not a number
            of at least 0.
    """
    usable = Usable(max_length=max_length, too_long=too_long)
    kept = tuple(tokens for example, tokens in rendered.pairs if usable.takes(example, tokens))
    return Tokenised(kept, (*rendered.dropped, *usable.finish()), rendered)


class Usable:
    """A filter for usable rendered examples, which records why others are unusable.

    Args:
        max_length: as in `tokenise`.
        too_long: as in `tokenise`.
    """

    def __init__(self, *, max_length: int, too_long: Literal["drop", "error"]) -> None:
        self._max_length = max_length
        self._long = collect_problems(too_long)
        self._empty: list[Dropped] = []

    def takes(self, example: Example, tokens: TrainingExample) -> bool:
        """Whether an example is trained on.

        Raises:
            DataError: its weight is not a number of at least 0.
        """
        if not 0 <= tokens.weight < math.inf:
            raise DataError(
                f"the weight of an example is {tokens.weight}",
                where=example.where,
                fix="use a number of at least 0; 0 leaves the example out",
            )
        if tokens.length > self._max_length:
            self._long.add(_too_long(tokens, example.where, self._max_length))
            return False
        if tokens.num_trained and tokens.weight:
            return True
        reason = "its weight is 0" if tokens.num_trained else "no trained tokens"
        self._empty.append(Dropped(example.where, reason))
        return False

    def finish(self) -> tuple[Dropped, ...]:
        """The rejected examples, with reasons.

        Raises:
            DataError: an example is too long, and that is an error.
        """
        return (*self._long.finish(), *self._empty)


def _too_long(rendered: TrainingExample, where: str, max_length: int) -> DataError:
    answer = rendered.length - rendered.prompt_length
    lengths = f"{rendered.length} tokens: prompt {rendered.prompt_length}, completion {answer}"
    return DataError(
        f"longer than {max_length} tokens",
        where=f"{where} ({lengths})",
        fix="raise data.max_length, or drop such rows with data.too_long=drop",
    )
