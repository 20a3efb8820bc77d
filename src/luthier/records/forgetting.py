"""Forgetting: losses on general text and evaluations, before and after tuning."""

from __future__ import annotations

from luthier.records.base import Count, Estimate, Record
from luthier.records.comparison import Comparison


class Forgetting(Estimate):
    """``forgetting.json``: the increase of the loss on general text, in nats per token.

    ``value`` is ``after - before``; positive means forgetting. ``n`` counts the texts, ``tokens``
    their tokens.
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
        group: its topic, if known.
        before: its score, or its loss in nats per token.
        after: the same for the tuned model.
    """

    task: str
    id: str
    group: str
    before: float
    after: float


class GroupChange(Record):
    """The change of texts or examples of one kind.

    Attributes:
        group: the kind; empty if unknown.
        n: the number of texts or examples.
        before: their mean before.
        after: their mean after.
        low: lower end of the interval of the change.
        high: its upper end.
        no_interval: the reason for a missing interval.
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
        """``after - before``."""
        return self.after - self.before


class TaskChange(Record):
    """A stored evaluation before and after.

    Attributes:
        task: its name.
        metric: the primary metric.
        before: its value before.
        after: its value after.
        comparison: the paired comparison.
        lost: number of examples scored lower than before.
        gained: number of examples scored higher.
        groups: by kind, the largest losses first.
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
    """Everything that a model lost or gained by tuning.

    Attributes:
        before: the model or run before.
        after: the run after.
        general: the increase of the loss on general text; None without such text.
        topics: the same by kind of text, the largest increase first.
        tasks: evaluations that both runs have.
    """

    before: str
    after: str
    general: Forgetting | None
    topics: tuple[GroupChange, ...]
    tasks: tuple[TaskChange, ...]
