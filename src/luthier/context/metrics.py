"""The metrics of a run, and checks of its metrics and target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from luthier.config import RunConfig
from luthier.context.answer_mode import wants_choices
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.example import Example
from luthier.core.names import named
from luthier.core.units import counted
from luthier.data.dataset import Dataset
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.metrics.target import require_target
from luthier.evaluation.predicting.multiple_choice import MultipleChoice
from luthier.tasks.needs import Need, written

_DOMINANT = 0.6
"""The share of the largest class from which accuracy says little: a constant answer has it."""
_RARE = 0.1
"""A class with less than this part of an even share hardly counts in accuracy."""
_EVEN = ("accuracy", "balanced_accuracy", "macro_f1")
_UNEVEN = ("balanced_accuracy", "accuracy", "macro_f1")


@dataclass(frozen=True, slots=True)
class ClassBalance:
    """The classes of examples.

    Attributes:
        counts: the number of examples of each class that has any.
    """

    counts: Counter[str]

    @property
    def largest(self) -> tuple[str, float]:
        """The largest class and its share."""
        return self._with_share(max(self.counts, key=self.counts.__getitem__))

    @property
    def smallest(self) -> tuple[str, float]:
        """The smallest class and its share."""
        return self._with_share(min(self.counts, key=self.counts.__getitem__))

    @property
    def has_rare(self) -> bool:
        """Whether a class has too few examples to count in accuracy."""
        return self.smallest[1] < _RARE / len(self.counts)

    @property
    def is_even(self) -> bool:
        """Whether accuracy tells classes apart that a constant answer does not."""
        return self.largest[1] < _DOMINANT and not self.has_rare

    def _with_share(self, label: str) -> tuple[str, float]:
        return label, self.counts[label] / self.counts.total()


def metric_names(config: RunConfig, dataset: Dataset, *, chooses: bool) -> tuple[str, ...]:
    """The metrics of a run; the first one decides comparisons.

    In this order: ``evaluate.metrics``; the metrics of the task that suit its answers; the default.
    It is exact match for open answers. For closed ones it is accuracy, or balanced accuracy if the
    classes of the test examples are uneven: then a constant answer has a high accuracy, but never
    more than 1 / classes of balanced accuracy, which unlike macro-F1 does not depend on how
    frequent classes are. The other two are measured beside it. Only test examples decide, so runs
    that can be compared have the same metric.

    Args:
        config: the configuration.
        dataset: the examples.
        chooses: whether answers are chosen by likelihood, not generated.
    """
    if stated := _stated(config, dataset, chooses=chooses):
        return stated
    if balance := class_balance(dataset.test):
        return _EVEN if balance.is_even else _UNEVEN
    closed = "choices" in _given(config, dataset, chooses=chooses)
    return ("accuracy",) if closed else ("exact_match",)


def metric_reason(config: RunConfig, dataset: Dataset, *, chooses: bool) -> str:
    """The reason for the default metric of classes, in a sentence; empty for other metrics."""
    stated = _stated(config, dataset, chooses=chooses)
    balance = None if stated else class_balance(dataset.test)
    if balance is None:
        return ""
    label, share = balance.largest
    size = f"{_percent(share)} of the {counted(balance.counts.total(), 'test example')}"
    if balance.is_even:
        return (
            f"Metric: accuracy, because the classes are even enough: the largest, {named(label)}, "
            f"has {size}."
        )
    if share >= _DOMINANT:
        return (
            f"Metric: balanced accuracy, because {size} are {named(label)}: always answering it "
            f"would give an accuracy of {share:.2f}."
        )
    rare, part = balance.smallest
    return (
        f"Metric: balanced accuracy, because only {_percent(part)} of the test examples are "
        f"{named(rare)}: accuracy would hardly count them."
    )


def class_balance(examples: Sequence[Example]) -> ClassBalance | None:
    """The classes of examples; None unless all have the same choices and one right answer."""
    if not examples or len({example.choices for example in examples}) > 1:
        return None
    right = [{*example.references} & {*example.choices} for example in examples]
    if any(len(labels) != 1 for labels in right):
        return None
    return ClassBalance(Counter(label for labels in right for label in labels))


def require_metrics(config: RunConfig, dataset: Dataset, console: Console) -> None:
    """Check the metrics and the target early, although they are needed only at the end.

    Raises:
        UsageError: there is no such metric, it cannot reach the value of the target, or the model
            is to abstain but its answers are generated.
    """
    chooses = wants_choices(config, dataset)
    first, *_ = [get_metric(name) for name in metric_names(config, dataset, chooses=chooses)]
    if reason := metric_reason(config, dataset, chooses=chooses):
        console.say(f"  {reason}")
    if config.adapt.target is not None and (doubt := require_target(first, config.adapt.target)):
        console.warn(doubt)
    if config.evaluate.abstain is not None and not chooses:
        raise UsageError(
            f"a model can abstain only where choices are scored by likelihood, but the answers of "
            f"{dataset.task!r} are generated",
            where="evaluate.abstain",
            fix="give the task its choices and set evaluate.choices=likelihood, or leave --abstain "
            "out",
        )


def _stated(config: RunConfig, dataset: Dataset, *, chooses: bool) -> tuple[str, ...]:
    """The metrics that the user names, otherwise those of the task that suit the answers."""
    given = _given(config, dataset, chooses=chooses)
    return config.evaluate.metrics or tuple(
        name for name in dataset.template.metrics if get_metric(name).needs <= given
    )


def _given(config: RunConfig, dataset: Dataset, *, chooses: bool) -> frozenset[Need]:
    """The properties of the answers to the task."""
    given = MultipleChoice().gives if chooses else written(config.evaluate.samples)
    return given | dataset.template.gives_written


def _percent(share: float) -> str:
    return f"{share * 100:.2g} %" if share < 0.01 else f"{share * 100:.0f} %"
