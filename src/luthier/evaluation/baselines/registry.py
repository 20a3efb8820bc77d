"""The baselines by name, and those that suit a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from luthier.core.choices import BaselineName
from luthier.core.example import Example
from luthier.evaluation.baselines.base import Baseline
from luthier.evaluation.baselines.lead import Lead
from luthier.evaluation.baselines.linear import Linear
from luthier.evaluation.baselines.majority import Majority
from luthier.evaluation.baselines.nearest import Nearest

_BASELINES: Mapping[BaselineName, type[Baseline]] = {
    "majority": Majority,
    "linear": Linear,
    "nearest": Nearest,
    "lead": Lead,
}
_SUMMARIES = frozenset({"summarise", "summarize", "summarise-dialogue"})
"""Clusters of tasks whose answers are summaries of prose."""


def suitable_baselines(train: Sequence[Example], cluster: str) -> tuple[BaselineName, ...]:
    """The baselines that suit a task, cheapest first.

    Closed answers have ``majority`` and ``linear``, open ones ``nearest``, and summaries ``lead``
    too. Plain text has none.

    Args:
        train: the training examples.
        cluster: the cluster of the task.
    """
    if not all(example.messages for example in train):
        return ()
    if has_same_choices(train):
        return ("majority", "linear")
    return ("lead", "nearest") if cluster in _SUMMARIES else ("nearest",)


def has_same_choices(train: Sequence[Example]) -> bool:
    """Whether all examples have the same choices."""
    return len({example.choices for example in train}) == 1 and len(train[0].choices) > 1


def unsuited(name: BaselineName, train: Sequence[Example]) -> str:
    """The reason why a baseline cannot answer these examples; empty if it can."""
    if not all(example.messages for example in train):
        return "plain text has no question"
    if _BASELINES[name].needs_choices and not has_same_choices(train):
        return "it needs a task with the same choices for all examples"
    return ""


def fit_baseline(name: BaselineName, train: Sequence[Example]) -> Baseline:
    """The baseline called ``name``, learned from training examples.

    Raises:
        DataError: the examples do not suffice.
    """
    return _BASELINES[name].fit(train)


def load_baseline(name: BaselineName, folder: Path) -> Baseline:
    """The baseline called ``name`` that is stored in a folder.

    Raises:
        DataError: it is missing or damaged.
    """
    return _BASELINES[name].load(folder)
