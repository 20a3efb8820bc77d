"""Forgetting: general text and evaluations, before and after a tuning."""

from __future__ import annotations

from luthier.records.base import Count, Estimate, Record
from luthier.records.comparison import Comparison


class Forgetting(Estimate):
    """``forgetting.json``: the rise of loss on general text, in nats per token.

    ``value`` is ``after - before``; positive means that something was forgotten. ``n`` counts
    the texts, ``tokens`` their tokens.
    """

    before: float
    after: float
    tokens: Count
    text: str


class ItemChange(Record):
    """A line of ``forgetting.items.jsonl``: a text or an example, before and after.

    Attributes:
        task: the task of an example; empty for a general text.
        id: of the example, or the number of the text.
        group: what it is about, where that is known.
        before: its score, or its loss in nats per token.
        after: the same of the tuned model.
    """

    task: str
    id: str
    group: str
    before: float
    after: float


class GroupChange(Record):
    """What became of the texts or examples of one kind.

    Attributes:
        group: the kind; empty where none is known.
        n: how many there are.
        before: their figure before.
        after: their figure after.
        low: lower end of the interval of the change.
        high: its upper end.
        no_interval: the reason why no interval can be given.
    """

    group: str
    n: Count
    before: float
    after: float
    low: float
    high: float
    no_interval: str = ""

    @property
    def change(self) -> float:
        """After, less before."""
        return self.after - self.before


class TaskChange(Record):
    """A stored evaluation before and after.

    Attributes:
        task: its name.
        metric: the metric that decides.
        before: its figure before.
        after: its figure after.
        comparison: the paired comparison.
        lost: examples that are answered worse than before.
        gained: examples that are answered better.
        groups: by kind, those first that lost most.
    """

    task: str
    metric: str
    before: float
    after: float
    comparison: Comparison
    lost: Count
    gained: Count
    groups: tuple[GroupChange, ...]


class ForgettingReport(Record):
    """What a model lost, or gained, from before to after.

    Attributes:
        before: the model or run before.
        after: the run after.
        general: the rise of the loss on general text; None where there is no such text.
        topics: the same by kind of text, those first that rose most.
        tasks: evaluations that both have.
    """

    before: str
    after: str
    general: Forgetting | None
    topics: tuple[GroupChange, ...]
    tasks: tuple[TaskChange, ...]
