"""Evaluations: figures with their intervals, samples, and scores of suites."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from luthier.core.errors import DataError
from luthier.core.names import listed
from luthier.records.base import Count, Estimate, Record, Seconds


class MetricResult(Estimate):
    """A metric on a set of examples, with the signature that makes it comparable."""

    name: str
    signature: str
    higher_is_better: bool = True
    detectable: float | None = None
    """The least difference from another system that so many examples show 8 times in 10, if the
    scores of the two are not correlated; the more they are, the less."""


class TemplateStamp(Record):
    """Which template rendered the prompts."""

    id: str
    hash: str


class ModelStamp(Record):
    """Which model was used.

    Where a server runs it (``endpoint``, its URL), its weights are not known: ``parameters`` is 0,
    and the revision stands for what the server says of it.
    """

    id: str
    revision: str = ""
    parameters: Count
    dtype: str
    architecture: str
    endpoint: str = ""


class EvaluationRecord(Record):
    """``evaluation/<task>.json``.

    A benchmark task adds whose wording of it was used (``format``), the ``version`` of its
    definition, and the words that stand for each label.
    """

    task: str
    split: str
    model: ModelStamp
    adapter: str = ""
    template: TemplateStamp
    shots: Count
    chat_template: bool
    metrics: tuple[MetricResult, ...]
    clean: tuple[MetricResult, ...] = ()
    """The metrics on the examples that the training data does not contain, where it has some."""
    seconds: Seconds
    generated_tokens: Count
    prompt_tokens: Count
    truncated_outputs: Count
    versions: dict[str, str]
    format: str = ""
    version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    cut_prompts: Count = 0
    """Prompts that lost the beginning of their text, because they would not fit."""
    drawn: str = ""
    """Which rows were measured, in words, where not all were."""
    other_shots: Count = 0
    """Questions that stand among the worked examples, and were shown the next one instead."""
    fewer_shots: Count = 0
    """Questions with fewer worked examples than the others, because they would not fit."""
    unfinished: Count = 0
    """Answers that end before their reasoning does, and so say nothing."""
    seed: int | None = None
    resamples: int | None = Field(default=None, ge=1, le=10**6)
    """Of the intervals' draws; None in records of earlier versions."""

    def metric(self, name: str) -> MetricResult:
        """The metric called ``name``.

        Raises:
            DataError: it was not computed.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise DataError(
            f"the metric {name!r} was not computed for {self.task}",
            fix=f"computed were {listed(metric.name for metric in self.metrics)}",
        )


class SampleRecord(Record):
    """A line of ``evaluation/<task>.samples.jsonl``.

    Attributes:
        question_id: what several samples are scored as, such as the answers to one question.
        choices: the closed set of answers, as labels where labels have words.
        words: what was scored for each choice.
        likelihoods: the log-probability of each of ``words``, in nats.
        extracted: the answer that was found in a generated text, by the name of the extractor.
        accepted: the references in the form in which found answers are compared with them.
        counts: how long a text is, in words, bytes and tokens.
        generated: all that was generated, where the prediction is only a part of it: what stands
            behind reasoning.
        contexts: what stands before the answer in each choice, where choices differ in that.
    """

    id: str
    group: str = ""
    prompt: str
    prediction: str
    references: tuple[str, ...]
    choices: tuple[str, ...] = ()
    scores: dict[str, float]
    finish: Literal["stop", "length"]
    question_id: str = ""
    words: tuple[str, ...] = ()
    likelihoods: tuple[float, ...] = ()
    extracted: dict[str, str] = Field(default_factory=dict)
    accepted: tuple[str, ...] = ()
    counts: dict[str, Count] = Field(default_factory=dict)
    generated: str = ""
    contexts: tuple[str, ...] = ()


class SuiteRecord(Record):
    """``suites/<name>.json``: what is computed from several tasks.

    Attributes:
        scores: the whole, then its categories.
        tasks: the tasks that were measured.
        missing: those that were not, so that the score is not the published one.
    """

    suite: str
    format: str
    shots: tuple[Count, ...]
    scores: tuple[MetricResult, ...]
    tasks: tuple[str, ...]
    missing: tuple[str, ...] = ()
