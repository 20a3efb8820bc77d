"""From examples to tokens, without losing one silently."""

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
    completion_only_loss: bool,
    invalid: Literal["drop", "error"] = "error",
) -> Tokenised:
    """Render examples for training, and take out what cannot be used. Nothing is ever truncated.

    Args:
        examples: the examples.
        renderer: for the model's tokenizer.
        max_length: tokens an example may have, prompt and answer.
        too_long: drop longer examples, or raise an error that lists them.
        completion_only_loss: train on answers, not on prompts.
        invalid: what to do with an example that the chat template cannot write.

    Raises:
        DataError: an example is too long and ``too_long`` is "error", or cannot be written and
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
    """Each training example as tokens, with the example that it is from, as a stream.

    Args:
        examples: the examples.
        renderer: for the model's tokenizer.
        refused: takes those that the chat template cannot write.
        completion_only_loss: train on answers, not on prompts.
        advance: told of each example.
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
    """Take out rendered examples that are too long, have nothing to train on, or weigh nothing.

    Args:
        rendered: examples as tokens.
        max_length: as for `tokenise`.
        too_long: as for `tokenise`.

    Raises:
        DataError: an example is too long and ``too_long`` is "error", or a weight is no number of
            at least 0.
    """
    usable = Usable(max_length=max_length, too_long=too_long)
    kept = tuple(tokens for example, tokens in rendered.pairs if usable.takes(example, tokens))
    return Tokenised(kept, (*rendered.dropped, *usable.finish()), rendered)


class Usable:
    """Tells which rendered examples can be trained on, and remembers why others cannot.

    Args:
        max_length: as for `tokenise`.
        too_long: as for `tokenise`.
    """

    def __init__(self, *, max_length: int, too_long: Literal["drop", "error"]) -> None:
        self._max_length = max_length
        self._long = collect_problems(too_long)
        self._empty: list[Dropped] = []

    def takes(self, example: Example, tokens: TrainingExample) -> bool:
        """Whether it is trained on.

        Raises:
            DataError: its weight is no number of at least 0.
        """
        if not 0 <= tokens.weight < math.inf:
            raise DataError(
                f"the weight of an example is {tokens.weight}",
                where=example.where,
                fix="give a number of at least 0; 0 leaves the example out",
            )
        if tokens.length > self._max_length:
            self._long.add(_too_long(tokens, example.where, self._max_length))
            return False
        if tokens.num_trained and tokens.weight:
            return True
        reason = "its weight is 0" if tokens.num_trained else "no token to train on"
        self._empty.append(Dropped(example.where, reason))
        return False

    def finish(self) -> tuple[Dropped, ...]:
        """What was not taken, with the reasons.

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
