"""Worked examples before the question: in-context learning (Brown et al. 2020, section 2)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, zip_longest

from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.core.seeds import derive
from luthier.core.units import counted


def choose_shots(
    train: Sequence[Example], count: int, seed: int, *, max_characters: int | None = None
) -> tuple[Example, ...]:
    """Draw the shots of a run, the same for every question, so that they are a shared prefix.

    Examples of at most the median length are drawn first, because they show the task at the lowest
    cost. The right choices of closed answers take turns. Without ``max_characters``, fewer shots
    are the first ones of more shots with the same seed, whatever the order of ``train``.

    Args:
        train: the training split, the only source of shots.
        count: the number of shots.
        seed: the run's seed.
        max_characters: the limit of all shots together; None: no limit.

    Raises:
        DataError: ``train`` has too few examples that fit.
    """
    if count == 0:
        return ()
    answered = [example for example in train if example.messages and example.references]
    limit = max_characters // count if max_characters is not None else None
    usable = [example for example in answered if limit is None or _length(example) <= limit]
    if len(usable) < count:
        size = "" if limit is None else f" of at most {limit} characters"
        raise DataError(
            f"{counted(count, 'shot')} wanted, "
            f"{counted(len(usable), 'training example')}{size} available",
            fix="use fewer shots or give more training examples",
        )
    by_choice: dict[int, list[Example]] = defaultdict(list)
    for example in usable:
        by_choice[_choice(example)].append(example)
    queues = [_drawn(by_choice[key], seed, key) for key in sorted(by_choice)]
    random.Random(derive(seed, "shots", "choices")).shuffle(queues)  # noqa: S311
    turns = chain.from_iterable(zip_longest(*queues))
    return tuple([example for example in turns if example is not None][:count])


def with_shots(example: Example, shots: Sequence[Example]) -> Example:
    """The example with the shots as earlier turns; its own system message stays first.

    Raises:
        DataError: the example is plain text, which has no question.
    """
    if not shots:
        return example
    if example.is_plain_text:
        raise DataError("plain text has no question to put shots before", where=example.where)
    system = tuple(message for message in example.messages[:1] if message.role == "system")
    turns = chain.from_iterable(_turns(shot) for shot in shots)
    return replace(example, messages=(*system, *turns, *example.messages[len(system) :]))


def _turns(shot: Example) -> tuple[Message, ...]:
    question = (message for message in shot.messages if message.role != "system")
    return (*question, shot.trained_answer)


def _length(example: Example) -> int:
    """Characters of a shot, its answer included."""
    return sum(len(message.content) for message in _turns(example))


def _choice(example: Example) -> int:
    """The index of the right choice; 0 for all open answers."""
    answer = example.references[0]
    return example.choices.index(answer) if answer in example.choices else 0


def _drawn(examples: list[Example], seed: int, choice: int) -> list[Example]:
    """All examples in a seeded order, those of at most the median length before the others."""
    ordered = sorted(examples, key=lambda example: (_length(example), example.id))
    middle = (len(ordered) + 1) // 2
    halves = ordered[:middle], ordered[middle:]
    for name, half in enumerate(halves):
        random.Random(derive(seed, "shots", choice, name)).shuffle(half)  # noqa: S311
    return [*halves[0], *halves[1]]
