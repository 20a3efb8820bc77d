"""Loss weights by class, which balance rare and frequent answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from luthier.core.errors import UsageError
from luthier.core.example import Example
from luthier.prompts.jinja import columns_of
from luthier.tasks.likelihood import ChoiceTask
from luthier.tasks.task import Task

_FIELD = "data.class_weights"


def weigh_classes(
    examples: Sequence[Example],
    weights: Literal["balanced"] | Mapping[str, float],
    words: Mapping[str, str],
) -> tuple[Example, ...]:
    """Training examples with weights multiplied by the weight of their answer.

    ``balanced`` is n / (k * n_c) for n examples, k answers and n_c examples with this answer (King
    and Zeng 2001, "Logistic regression in rare events data"; scikit-learn's formula): all answers
    have the same total weight, and the mean weight is 1.

    Args:
        examples: the training examples.
        weights: by answer or label; other answers have weight 1.
        words: the answer of each label, if a template defines labels.

    Raises:
        UsageError: answers are open, or a name is neither an answer nor a label.
    """
    counts = Counter(example.references[0] for example in examples)
    if not any(example.choices for example in examples) and 2 * len(counts) > len(examples):
        raise UsageError(
            f"the answers are open: {len(counts)} different ones in {len(examples)} examples",
            where=_FIELD,
            fix="unset it, or name a column of weights with data.weight",
        )
    if isinstance(weights, Mapping):
        factors = _by_answer(weights, words, {*counts, *_choices(examples)})
    else:
        factors = {
            answer: len(examples) / (len(counts) * count) for answer, count in counts.items()
        }
    return tuple(
        replace(example, weight=example.weight * factors.get(example.references[0], 1.0))
        for example in examples
    )


def constant_choices(task: Task) -> dict[str, str]:
    """The answer of each label, where it does not depend on the row."""
    choices = task.choices if isinstance(task, ChoiceTask) else {}
    return {label: words for label, words in choices.items() if not columns_of([words])}


def _choices(examples: Sequence[Example]) -> set[str]:
    return {choice for example in examples for choice in example.choices}


def _by_answer(
    weights: Mapping[str, float], words: Mapping[str, str], known: set[str]
) -> dict[str, float]:
    factors = {}
    for name, weight in weights.items():
        answer = name if name in known else words.get(name, name)
        if answer not in known:
            listed = ", ".join(map(repr, sorted(known)[:20]))
            raise UsageError(
                f"{name!r} is not an answer in the training examples",
                where=_FIELD,
                fix=f"answers are {listed}",
            )
        factors[answer] = weight
    return factors
