"""Suites of tasks, and their aggregate scores."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, Self

from pydantic import Field, PositiveFloat, PrivateAttr, model_validator

from luthier.config.base import Config
from luthier.records.evaluation import EvaluationRecord, MetricResult, SuiteRecord


class Estimate(Protocol):
    """A value and its confidence interval."""

    @property
    def value(self) -> float:
        """The value."""

    @property
    def low(self) -> float:
        """The lower end of the interval."""

    @property
    def high(self) -> float:
        """The upper end of the interval."""


class Suite(Config):
    """Tasks that are measured together and share an aggregate score.

    The score is a weighted mean over tasks of the mean of each task's metrics. Equal weights give
    the scores of GLUE and SuperGLUE; weights by size give MMLU's accuracy.

    In a user's file a task may also be the path of its file, relative to the suite's file.
    """

    kind: Literal["suite"]
    name: str
    about: str = ""
    format: str = "own"
    """The benchmark or harness whose prompts and scoring the tasks follow; own: none."""
    tasks: tuple[str, ...] = Field(min_length=1)
    """The names of the tasks that make up the score."""
    diagnostics: tuple[str, ...] = ()
    """Tasks that are measured with the others, but do not count in the score."""
    weights: Literal["equal", "size"] | Mapping[str, PositiveFloat] = "equal"
    """The weights of the tasks. equal: all the same. size: the number of examples. A mapping states
    each weight by the name of the task, or of the group in ``combined``."""
    categories: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """Groups of tasks that also have a score of their own, by name."""
    combined: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """Groups of tasks that count as one task, by name, such as both halves of MNLI."""
    _own: dict[str, Config] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        grouped = [task for members in self.combined.values() for task in members]
        if strange := sorted({*grouped} - {*self.tasks}):
            raise ValueError(f"combined names {strange[0]!r}, which is none of the tasks")
        if len(set(grouped)) < len(grouped):
            raise ValueError("a task is in two of combined, and can count as one with one alone")
        if not isinstance(self.weights, str):
            wanted = {*self.tasks} - {*grouped} | {*self.combined}
            if missing := sorted(wanted - self.weights.keys()):
                raise ValueError(f"weights do not say how much {missing[0]!r} counts")
            if strange := sorted(self.weights.keys() - wanted):
                raise ValueError(f"weights name {strange[0]!r}, which does not count by itself")
        return self

    @property
    def own(self) -> Mapping[str, Config]:
        """The tasks from a user's files, by name."""
        return self._own

    def holding(self, own: Mapping[str, Config]) -> Self:
        """A copy of the suite with tasks from a user's files."""
        suite = self.model_copy()
        suite._own = dict(own)
        return suite


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The values of a suite with the names of tasks in place of the paths of their files.

    Args:
        values: the values of a document, valid or not.
        names: the name of each task, by the path of its file.
    """

    def task(name: Any) -> Any:
        return names.get(name, name) if isinstance(name, str) else name

    def tasks(listed: Any) -> Any:
        return [task(name) for name in listed] if isinstance(listed, list) else listed

    changed = dict(values)
    for field in ("tasks", "diagnostics"):
        if field in values:
            changed[field] = tasks(values[field])
    for field in ("categories", "combined"):
        if isinstance(groups := values.get(field), Mapping):
            changed[field] = {group: tasks(listed) for group, listed in groups.items()}
    if isinstance(weights := values.get("weights"), Mapping):
        changed["weights"] = {task(name): weight for name, weight in weights.items()}
    return changed


def score_suite(suite: Suite, records: Sequence[EvaluationRecord]) -> SuiteRecord:
    """The scores of a suite from the records of its tasks.

    Args:
        suite: the suite.
        records: the records of at least one of its tasks. If others are missing, the scores cover
            only the tasks that are there, and ``missing`` names the others.
    """
    measured = {record.task: record for record in records if record.task in suite.tasks}
    return SuiteRecord(
        suite=suite.name,
        format=suite.format,
        shots=tuple(sorted({record.shots for record in measured.values()})),
        scores=combined(suite, {task: mean_metric(record) for task, record in measured.items()}),
        tasks=tuple(measured),
        missing=tuple(name for name in suite.tasks if name not in measured),
    )


def combined(suite: Suite, figures: Mapping[str, MetricResult]) -> tuple[MetricResult, ...]:
    """The score of the whole suite, then those of its categories.

    Args:
        suite: the suite.
        figures: the mean metric of each measured task, by name.
    """
    sizes = {task: figure.n for task, figure in figures.items()}
    return tuple(
        _mean(suite, name, {task: figures[task] for task in share}, share)
        for name, share in shares(suite, sizes).items()
    )


def shares(suite: Suite, sizes: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """The normalised weights of the tasks in the suite's score and in those of its categories.

    Args:
        suite: the suite.
        sizes: the number of examples of each measured task, by name.

    Returns:
        The weight of each task, which sum to 1, by the name of the score.
    """
    members = {suite.name: tuple(sizes)} | {
        f"{suite.name}/{category}": present
        for category, tasks in suite.categories.items()
        if (present := tuple(task for task in tasks if task in sizes))
    }
    return {
        name: _shares(suite, {task: sizes[task] for task in tasks})
        for name, tasks in members.items()
    }


def _mean(
    suite: Suite, name: str, figures: Mapping[str, MetricResult], share: Mapping[str, float]
) -> MetricResult:
    value, low, high = weighted_sum([(part, figures[task]) for task, part in share.items()])
    return MetricResult(
        value=value,
        low=low,
        high=high,
        n=sum(figure.n for figure in figures.values()),
        confidence=next(iter(figures.values())).confidence,
        name=name,
        signature=f"mean-over-tasks|weights:{_called(suite)}|tasks:{len(share)}|format:{suite.format}",
    )


def _called(suite: Suite) -> str:
    if isinstance(suite.weights, str):
        return suite.weights
    return ",".join(f"{name}={weight:g}" for name, weight in sorted(suite.weights.items()))


def mean_metric(record: EvaluationRecord) -> MetricResult:
    """The mean of a task's metrics, with the means of their interval ends.

    The metrics are computed from the same answers, so their errors are not independent and do not
    cancel.
    """
    metrics = record.metrics
    mean = {
        end: sum(getattr(metric, end) for metric in metrics) / len(metrics)
        for end in ("value", "low", "high")
    }
    return metrics[0].model_copy(update=mean)


def _shares(suite: Suite, sizes: Mapping[str, int]) -> dict[str, float]:
    """The normalised weight of each task; combined tasks share the weight of one."""
    weights: dict[str, float]
    if suite.weights == "size":
        weights = {task: float(size) for task, size in sizes.items()}
    else:
        stated = {} if isinstance(suite.weights, str) else suite.weights
        group = {task: name for name, members in suite.combined.items() for task in members}
        present = Counter(group.get(task, task) for task in sizes)
        weights = {
            task: stated.get(name, 1.0) / present[name]
            for task, name in ((task, group.get(task, task)) for task in sizes)
        }
    total = sum(weights.values())
    return {task: weight / total for task, weight in weights.items()}


def weighted_sum(terms: Sequence[tuple[float, Estimate]]) -> tuple[float, float, float]:
    """A weighted sum of independent estimates, as value, lower end and upper end.

    The interval follows the method of variance estimates recovery (MOVER; Zou and Donner 2008,
    "Construction of confidence limits about effect measures"). The distance of each end from the
    value is the root of the sum of squares of the terms' weighted distances.

    Args:
        terms: pairs of a weight, 0 or more, and an estimate.
    """
    value = sum(weight * term.value for weight, term in terms)
    below = root_of_squares([weight * (term.value - term.low) for weight, term in terms])
    above = root_of_squares([weight * (term.high - term.value) for weight, term in terms])
    return value, value - below, value + above


def root_of_squares(lengths: Sequence[float]) -> float:
    """The root of the sum of squares, by which independent errors add up."""
    return math.sqrt(sum(length * length for length in lengths))
