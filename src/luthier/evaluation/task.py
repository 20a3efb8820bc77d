"""Evaluation tasks on a run's own data, and the results of evaluations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from luthier.core.errors import DataError, ProblemList, UsageError
from luthier.core.example import Example
from luthier.evaluation.metrics import Metric, get_metric
from luthier.evaluation.predicting.base import AnswerMode
from luthier.evaluation.predicting.generation import require_enough
from luthier.evaluation.predicting.prompts import fitting_prompts
from luthier.prompts.prompt import Prompt
from luthier.prompts.renderer import Renderer
from luthier.records.evaluation import EvaluationRecord, SampleRecord, TemplateStamp
from luthier.tasks.needs import Need


class Evaluation(NamedTuple):
    """The result of an evaluation: its figures, and the samples they were computed from."""

    record: EvaluationRecord
    samples: tuple[SampleRecord, ...]


@dataclass(frozen=True, slots=True)
class EvaluationTask:
    """Held-out examples with their prompt settings, answer mode and metrics.

    The constructor checks them, so that mistakes show before a model is loaded.

    Attributes:
        name: the name of the task; files in the run directory are called after it.
        split: the split of the data that the examples come from.
        examples: the examples; at least one, with unique ids.
        template: the template that renders them.
        shots: the number of few-shot examples in each prompt.
        chat_template: whether the tokenizer's chat template is used.
        metrics: the names of the metrics; the first one decides comparisons.
        mode: the way a model answers: by generation, or among given choices.

    Raises:
        UsageError: there is no metric; a metric is unknown, named twice, or needs more than the
            answers come with.
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
    mode: AnswerMode

    def __post_init__(self) -> None:
        if not self.metrics or len(set(self.metrics)) < len(self.metrics):
            raise UsageError(
                f"the metrics of {self.name!r} must be at least one, each once: {self.metrics}",
                fix="name them in evaluate.metrics",
            )
        if not self.examples:
            raise DataError(f"the {self.split} split of {self.name!r} has no examples")
        self._require_needs()
        require_enough(self.load_metrics(), self.mode.num_answers)
        _check_examples(self.examples, self.load_metrics())

    def _require_needs(self) -> None:
        """Refuse metrics that need more than the answers come with, such as likelihoods.

        Raises:
            UsageError: a metric needs a property that the answers do not have.
        """
        # Choices are named by their own words; `_check_examples` checks that there are choices.
        given = self.mode.gives | frozenset[Need]({"choices", "labels"})
        for metric in self.load_metrics():
            if missing := sorted(metric.needs - given):
                raise UsageError(
                    f"the metric {metric.name} needs {' and '.join(missing)}, which the answers of "
                    f"{self.name!r} do not come with",
                    where="evaluate.metrics",
                    fix="draw several with evaluate.samples and evaluate.decoding.strategy=sampling"
                    if "several answers" in missing
                    else "choices are scored by likelihood, or generated with "
                    "evaluate.choices=generation; open answers are generated, and measured such as "
                    "with exact_match or rougeL; sets and extractors are those of benchmark tasks",
                )

    def prompts(self, renderer: Renderer) -> list[Prompt]:
        """The prompt of every example; without a model, so it can also check a task in advance.

        Raises:
            DataError: a prompt leaves no room for its answer; all such prompts are listed.
        """
        room = self.mode.answer_tokens(renderer, self.examples)
        return fitting_prompts(renderer, self.examples, room)

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
