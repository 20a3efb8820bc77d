"""Evaluation tasks on a run's own data, and the results of evaluations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from luthier.config import Decoding
from luthier.core.errors import DataError, ProblemList, UsageError
from luthier.core.example import Example
from luthier.evaluation.answering import require_draws, require_enough
from luthier.evaluation.metrics import Metric, get_metric
from luthier.records.evaluation import EvaluationRecord, SampleRecord, TemplateStamp
from luthier.tasks.needs import written


class Evaluation(NamedTuple):
    """The result of an evaluation: its figures, and the samples they were computed from."""

    record: EvaluationRecord
    samples: tuple[SampleRecord, ...]


@dataclass(frozen=True, slots=True)
class EvaluationTask:
    """Held-out examples with their prompt settings, decoding settings and metrics.

    The constructor checks them, so that mistakes show before a model is loaded.

    Attributes:
        name: the name of the task; files in the run directory are called after it.
        split: the split of the data that the examples come from.
        examples: the examples; at least one, with unique ids.
        template: the template that renders them.
        shots: the number of few-shot examples in each prompt.
        chat_template: whether the tokenizer's chat template is used.
        metrics: the names of the metrics; the first one decides comparisons.
        decoding: the decoding settings.
        samples: the number of answers to draw for each question.

    Raises:
        UsageError: there is no metric; a metric is unknown, named twice, or never applies to
            generated answers; or several answers are wanted without sampling.
        DataError: examples are missing, share an id, or lack a property that a metric needs; all
            such examples are listed.
    """

    name: str
    split: str
    examples: tuple[Example, ...]
    template: TemplateStamp
    shots: int
    chat_template: bool
    metrics: tuple[str, ...]
    decoding: Decoding
    samples: int = 1

    def __post_init__(self) -> None:
        if not self.metrics or len(set(self.metrics)) < len(self.metrics):
            raise UsageError(
                f"the metrics of {self.name!r} must be at least one, each once: {self.metrics}",
                fix="name them in evaluate.metrics",
            )
        if not self.examples:
            raise DataError(f"the {self.split} split of {self.name!r} has no examples")
        require_draws(self.decoding.strategy, self.samples)
        self._require_needs()
        require_enough(self.load_metrics(), self.samples)
        _check_examples(self.examples, self.load_metrics())

    def _require_needs(self) -> None:
        """Refuse metrics that need more than generated answers, such as likelihoods.

        Raises:
            UsageError: a metric needs a property that generated answers do not have.
        """
        # Choices are named by their own words; `_check_examples` checks that there are choices.
        given = written(self.samples) | {"choices", "labels"}
        for metric in self.load_metrics():
            if missing := sorted(metric.needs - given):
                raise UsageError(
                    f"the metric {metric.name} needs {' and '.join(missing)}, which the answers of "
                    f"{self.name!r} do not come with",
                    where="evaluate.metrics",
                    fix="draw several with evaluate.samples and evaluate.decoding.strategy=sampling"
                    if "several answers" in missing
                    else "measure generated answers, such as with exact_match or rougeL; "
                    "likelihoods, sets and extractors are those of benchmark tasks",
                )

    def load_metrics(self) -> tuple[Metric, ...]:
        """The metrics of the task, in order."""
        return tuple(get_metric(name) for name in self.metrics)


def _check_examples(examples: tuple[Example, ...], metrics: tuple[Metric, ...]) -> None:
    needing = ", ".join(metric.name for metric in metrics if "choices" in metric.needs)
    problems = ProblemList()
    seen: set[str] = set()
    for example in examples:
        where = example.where or f"example {example.id!r}"
        if example.id in seen:
            problems.add(DataError(f"the id {example.id!r} stands twice", where=where))
        seen.add(example.id)
        if not example.references:
            problems.add(DataError("this example has no reference to compare with", where=where))
        if needing and not example.choices:
            fix = "give the template its choices, or measure with exact_match"
            problems.add(
                DataError(f"this example has no choices for {needing}", where=where, fix=fix)
            )
    problems.raise_if_any()
